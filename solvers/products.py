"""Products of a cost with the columns of a factor, compiled where its entries are at hand."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from solvers.cost import Cost
from solvers.sphere import Factor

# Columns come in vector registers of this many.
COLUMNS = 8
NOWHERE: NDArray[np.float64] = np.empty(0)


class Products:
    """``products @ factor``, like the cost itself, but faster.

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
        if isinstance(cost, LinearOperator):
            return
        from solvers.kernels.sweep import sweep

        self._sweep: Callable[..., tuple[float, float]] = sweep
        bounds = [cost.shape[0] * part // workers for part in range(workers + 1)]
        self._shares = [np.arange(first, last) for first, last in pairwise(bounds)]
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
        arranged[:, :rank] = factor
        arranged[:, rank:] = 0.0
        return arranged

    def __matmul__(self, factor: Factor) -> Factor:
        if self.arguments is None:
            return np.asarray(self._cost @ factor, dtype=np.float64)
        rank = factor.shape[1]
        fits = rank % COLUMNS == 0 and factor.flags.c_contiguous
        columns = factor if fits else self.arrange(factor)
        image = np.empty_like(columns)
        if self.workers == 1:
            self._store(columns, self._shares[0], image)
        else:
            with ThreadPoolExecutor(self.workers) as pool:
                list(pool.map(lambda rows: self._store(columns, rows, image), self._shares))
        return image[:, :rank]

    def _store(self, factor: Factor, rows: NDArray[np.int64], image: Factor) -> None:
        self.visit(factor, rows, 0, 1, 1.0, image.ravel())

    def visit(
        self,
        factor: Factor,
        rows: NDArray[np.int64],
        first: int,
        count: int,
        delay: float,
        image: NDArray[np.float64] = NOWHERE,
    ) -> tuple[float, float]:
        """Call the compiled sweep over some rows of an arranged factor."""
        assert self.arguments is not None
        width = factor.shape[1]
        flat = factor.ravel()
        return self._sweep(*self.arguments, flat, width, rows, first, count, delay, np.empty(width), image)


def _aligned(rows: int, width: int) -> Factor:
    """An empty array whose rows do not straddle one cache line more than they must."""
    line = 64
    memory = np.empty(rows * width * 8 + line, dtype=np.uint8)
    first = -memory.ctypes.data % line
    return memory[first : first + rows * width * 8].view(np.float64).reshape(rows, width)
