"""Binary quadratic problems and their relaxation over the elliptope.

Every problem has the methods `relaxation`, which returns the `Elliptope` that bounds it, and `evaluate`,
which returns its objective at points of the cube.  Solvers accept any of the three.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from solvers import checks

# An ndarray, csr_array or LinearOperator, all float64; SciPy carries no types to say it with.
Cost: TypeAlias = Any


class BinaryQuadratic:
    r"""Minimise :math:`w^T A w + b^T w + \text{constant}` over :math:`w \in \{-1, 1\}^n`.

    Parameters
    ----------
    A : (n, n) array_like, scipy sparse array, or LinearOperator
        Symmetric.  Copied; the caller's array is never changed.  A LinearOperator is trusted to be symmetric.
    b : (n,) array_like, optional
        Linear term; zero by default.
    constant : float, optional
        Added to every value.

    Raises
    ------
    TypeError
        If the entries are not real numbers.
    ValueError
        If A is empty, not square, not symmetric or not finite, or if b does not fit.

    Examples
    --------
    >>> problem = BinaryQuadratic([[0.0, 1.0], [1.0, 0.0]], b=[1.0, 0.0])
    >>> float(problem.evaluate([-1, 1]))
    -3.0
    """

    def __init__(self, A: Any, b: ArrayLike | None = None, constant: float = 0.0) -> None:
        self.A = as_cost("A", A)
        self.n = int(self.A.shape[0])
        self.b = np.zeros(self.n) if b is None else checks.vector("b", b, length=self.n)
        self.constant = checks.scalar("constant", constant)

    @property
    def has_linear_term(self) -> bool:
        """Whether any entry of b differs from zero."""
        return bool(np.any(self.b))

    def evaluate(self, signs: ArrayLike) -> NDArray[np.float64]:
        """Objective at one point (n,) or at each row of (..., n)."""
        points = as_points(signs, self.n)
        quadratic = np.einsum("...i,...i->...", points, apply(self.A, points))
        return np.asarray(quadratic + points @ self.b + self.constant)

    def relaxation(self) -> Elliptope:
        """Homogenise: N = n + 1 with the new variable first, or N = n where b is zero; built once."""
        return self._relaxation

    @cached_property
    def _relaxation(self) -> Elliptope:
        if not self.has_linear_term:
            return Elliptope(self.A, constant=self.constant)
        return Elliptope(homogenise(self.A, self.b), constant=self.constant, homogenised=True)


class MaxCut:
    r"""Maximise the weight of the edges cut, :math:`\tfrac14 w^T L w`, over :math:`w \in \{-1, 1\}^n`.

    Parameters
    ----------
    graph : (n, n) array_like or scipy sparse array
        Symmetric weights; negative ones are allowed.  The diagonal (self-loops) never counts in a cut and is
        dropped.

    Raises
    ------
    TypeError
        If the weights are not real numbers.
    ValueError
        If the graph is empty, not square, not symmetric or not finite.

    Notes
    -----
    The relaxation minimises :math:`\langle -L/4, Y\rangle`; a lower bound on it, negated, bounds every cut from
    above (Goemans and Williamson 1995).

    Examples
    --------
    >>> triangle = MaxCut([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    >>> float(triangle.evaluate([1, 1, -1]))
    2.0
    """

    def __init__(self, graph: Any) -> None:
        if isinstance(graph, LinearOperator):
            raise TypeError("graph must be an array of weights; found a LinearOperator")
        weights = sp.csr_array(
            checks.symmetric_sparse("graph", sp.csr_array(_as_two_dimensional("graph", graph)))
        )
        weights.setdiag(0.0)
        weights.eliminate_zeros()
        self.graph = weights
        self.n = int(weights.shape[0])

    def laplacian(self) -> sp.csr_array:
        """Diag(degree) - weights, in CSR form."""
        degree = np.asarray(self.graph.sum(axis=1)).ravel()
        return sp.csr_array(sp.diags_array(degree) - self.graph)

    def evaluate(self, signs: ArrayLike) -> NDArray[np.float64]:
        """Weight of the cut at one point (n,) or at each row of (..., n)."""
        points = as_points(signs, self.n)
        return np.asarray(0.25 * np.einsum("...i,...i->...", points, apply(self.laplacian(), points)))

    def relaxation(self) -> Elliptope:
        """Minimise -L/4 over the elliptope; values change sign to become cuts; built once."""
        return self._relaxation

    @cached_property
    def _relaxation(self) -> Elliptope:
        return Elliptope(-0.25 * self.laplacian(), maximised=True)


@dataclass(frozen=True, eq=False)
class Elliptope:
    r"""Minimise :math:`\langle C, Y\rangle + \text{constant}` over PSD Y with unit diagonal.

    Parameters
    ----------
    cost : (N, N) array_like, scipy sparse array, or LinearOperator
        Symmetric C.
    constant : float, optional
        Added to value and bound; it has no part in the relative gap.
    homogenised : bool, optional
        Whether row 0 stands for the constant 1 that carries a linear term.
    maximised : bool, optional
        Whether the user's objective is minus this one, so that reports flip the sign.

    Examples
    --------
    >>> Elliptope([[0.0, 1.0], [1.0, 0.0]]).size
    2
    """

    cost: Cost
    constant: float = 0.0
    homogenised: bool = False
    maximised: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "cost", as_cost("cost", self.cost))
        object.__setattr__(self, "constant", checks.scalar("constant", self.constant))

    @property
    def size(self) -> int:
        """N, the order of Y."""
        return int(self.cost.shape[0])

    def relaxation(self) -> Elliptope:
        """Return itself: it is its own relaxation."""
        return self

    def evaluate(self, signs: ArrayLike) -> NDArray[np.float64]:
        """Objective <C, s s^T> + constant at one point (N,) or at each row, in the minimised sense."""
        points = as_points(signs, self.size)
        return np.asarray(np.einsum("...i,...i->...", points, apply(self.cost, points)) + self.constant)


Problem: TypeAlias = BinaryQuadratic | MaxCut | Elliptope


def as_problem(problem: Any) -> Problem:
    """Return ``problem`` if it is one, and refuse anything else in words."""
    if not isinstance(problem, (BinaryQuadratic, MaxCut, Elliptope)):
        raise TypeError(
            f"problem must be a BinaryQuadratic, MaxCut or Elliptope; found {type(problem).__name__}. "
            "Wrap a matrix C as Elliptope(C)"
        )
    return problem


def as_cost(name: str, values: Any) -> Cost:
    """Validate a symmetric matrix and copy it; a LinearOperator is only checked for shape and dtype."""
    if isinstance(values, LinearOperator):
        if values.shape[0] != values.shape[1] or values.shape[0] == 0:
            raise ValueError(f"{name} must be square and not empty; found shape {values.shape}")
        if np.issubdtype(values.dtype, np.complexfloating):
            raise TypeError(f"{name} must hold real numbers; found dtype {values.dtype}")
        return values
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
    if sp.issparse(matrix):
        half = 0.5 * checks.square_sparse("matrix", matrix)
        return sp.csr_array(half + half.T)
    array = checks.square_dense("matrix", matrix)
    return 0.5 * array + 0.5 * array.T


def homogenise(A: Cost, b: NDArray[np.float64]) -> Cost:
    """C = [[0, b^T/2], [b/2, A]], in the form that A has."""
    half = 0.5 * b
    if isinstance(A, LinearOperator):
        return _HomogenisedOperator(A, half)
    if sp.issparse(A):
        column = sp.csr_array(half[:, None])
        return sp.csr_array(sp.block_array([[None, column.T], [column, A]], format="csr"))
    return np.block([[np.zeros((1, 1)), half[None, :]], [half[:, None], A]])


class _HomogenisedOperator(LinearOperator):
    """[[0, h^T], [h, A]] as an operator: A is applied, never formed."""

    def __init__(self, A: LinearOperator, half: NDArray[np.float64]) -> None:
        super().__init__(np.dtype(np.float64), (half.shape[0] + 1, half.shape[0] + 1))
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


def as_points(signs: ArrayLike, n: int) -> NDArray[np.float64]:
    """Points of the cube as float64 (..., n); anything but +-1 is refused."""
    points = np.asarray(signs)
    if points.ndim == 0 or points.shape[-1] != n:
        raise ValueError(f"signs must have shape (..., {n}); found {points.shape}")
    if points.dtype.kind not in "biuf":
        raise TypeError(f"signs must hold real numbers; found dtype {points.dtype}")
    if not np.all(np.abs(points) == 1):
        raise ValueError("signs must hold only -1 and +1")
    return points.astype(np.float64)


def _as_two_dimensional(name: str, values: Any) -> Any:
    return values if sp.issparse(values) else checks.real_array(name, values, dimensions=2)
