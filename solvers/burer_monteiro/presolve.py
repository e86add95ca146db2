r"""What a solve does to a cost before it starts: scale it, set its diagonal and its leaves apart, split the rest.

A row i that meets only row j contributes 2 c_ij <v_i, v_j>, at least -2 \|c_ij\|, which v_i = -sgn(c_ij) v_j
attains whatever v_j is.  So this leaf leaves the problem, and so does each row that becomes a leaf then.  In the
dual, y_i = -\|c_ij\| and a y_j that is lowered by as much make what row i adds to x^T (C - Diag(y)) x a square,
\|c_ij\| (x_i + sgn(c_ij) x_j)^2: any bound for the rest is one for the whole.  Sparse random graphs of degree 2.5
lose a third of their rows, and forests all.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from solvers.linalg.sphere import Factor
from solvers.problems.binary_form import frobenius_norm
from solvers.problems.components import (
    Component,
    Entries,
    among,
    connected,
    split_components,
    split_diagonal,
    split_entries,
    stored,
)
from solvers.problems.cost import Cost
from solvers.problems.gram import Gram
from solvers.problems.scaling import binary_exponent, scale_by_power

Vector = NDArray[np.float64]

# The norm of an operator is measured by applying it to the identity; above this order the gap is relative to the
# value alone, which can only make it larger.
MEASURED_OPERATOR = 4096
# Up to so many leaves to begin with, one for as many rows, fall before their kernel is compiled: in microseconds.
FEW_LEAVES = 64
ROWS_A_LEAF = 20


class Presolve:
    """A cost of unit diagonal, ready to be solved component by component.

    Parameters
    ----------
    cost : (N, N) ndarray, csr_array or LinearOperator
        Symmetric.

    Attributes
    ----------
    exponent : int
        Everything is in units of 2^exponent, which costs no rounding, so that nothing under- or overflows.
    frobenius : float
        Norm of the cost, 0 where it was not measured.
    fixed_value : float
        What diagonal and leaves contribute to the objective, and to every bound on it.
    components : list of Component
        In ascending order of size; what is in none of them is alone, or a leaf.

    Notes
    -----
    O(nnz) time and memory.
    """

    def __init__(self, cost: Cost) -> None:
        if isinstance(cost, Gram):
            cost = cost.economical()
        self.exponent = binary_exponent(cost)
        self._weights: Vector = np.empty(0)
        self._diagonal: Vector
        if sp.issparse(cost):
            self._take_apart(cost)
        else:
            self.frobenius = math.ldexp(_frobenius(cost), -self.exponent)
            cost, self._diagonal = split_diagonal(scale_by_power(cost, -self.exponent))
            sparse = sp.issparse(cost)
            self.components = self._split(stored(cost)) if sparse else split_components(cost)
        self.fixed_value = float(self._diagonal.sum()) - 2.0 * float(np.abs(self._weights).sum())

    def _take_apart(self, cost: sp.csr_array) -> None:
        """Scale the cost, set its diagonal and its leaves apart, and split the rest."""
        values = np.ldexp(cost.data, -self.exponent)
        # entries below one have squares that neither overflow nor, if they count, underflow
        self.frobenius = float(np.linalg.norm(values))
        entries, self._diagonal = split_entries(Entries(cost.indptr, cost.indices, values))
        self.components = self._split(entries)

    def _split(self, entries: Entries) -> list[Component]:
        return connected(self._without_leaves(entries))

    def _without_leaves(self, entries: Entries) -> Entries:
        """The entries left once the leaves have fallen, one after the other until there are none; they are kept."""
        degree = entries.lengths()
        ends = np.flatnonzero(degree == 1)
        if not ends.size:
            return entries
        self._leaves, positions = _fallen(entries, degree, ends)
        self._neighbours, self._weights = entries.columns[positions], entries.values[positions]
        return among(entries, degree)

    def complete(self, factor: Factor, dual: Vector) -> None:
        """Add the diagonal to the multipliers, and the leaves to both, in place."""
        dual += self._diagonal
        if self._weights.size == 0:
            return
        self._hang(factor)
        strengths = np.abs(self._weights)
        np.subtract.at(dual, self._leaves, strengths)
        np.subtract.at(dual, self._neighbours, strengths)

    def _hang(self, factor: Factor) -> None:
        """Point each leaf away from its neighbour, or with it where their entry is negative; the last first."""
        fallen = zip(self._leaves.tolist(), self._neighbours.tolist(), self._weights.tolist(), strict=True)
        for leaf, neighbour, weight in reversed(list(fallen)):
            factor[leaf] = factor[neighbour] if weight < 0.0 else -factor[neighbour]


def _fallen(
    entries: Entries, degree: NDArray[np.integer], ends: NDArray[np.intp]
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """The rows that fall, in order, and where their entries are stored; degrees are lowered in place."""
    from solvers.kernels.graph import peel

    pattern = entries.pointers, entries.columns
    if ends.size <= min(degree.size // ROWS_A_LEAF, FEW_LEAVES):
        # what the interpreter does in the time of one sweep need not be compiled
        leaves, positions = np.empty((2, 2 * FEW_LEAVES), dtype=np.int64)
        lowered = degree.copy()
        count = peel.py_func(*pattern, lowered, ends, leaves, positions)
        if count < leaves.size:
            degree[:] = lowered
            return leaves[:count], positions[:count]
    leaves, positions = np.empty((2, degree.size), dtype=np.int64)
    count = peel(*pattern, degree, ends, leaves, positions)
    return leaves[:count], positions[:count]


def _frobenius(cost: Cost) -> float:
    measured = not isinstance(cost, LinearOperator) or isinstance(cost, Gram)
    if not measured and cost.shape[0] > MEASURED_OPERATOR:
        return 0.0
    return frobenius_norm(cost)
