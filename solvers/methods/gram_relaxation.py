"""Over-relaxed coordinate sweeps for costs kept as X^T S X: the method of `Gram`.

The iterates are those of `OverRelaxation` on the formed matrix; a sweep costs O(nnz(X) k) instead of O(n^2 k).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.linalg.sphere import Factor
from solvers.methods.over_relaxation import DELAY, OverRelaxation
from solvers.problems.gram import Gram

# Rows that share their products with S X V: enough for matrix products to pay, few enough to cost little memory.
BLOCK = 32


class GramRelaxation(OverRelaxation):
    """Sweeps over the rows of a factor, in place.

    Parameters
    ----------
    cost : Gram
        Its offset is left alone: on unit rows a diagonal is constant.

    Notes
    -----
    Memory beyond X and the factor is 32 numbers a row, and S X V.
    """

    def __init__(self, cost: Gram) -> None:
        from solvers.kernels import gram_sweep

        self._cost = cost
        self.delay = DELAY
        self._sweep: Any
        self._arguments: tuple[Any, ...]
        vectors = cost.vectors
        border = np.empty(0) if cost.border is None else cost.border
        if sp.issparse(vectors):
            squares = cost.squares()[-vectors.shape[0] :]
            self._sweep = gram_sweep.gram_sweep_sparse
            self._arguments = (vectors.indptr, vectors.indices, vectors.data, cost.weights, squares, border)
        else:
            self._sweep = gram_sweep.gram_sweep_dense
            self._arguments = (vectors, cost.weights, _diagonal_blocks(cost), border)
        self.restart()

    def _run(self, factor: Factor, count: int) -> tuple[float, float]:
        # from a fresh S X V, so that its rounding cannot build up
        own = factor if self._cost.border is None else factor[1:]
        image = np.ascontiguousarray(self._cost.image(own))
        last, total = self._sweep(*self._arguments, image, factor, self.iterations, count, self.delay)
        return last, total


def _diagonal_blocks(cost: Gram) -> NDArray[np.float64]:
    """Diagonal blocks of X^T S X, shape (blocks, 32, 32); the last is filled up with zeros."""
    vectors = cost.vectors
    rows = vectors.shape[0]
    blocks = np.zeros((-(-rows // BLOCK), BLOCK, BLOCK))
    for number in range(blocks.shape[0]):
        part = vectors[number * BLOCK : (number + 1) * BLOCK]
        blocks[number, : part.shape[0], : part.shape[0]] = (part * cost.weights) @ part.T
    return blocks
