"""Whether C - Diag(y) has an eigenvalue below a threshold, asked of a factorisation: it cannot overlook one.

Cholesky runs through just where there is none, but for rounding, of the order of 1e-16 N times the largest entry.
A Lanczos recurrence only has an opinion, so it is left the questions that a factorisation answers too slowly.
"""

from __future__ import annotations

from itertools import islice

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import breadth_first_order
from scipy.sparse.linalg import LinearOperator

from solvers.certificates.dual_bound import cholesky_proves
from solvers.certificates.shift_ladder import rising
from solvers.linalg.sparse_cholesky import SparseCholesky, TooMuchFill
from solvers.problems.cost import Cost

# Up to this order LAPACK's eigenvalues cost no more than asking for one.
MEASURED_ORDER = 64
MAX_DENSE_ORDER = 4000
# Up to this order a dense factorisation takes milliseconds, and spares the first user a second of compilation.
SMALL_ORDER = 500
# Seconds that dense Cholesky takes for N^3, and Lanczos for an entry of the matrix and for one of the vector.
CHOLESKY_SECONDS = 2.5e-11
PRODUCT_SECONDS = 6e-10
VECTOR_SECONDS = 3e-9
LANCZOS_STEPS = 400
# An answer is worth this many times the price of an opinion.
WORTH = 3.5
# Shifts tried for a bound that holds, and how many of them grow carefully.
MAX_ATTEMPTS = 40
CAREFUL_ATTEMPTS = 6


class CholeskyTest:
    """The factorisations of one cost, for any multipliers.

    Parameters
    ----------
    cost : (n, n) ndarray, csr_array or LinearOperator
        Symmetric, with a zero diagonal unless it is an operator; its graph connected, or of small components.

    Attributes
    ----------
    is_quick : bool
        Whether to ask costs less than to predict the answer.

    Notes
    -----
    A dense factorisation costs n^3/3.  A sparse one costs about m^3/3, m being the rows that minimum degree leaves
    when the rest is nearly dense; the widest level of a breadth-first search predicts m.
    """

    def __init__(self, cost: Cost) -> None:
        self._cost = cost
        self._order = int(cost.shape[0])
        entries = cost.nnz if sp.issparse(cost) else self._order**2
        self._lanczos_seconds = LANCZOS_STEPS * (PRODUCT_SECONDS * entries + VECTOR_SECONDS * self._order)
        can_be_dense = MEASURED_ORDER < self._order <= MAX_DENSE_ORDER and not isinstance(
            cost, LinearOperator
        )
        self.is_quick = can_be_dense and CHOLESKY_SECONDS * self._order**3 < self._lanczos_seconds
        self._dense = self.is_quick or (can_be_dense and self._order <= SMALL_ORDER)
        self._sparse_cholesky: SparseCholesky | None = None
        self._eliminable = not self._dense and sp.issparse(cost) and self._order > MEASURED_ORDER

    def is_affordable(self) -> bool:
        """Whether it can be asked at all; a sparse cost is looked at on the first call."""
        if self._eliminable and self._sparse_cholesky is None:
            self._eliminable = self._breadth_allows()
            if self._eliminable:
                try:
                    self._sparse_cholesky = SparseCholesky(self._cost)
                except TooMuchFill:
                    self._eliminable = False
        return self._dense or self._eliminable

    def exceeds(self, dual: NDArray[np.float64], threshold: float) -> bool:
        """Whether no eigenvalue of C - Diag(y) is below the threshold."""
        if self._sparse_cholesky is None:
            return cholesky_proves(self._cost, dual, threshold)
        pivots = -dual - threshold
        return bool(np.all(pivots > 0)) and self._sparse_cholesky.factorises(pivots)

    def bound_below(self, dual: NDArray[np.float64], estimate: float) -> float:
        """A number that no eigenvalue is below, not far from an estimate of the smallest one; -inf at worst."""
        shift = min(estimate, -float(np.finfo(np.float64).eps) * float(np.abs(dual).max()))
        for lower in islice(rising(-shift, CAREFUL_ATTEMPTS), MAX_ATTEMPTS):
            if self.exceeds(dual, -lower):
                return -lower
        return -np.inf

    def _breadth_allows(self) -> bool:
        return CHOLESKY_SECONDS * widest_level(self._cost) ** 3 < WORTH * self._lanczos_seconds


def widest_level(graph: sp.csr_array) -> int:
    """The most rows at one distance from row 0."""
    order, parents = breadth_first_order(graph, 0)
    place = np.empty(graph.shape[0], dtype=np.int64)
    place[order] = np.arange(order.size)
    parents = place[parents[order[1:]]]
    widest, first, end = 1, 0, 1
    while end < order.size:
        # whose parents are in the last level
        first, end = end, 1 + int(np.searchsorted(parents, end))
        widest = max(widest, end - first)
    return widest
