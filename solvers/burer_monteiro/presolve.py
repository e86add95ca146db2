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
from scipy.sparse.csgraph import breadth_first_order
from scipy.sparse.linalg import LinearOperator

from solvers.linalg.sphere import Factor
from solvers.problems.binary_form import frobenius_norm
from solvers.problems.components import SMALL_COMPONENT, Component, split_diagonal
from solvers.problems.cost import Cost
from solvers.problems.gram import Gram
from solvers.problems.scaling import binary_exponent, scale_by_power

Vector = NDArray[np.float64]

# The norm of an operator is measured by applying it to the identity; above this order the gap is relative to the
# value alone, which can only make it larger.
MEASURED_OPERATOR = 4096
# From this order on SciPy looks at a graph as fast as compiled code; below, calling it costs more than a sweep.
LARGE = 500


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
        self.frobenius = math.ldexp(_frobenius(cost), -self.exponent)
        self._weights: Vector = np.empty(0)
        self._diagonal: Vector = np.zeros(cost.shape[0])
        if sp.issparse(cost):
            self._split(cost, np.ldexp(cost.data, -self.exponent))
        else:
            cost, self._diagonal = split_diagonal(scale_by_power(cost, -self.exponent))
            if sp.issparse(cost):
                self._split(cost, cost.data)
            else:
                self.components = [Component(np.arange(cost.shape[0]), cost)]
        self.fixed_value = float(self._diagonal.sum()) - 2.0 * float(np.abs(self._weights).sum())

    def _split(self, cost: sp.csr_array, values: Vector) -> None:
        rows = cost.shape[0]
        if _is_whole(cost):
            scaled = sp.csr_array((values, cost.indices, cost.indptr), shape=cost.shape)
            zero_diagonal, diagonal = split_diagonal(scaled)
            self._diagonal += diagonal
            self.components = [Component(np.arange(rows), zero_diagonal)]
            return
        from solvers.kernels.graph import group, survey

        csr = (cost.indptr, cost.indices, values)
        diagonal, weights = np.empty((2, rows))
        degree, leaves, neighbours, labels, sizes, waiting = np.empty((6, rows), dtype=np.int64)
        fallen, components = survey(
            *csr, diagonal, degree, leaves, neighbours, weights, labels, sizes, waiting
        )
        self._diagonal += diagonal
        self._leaves, self._neighbours, self._weights = leaves[:fallen], neighbours[:fallen], weights[:fallen]
        number_of, totals = _gathered(sizes[:components])
        first = np.concatenate([[0], np.cumsum(totals)])
        order = np.empty(first[-1], dtype=np.int64)
        entries = int(degree.sum())
        # the narrowest that will do, because SciPy would look for it otherwise
        kind: type[np.signedinteger] = np.int32 if max(entries, rows) <= np.iinfo(np.int32).max else np.int64
        blocks = np.empty(entries), np.empty(entries, kind)
        starts = np.empty(first[-1] + totals.size, kind)
        group(*csr, degree, labels, number_of, first, first.copy(), waiting, order, *blocks, starts)
        self.components = _components(totals, order, *blocks, starts)

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


def _is_whole(cost: sp.csr_array) -> bool:
    """Whether it is a large component without leaves, which needs no kernel to be compiled."""
    if cost.shape[0] < LARGE or (np.diff(cost.indptr) - (cost.diagonal() != 0.0)).min() < 2:
        return False
    return breadth_first_order(cost, 0, return_predecessors=False).size == cost.shape[0]


def _components(
    totals: NDArray[np.int64],
    order: NDArray[np.int64],
    values: Vector,
    columns: NDArray[np.integer],
    starts: NDArray[np.integer],
) -> list[Component]:
    """Views of the components that lie one after the other."""
    components = []
    first = entry = 0
    for number, size in enumerate(totals.tolist()):
        pointers = starts[first + number : first + number + size + 1]
        last = entry + int(pointers[-1])
        block = sp.csr_array((values[entry:last], columns[entry:last], pointers), shape=(size, size))
        components.append(Component(order[first : first + size], block))
        first, entry = first + size, last
    return components


def _gathered(sizes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The number of each component, small ones together in one, and the rows of each in ascending order."""
    if sizes.size == 1:
        return np.zeros(1, np.int64), sizes
    alone = sizes > SMALL_COMPONENT
    number_of = np.where(alone, np.cumsum(alone) - 1, np.count_nonzero(alone))
    totals = np.bincount(number_of, weights=sizes).astype(np.int64)
    ascending = np.argsort(totals, kind="stable")
    place = np.empty_like(ascending)
    place[ascending] = np.arange(totals.size)
    return place[number_of], totals[ascending]


def _frobenius(cost: Cost) -> float:
    measured = not isinstance(cost, LinearOperator) or isinstance(cost, Gram)
    if not measured and cost.shape[0] > MEASURED_OPERATOR:
        return 0.0
    return frobenius_norm(cost)
