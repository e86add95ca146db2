"""Over-relaxed sweeps on several threads: rows of one colour meet no other row of it, so their order is free.

The colours of a greedy colouring are swept one after the other; their rows are dealt to threads in blocks of a
fixed size, and the blocks' decreases are added up in a fixed order, so the result does not depend on the number
of threads.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solvers.linalg.matvec import Matvec
from solvers.linalg.sphere import Factor
from solvers.linalg.threads import Wait, lockstep
from solvers.methods.over_relaxation import OverRelaxation

# Handing work to threads costs some ten microseconds a colour; from this order on that is a few percent of a sweep.
PARALLEL_ORDER = 50_000
# Rows in a block: enough to amortise a call, few enough to balance the threads.
BLOCK_ROWS = 512
# A graph that needs more colours has hubs, and its classes are too small to share.
MAX_COLOURS = 64


class ColouredRelaxation(OverRelaxation):
    """Sweeps over the rows of a factor, in place, colour by colour.

    Parameters
    ----------
    matvec : Matvec
        Of a sparse cost with a zero diagonal; sweeps use as many threads as products do.
    colours : (n,) ndarray of int
        Different for rows that meet.

    Notes
    -----
    One sweep costs O(nnz k), as in `OverRelaxation`.
    """

    def __init__(self, matvec: Matvec, colours: NDArray[np.int32]) -> None:
        super().__init__(matvec)
        self._workers = matvec.workers
        rows = np.argsort(colours, kind="stable").astype(np.int64)
        bounds = np.concatenate([[0], np.cumsum(np.bincount(colours))])
        blocks = [
            [rows[first : min(first + BLOCK_ROWS, end)] for first in range(start, end, BLOCK_ROWS)]
            for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
        ]
        self._blocks = sum(map(len, blocks))
        numbers = iter(range(self._blocks))
        self._classes = [[(next(numbers), block) for block in alike] for alike in blocks]

    def _run(self, factor: Factor, count: int) -> tuple[float, float]:
        decreases = np.empty((count, self._blocks))

        def work(worker: int, barrier: Wait) -> None:
            for sweep in range(count):
                for blocks in self._classes:
                    for number, rows in blocks[worker :: self._workers]:
                        swept = self._matvec.sweep(factor, rows, self.iterations + sweep, 1, self.delay)
                        decreases[sweep, number] = swept[0]
                    barrier()

        lockstep(self._workers, work)
        sweeps = decreases.sum(axis=1).tolist()
        return sweeps[-1], sum(sweeps)


def few_colours(matvec: Matvec) -> NDArray[np.int32] | None:
    """A colouring of the graph of a sparse cost, or None where it needs too many colours to be of use."""
    from solvers.kernels.graph import greedy_colours

    assert matvec.arguments is not None
    indptr, indices, _ = matvec.arguments
    count, colours = greedy_colours(indptr, indices, MAX_COLOURS)
    return colours if count <= MAX_COLOURS else None
