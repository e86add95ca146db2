"""The binary problem behind any of the problem types, in one shape: w^T A w + b^T w + constant."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from solvers import checks
from solvers.problems.gram import Gram
from solvers.problems.operators import adjoint_tolerance
from solvers.problems.problem import BinaryQuadratic, Cost, Problem, as_problem

# Columns of the identity that an operator is applied to at a time: bounds memory, keeps products BLAS-sized.
_BLOCK = 256


@dataclass(frozen=True, eq=False)
class BinaryForm:
    """The minimised objective of a problem in its original variables.

    Attributes
    ----------
    A : (n, n) ndarray, csr_array or LinearOperator
    b : (n,) ndarray
    constant : float
    """

    A: Cost
    b: NDArray[np.float64]
    constant: float

    @property
    def n(self) -> int:
        """Number of signs."""
        return int(self.b.shape[0])

    def evaluate(self, signs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Objective at each row of (m, n) signs."""
        products = np.asarray(self.A @ signs.T).T
        return np.asarray(np.einsum("mi,mi->m", products, signs) + signs @ self.b + self.constant)


def binary_form(problem: Problem) -> BinaryForm:
    """Minimised binary objective of ``problem``: minus the cut for a MaxCut, s^T C s for an Elliptope.

    Examples
    --------
    >>> from solvers.problems.problem import MaxCut
    >>> form = binary_form(MaxCut([[0, 1], [1, 0]]))
    >>> float(form.evaluate(np.array([[1.0, -1.0]]))[0])
    -1.0
    """
    problem = as_problem(problem)
    if isinstance(problem, BinaryQuadratic):
        return BinaryForm(problem.A, problem.b, problem.constant)
    elliptope = problem.relaxation().unit()
    return BinaryForm(elliptope.cost, np.zeros(elliptope.size), elliptope.constant)


def dense_matrix(name: str, cost: Cost, *, limit: int) -> NDArray[np.float64]:
    """Return a dense copy of a cost matrix; an operator is applied to the identity.

    Raises
    ------
    ValueError
        If the order exceeds ``limit``, or an operator turns out not to be symmetric or finite.
    """
    order = int(cost.shape[0])
    if order > limit:
        raise ValueError(f"{name} has order {order}; this method forms it densely and allows at most {limit}")
    if isinstance(cost, LinearOperator):
        dense = np.hstack([_columns(cost, start) for start in range(0, order, _BLOCK)])
        return checks.symmetric_dense(
            f"{name} (a LinearOperator, formed densely)", dense, tolerance=adjoint_tolerance(cost)
        )
    return np.array(cost.toarray() if sp.issparse(cost) else cost, dtype=np.float64)


def diagonal(cost: Cost) -> NDArray[np.float64]:
    """Diagonal of a cost matrix; an operator is applied to the identity, a block of columns at a time."""
    if not isinstance(cost, LinearOperator) or isinstance(cost, Gram):
        return np.asarray(cost.diagonal(), dtype=np.float64)
    order = int(cost.shape[0])
    blocks = [np.diagonal(_columns(cost, start), -start) for start in range(0, order, _BLOCK)]
    return np.concatenate(blocks).astype(np.float64)


def frobenius_norm(cost: Cost) -> float:
    r""":math:`\|C\|_F` without overflow or underflow; an operator is applied to the identity in blocks."""
    if isinstance(cost, Gram):
        return cost.frobenius_norm()
    if isinstance(cost, LinearOperator):
        order = int(cost.shape[0])
        return math.hypot(*(_safe_norm(_columns(cost, start)) for start in range(0, order, _BLOCK)))
    return _safe_norm(cost.data if sp.issparse(cost) else cost)


def _safe_norm(values: NDArray[np.float64]) -> float:
    largest = float(np.abs(values).max(initial=0.0))
    return largest * float(np.linalg.norm(np.asarray(values) / largest)) if largest > 0 else 0.0


def _columns(operator: LinearOperator, start: int) -> NDArray[np.float64]:
    """Columns start, start+1, ... of an operator, as many as one block holds."""
    order = int(operator.shape[0])
    width = min(_BLOCK, order - start)
    return np.asarray(operator.matmat(np.eye(order, width, -start)), dtype=np.float64)
