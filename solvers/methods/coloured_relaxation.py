"""Over-relaxed sweeps on several threads: rows of one colour meet no other row of it, so their order is free.

The colours of a greedy colouring are swept one after the other; their rows are dealt to threads in pieces of a
fixed size, and the pieces' decreases are added up in a fixed order, so the result does not depend on the number
of threads.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solvers.linalg.matvec import Products
from solvers.linalg.sphere import Factor
from solvers.linalg.threads import Meet, together
from solvers.methods.over_relaxation import OverRelaxation

# Handing work to threads costs some ten microseconds a colour; from this order on that is a few percent of a sweep.
PARALLEL_ORDER = 50_000
# Rows in a piece: enough to amortise a call, few enough to balance the threads.
PIECE = 512
# A graph that needs more colours has hubs, and its classes are too small to share.
MAX_COLOURS = 64


class ColouredRelaxation(OverRelaxation):
    """Sweeps over the rows of a factor, in place, colour by colour.

    Parameters
    ----------
    products : Products
        Of a sparse cost with a zero diagonal; sweeps use as many threads as products do.
    colours : (n,) ndarray of int
        Different for rows that meet.

    Notes
    -----
    One sweep costs O(nnz k), as in `OverRelaxation`.
    """

    def __init__(self, products: Products, colours: NDArray[np.int32]) -> None:
        super().__init__(products)
        self._workers = products.workers
        rows = np.argsort(colours, kind="stable").astype(np.int64)
        bounds = np.concatenate([[0], np.cumsum(np.bincount(colours))])
        pieces = [
            [rows[first : min(first + PIECE, end)] for first in range(start, end, PIECE)]
            for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
        ]
        self._pieces = sum(map(len, pieces))
        numbers = iter(range(self._pieces))
        self._classes = [[(next(numbers), piece) for piece in alike] for alike in pieces]

    def _run(self, factor: Factor, count: int) -> tuple[float, float]:
        decreases = np.empty((count, self._pieces))

        def work(worker: int, meet: Meet) -> None:
            for sweep in range(count):
                for pieces in self._classes:
                    for number, rows in pieces[worker :: self._workers]:
                        swept = self._products.sweep(factor, rows, self.iterations + sweep, 1, self.delay)
                        decreases[sweep, number] = swept[0]
                    meet()

        together(self._workers, work)
        sweeps = decreases.sum(axis=1).tolist()
        return sweeps[-1], sum(sweeps)


def few_colours(products: Products) -> NDArray[np.int32] | None:
    """A colouring of the graph of a sparse cost, or None where it needs too many colours to be of use."""
    from solvers.kernels.graph import greedy_colours

    assert products.arguments is not None
    indptr, indices, _ = products.arguments
    count, colours = greedy_colours(indptr, indices, MAX_COLOURS)
    return colours if count <= MAX_COLOURS else None
