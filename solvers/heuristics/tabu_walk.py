"""The state of a tabu walk between calls of its compiled steps."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.problems.binary_form import BinaryForm
from solvers.problems.components import split_diagonal
from solvers.problems.problem import Cost

# A new best must be better by this much of all coefficients: drift of the running value is no progress.
MARGIN = 1e-12


class TabuWalk:
    """One-flip tabu walk on the cube.

    Parameters
    ----------
    form : BinaryForm
        Dense or sparse.
    generator : numpy Generator
        Seeds the walk's own draws, of tenures and between ties.
    """

    def __init__(self, form: BinaryForm, generator: np.random.Generator) -> None:
        self.form = form
        rest, _ = split_diagonal(form.A)
        self.zero_diagonal: Cost = sp.csr_array(rest) if sp.issparse(rest) else np.ascontiguousarray(rest)
        n = form.n
        self._margin = MARGIN * float(abs(self.zero_diagonal).sum() + np.abs(form.b).sum())
        span = min(10, n // 4 + 1)
        # Of the order that works on random graphs and on grids; at most about half of the signs are held.
        self._tenure = np.array([min((n - 1) // 2, 5 + n // 100), span])
        self._random = generator.integers(0, 2**64, size=1, dtype=np.uint64)
        size = 1 << (n - 1).bit_length()
        sparse = sp.issparse(self.zero_diagonal)
        self._keys = np.empty(2 * size if sparse else 1)
        self._winner = np.empty(2 * self._keys.shape[0], np.int64)
        self._heads = np.empty(int(self._tenure.sum()) + 1, np.int64)
        self._links = np.empty(n, np.int64)
        self._leaves = np.empty(n, np.int64)
        self._until = np.empty(n, np.int64)
        self.steps = 0

    def start(self, signs: NDArray[np.float64]) -> None:
        """Begin a new walk at a point (n,), nothing tabu; fields and value are computed afresh."""
        self._signs = signs.copy()
        self.best = signs.copy()
        self._fields = np.asarray(self.zero_diagonal @ signs) + 0.5 * self.form.b
        value = float(self.form.evaluate(signs[None, :])[0])
        self._values = np.array([value, value])
        self._counters = np.zeros(3, np.int64)
        self._heads[:] = -1
        self._until[:] = 0
        if sp.issparse(self.zero_diagonal):
            from solvers.kernels.tabu import plant

            plant(self._signs, self._fields, self._leaves, self._keys, self._winner, self._random)

    @property
    def mean_degree(self) -> int:
        """Entries that a step touches, about."""
        return int(self.zero_diagonal.nnz / self.form.n) if sp.issparse(self.zero_diagonal) else self.form.n

    @property
    def best_value(self) -> float:
        """Objective at `best`, up to the rounding of its running sum."""
        return float(self._values[1])

    def advance(self, budget: int, patience: int) -> bool:
        """Take up to ``budget`` steps; return whether ``patience`` of them have passed without a new best."""
        from solvers.kernels.tabu import walk_dense, walk_sparse

        before = int(self._counters[0])
        shared = (self._tenure, self._margin, self._values, self._counters, self._random, budget, patience)
        if sp.issparse(self.zero_diagonal):
            matrix = (self.zero_diagonal.data, self.zero_diagonal.indices, self.zero_diagonal.indptr)
            trees = (self._leaves, self._keys, self._winner, self._heads, self._links)
            walk_sparse(*matrix, self._signs, self._fields, self.best, *trees, *shared)
        else:
            walk_dense(self.zero_diagonal, self._signs, self._fields, self.best, self._until, *shared)
        if self._counters[2]:
            self.best[:] = self._signs
        self.steps += int(self._counters[0]) - before
        return bool(self._counters[0] - self._counters[1] >= patience)
