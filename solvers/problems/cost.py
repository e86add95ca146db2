"""Cost matrices in every form that solvers take: dense, sparse, or only applied."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from solvers import checks
from solvers.problems.foreign import as_plain
from solvers.problems.gram import Gram
from solvers.problems.operators import ForeignOperator, GuardedOperator

# An ndarray, csr_array or LinearOperator, all float64; SciPy carries no types to say it with.
Cost: TypeAlias = Any


def as_cost(name: str, values: Any) -> Cost:
    """Validate a symmetric matrix and copy it; a LinearOperator is only checked for shape and dtype."""
    if isinstance(values, LinearOperator):
        if values.shape[0] != values.shape[1] or values.shape[0] == 0:
            raise ValueError(f"{name} must be square and not empty; found shape {values.shape}")
        if np.issubdtype(values.dtype, np.complexfloating):
            raise TypeError(f"{name} must hold real numbers; found dtype {values.dtype}")
        return values if isinstance(values, _OURS) else ForeignOperator(values)
    values = as_plain(name, values)
    if sp.issparse(values):
        return checks.symmetric_sparse(name, values)
    return checks.symmetric_dense(name, values)


def symmetrise(matrix: Any) -> Any:
    """(M + M^T)/2 of a dense or sparse matrix: the same quadratic form, and symmetric.

    Raises
    ------
    TypeError
        If the entries are not real numbers.
    ValueError
        If the matrix is empty, not square or not finite.

    Examples
    --------
    >>> symmetrise([[0.0, 2.0], [0.0, 0.0]])
    array([[0., 1.],
           [1., 0.]])
    """
    matrix = as_plain("matrix", matrix)
    if sp.issparse(matrix):
        array = checks.square_sparse("matrix", matrix)
        if (array != array.T).nnz == 0:
            return array
        array.data = checks.exact_multiple("matrix", array.data, 0.5)
        return sp.csr_array(array + array.T)
    array = checks.square_dense("matrix", matrix)
    if np.array_equal(array, array.T):
        return array
    half = checks.exact_multiple("matrix", array, 0.5)
    return half + half.T


def homogenise(A: Cost, b: NDArray[np.float64]) -> Cost:
    """C = [[0, b^T/2], [b/2, A]], in the form that A has."""
    half = checks.exact_multiple("b", b, 0.5)
    if isinstance(A, Gram) and A.border is None:
        return A.homogenised(half)
    if isinstance(A, LinearOperator):
        return _HomogenisedOperator(A, half)
    if sp.issparse(A):
        column = sp.csr_array(half[:, None])
        return sp.csr_array(sp.block_array([[None, column.T], [column, A]], format="csr"))
    return np.block([[np.zeros((1, 1)), half[None, :]], [half[:, None], A]])


class _HomogenisedOperator(LinearOperator):
    """[[0, h^T], [h, A]] as an operator: A is applied, never formed."""

    def __init__(self, A: LinearOperator, half: NDArray[np.float64]) -> None:
        super().__init__(A.dtype, (half.shape[0] + 1, half.shape[0] + 1))
        self._inner = A
        self._half = half

    def _matmat(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        first = self._half @ X[1:]
        return np.vstack([first[None, :], np.outer(self._half, X[0]) + self._inner.matmat(X[1:])])

    def _matvec(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._matmat(np.reshape(x, (-1, 1))).ravel()

    def _adjoint(self) -> LinearOperator:
        return self


def apply(cost: Cost, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """C applied to each row of ``points`` (..., N); C is symmetric."""
    flat = points.reshape(-1, points.shape[-1])
    return np.asarray(cost @ flat.T).T.reshape(points.shape)


def scale_symmetrically(cost: Cost, scale: NDArray[np.float64]) -> Cost:
    """Diag(s) C Diag(s), in the form that C has, and exactly symmetric.

    Raises
    ------
    ValueError
        If the result leaves the range of float64.
    """
    if isinstance(cost, Gram):
        return cost.scaled(scale)
    if isinstance(cost, LinearOperator):
        return _ScaledOperator(cost, scale)
    with np.errstate(over="ignore", invalid="ignore"):
        if sp.issparse(cost):
            rows = np.repeat(np.arange(cost.shape[0]), np.diff(cost.indptr))
            entries = cost.data * (scale[rows] * scale[cost.indices])
            scaled = sp.csr_array((entries, cost.indices, cost.indptr), shape=cost.shape)
        else:
            scaled = cost * np.multiply.outer(scale, scale)
    return as_cost("cost, scaled to unit diagonal,", scaled)


class _ScaledOperator(LinearOperator):
    """Diag(s) C Diag(s) as an operator."""

    def __init__(self, inner: LinearOperator, scale: NDArray[np.float64]) -> None:
        super().__init__(inner.dtype, inner.shape)
        self._inner = inner
        self._scale = scale

    def _matmat(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        scale = self._scale[:, None]
        return np.asarray(scale * self._inner.matmat(scale * X))

    def _matvec(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._matmat(np.reshape(x, (-1, 1))).ravel()

    def _adjoint(self) -> LinearOperator:
        return self


# Operators that neither change what they are applied to nor overwrite what they returned.
_OURS = (ForeignOperator, GuardedOperator, Gram, _HomogenisedOperator, _ScaledOperator)
