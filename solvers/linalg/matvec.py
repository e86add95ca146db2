"""Products of a cost with the columns of a factor, and sweeps, compiled where its entries are at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from solvers.linalg.sphere import Factor
from solvers.linalg.threads import RowBlocks
from solvers.problems.cost import Cost

# Columns come in vector registers of this many.
COLUMNS = 8
# The image of sweeps, which need none.
NOWHERE: NDArray[np.float64] = np.empty(0)


class Matvec:
    """``matvec @ factor``, like the cost itself, but faster.

    Parameters
    ----------
    cost : (n, n) ndarray, csr_array or LinearOperator
        Symmetric.
    workers : int, optional
        Threads that share a product.

    Attributes
    ----------
    workers : int
    shape : tuple of int
    arguments : tuple of ndarray, or None
        What compiled kernels take: indptr, indices and values; None for an operator.

    Notes
    -----
    O(nnz k) for k columns.
    """

    def __init__(self, cost: Cost, workers: int = 1) -> None:
        self._cost = cost
        self.workers = workers
        self.shape: tuple[int, int] = cost.shape
        self.arguments: tuple[NDArray[Any], ...] | None = None
        self._blocks: dict[int, RowBlocks] = {}
        if isinstance(cost, LinearOperator):
            return
        from solvers.kernels.sweep import visit

        self._visit: Callable[..., tuple[float, float]] = visit
        if sp.issparse(cost):
            self.arguments = (cost.indptr, cost.indices, cost.data)
        else:
            columns = np.arange(cost.shape[0], dtype=np.int32)
            self.arguments = (columns[:0], columns, np.ascontiguousarray(cost).ravel())

    def arrange(self, factor: Factor) -> Factor:
        """A copy in the layout in which products are fast: zero columns fill the last registers."""
        if self.arguments is None:
            return np.array(factor, order="C")
        rows, rank = factor.shape
        width = -(-rank // COLUMNS) * COLUMNS
        arranged = _aligned(rows, width)

        def fill(block: slice) -> None:
            arranged[block, :rank] = factor[block]
            arranged[block, rank:] = 0.0

        self.blocks(width).map(fill)
        return arranged

    def blocks(self, width: int) -> RowBlocks:
        """Pieces of arrays with as many rows as the cost has, and this many columns."""
        if width not in self._blocks:
            whole = self.arguments is None
            self._blocks[width] = RowBlocks(self.shape[0], width, self.workers, whole=whole)
        return self._blocks[width]

    def __matmul__(self, factor: Factor) -> Factor:
        if self.arguments is None:
            return np.asarray(self._cost @ factor, dtype=np.float64)
        rank = factor.shape[1]
        fits = rank % COLUMNS == 0 and factor.flags.c_contiguous
        columns = factor if fits else self.arrange(factor)
        image = np.empty_like(columns)
        self.blocks(columns.shape[1]).map(lambda rows: self._store(columns, rows, image[rows]))
        return image[:, :rank]

    def rows(self, factor: Factor, rows: slice) -> Factor:
        """Some rows of the product with an arranged factor."""
        if self.arguments is None:
            return (self @ factor)[rows]
        image = np.empty((rows.stop - rows.start, factor.shape[1]))
        self._store(factor, rows, image)
        return image

    def _store(self, factor: Factor, rows: slice, image: Factor) -> None:
        self._call(factor, np.arange(rows.start, rows.stop), False, 0, 1, 1.0, image.ravel())

    def sweep(
        self, factor: Factor, rows: NDArray[np.int64], first: int, count: int, delay: float
    ) -> tuple[float, float]:
        """Over-relax some rows of an arranged factor, in place; return the decrease in the last sweep and in all.

        Sweeps ``first`` .. ``first + count - 1`` go past each row's minimiser by number / (number + delay).
        """
        return self._call(factor, rows, True, first, count, delay, NOWHERE)

    def _call(self, factor: Factor, rows: NDArray[np.int64], *rest: Any) -> tuple[float, float]:
        assert self.arguments is not None
        width = factor.shape[1]
        room = np.empty(width, factor.dtype)
        return self._visit(*self.arguments, factor.ravel(), width, room, rows, *rest)


def _aligned(rows: int, width: int) -> Factor:
    """An empty array whose rows do not straddle one cache line more than they must."""
    line = 64
    memory = np.empty(rows * width * 8 + line, dtype=np.uint8)
    first = -memory.ctypes.data % line
    return memory[first : first + rows * width * 8].view(np.float64).reshape(rows, width)
