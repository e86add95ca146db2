"""Binary quadratic problems and their relaxation over the elliptope.

Every problem has the methods `relaxation`, which returns the `Elliptope` that bounds it, and `evaluate`,
which returns its objective at points of the cube.  Solvers accept any of the three.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from solvers import checks
from solvers.problems.cost import Cost, apply, as_cost, homogenise, scale_symmetrically, symmetrise
from solvers.problems.enclosures import lowered, product_with_error, row_sums_above, squared_norm_below
from solvers.problems.foreign import as_plain, bqm_form, graph_weights
from solvers.problems.gram import Gram
from solvers.problems.qubo import binary_from_signs, signs_from_binary, signs_from_ising

__all__ = [
    "BinaryQuadratic",
    "Cost",
    "Elliptope",
    "MaxCut",
    "Problem",
    "apply",
    "as_cost",
    "as_points",
    "as_problem",
    "symmetrise",
]


class BinaryQuadratic:
    r"""Minimise :math:`w^T A w + b^T w + \text{constant}` over :math:`w \in \{-1, 1\}^n`.

    Parameters
    ----------
    A : (n, n) array_like, scipy sparse array, or LinearOperator
        Symmetric.  Copied; the caller's array is never changed.  A LinearOperator is trusted to be symmetric.
        For A = X^T X that need not be formed there is `from_factor`.
    b : (n,) array_like, optional
        Linear term; zero by default.
    constant : float, optional
        Added to every value.
    maximised : bool, optional
        Whether the user's objective is minus this one, so that reports flip the sign.

    Attributes
    ----------
    labels : tuple or None
        Names of the variables, where the problem came with some.

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

    def __init__(
        self, A: Any, b: ArrayLike | None = None, constant: float = 0.0, *, maximised: bool = False
    ) -> None:
        self.A = as_cost("A", A)
        self.n = int(self.A.shape[0])
        self.b = np.zeros(self.n) if b is None else checks.vector("b", as_plain("b", b), length=self.n)
        self.constant = checks.scalar("constant", constant)
        self.maximised = checks.boolean("maximised", maximised)
        self.labels: tuple[Hashable, ...] | None = None

    @classmethod
    def from_qubo(cls, Q: Any, *, offset: float = 0.0, maximise: bool = False) -> BinaryQuadratic:
        r"""Minimise or maximise :math:`x^T Q x + \text{offset}` over :math:`x \in \{0, 1\}^n`, x = (1 + w)/2.

        A = Q/4, b = Q 1/2, and the constant is 1^T Q 1/4 + offset; a linear term of x belongs on the diagonal of Q.

        Parameters
        ----------
        Q : (n, n) array_like or scipy sparse array
            Copied.  It need not be symmetric: an upper triangular one that holds each pair once means the same as
            (Q + Q^T)/2.
        offset : float, optional
            Added to every value.
        maximise : bool, optional
            Turn the problem into the minimisation of minus the form; reports turn it back.

        Raises
        ------
        TypeError
            If the entries are not real numbers.
        ValueError
            If Q is empty, not square or not finite.

        Examples
        --------
        >>> problem = BinaryQuadratic.from_qubo([[-1.0, 2.0], [0.0, -1.0]])
        >>> [float(problem.evaluate(w)) for w in ([-1, -1], [1, -1], [1, 1])]
        [0.0, -1.0, 0.0]
        """
        sign = -1.0 if checks.boolean("maximise", maximise) else 1.0
        if isinstance(Q, LinearOperator):
            raise TypeError("Q must be an array; found a LinearOperator")
        A, b, constant, error = signs_from_binary(Q)
        offset = checks.scalar("offset", offset)
        total = constant + offset
        if Fraction(constant) + Fraction(offset) != Fraction(total):
            error += math.ulp(total)
        return cls(sign * A, sign * b, lowered(sign * total, error), maximised=maximise)

    @classmethod
    def from_ising(cls, J: Any, h: ArrayLike | None = None, constant: float = 0.0) -> BinaryQuadratic:
        r"""Minimise the energy :math:`\sum_{i<j} J_{ij} s_i s_j + h^T s + \text{constant}`, as dimod states it.

        Parameters
        ----------
        J : (n, n) array_like or scipy sparse array
            Triangular, upper or lower: each pair once.
        h : (n,) array_like, optional
        constant : float, optional

        Raises
        ------
        TypeError, ValueError
            As for the class, and if J has a diagonal or entries on both sides of it.

        Examples
        --------
        >>> float(BinaryQuadratic.from_ising([[0.0, 1.0], [0.0, 0.0]], h=[0.0, 0.5]).evaluate([1, -1]))
        -1.5
        """
        A, b = signs_from_ising(J, h)
        return cls(A, b, constant)

    @classmethod
    def from_bqm(cls, bqm: Any) -> BinaryQuadratic:
        """Minimise a dimod BinaryQuadraticModel, of spins or of bits; `labels` holds its variables in order.

        Raises
        ------
        TypeError, ValueError
            If it is no such model, has no variables, or biases that are not finite.
        """
        A, b, constant, labels = bqm_form(bqm)
        problem = cls(A, b, constant)
        problem.labels = labels
        return problem

    def to_qubo(self) -> tuple[Cost, float]:
        r"""Q and constant with :math:`x^T Q x + \text{constant}` equal to the user's objective at w = 2 x - 1.

        Minus the minimised one where the problem is ``maximised``.

        Raises
        ------
        TypeError
            If A is an operator, whose entries are not at hand.
        """
        if isinstance(self.A, LinearOperator):
            raise TypeError("A must be a dense or sparse matrix to be written as a QUBO; found an operator")
        sign = -1.0 if self.maximised else 1.0
        Q, constant = binary_from_signs(self.A, self.b, self.constant)
        return sign * Q, sign * constant

    @classmethod
    def from_factor(cls, X: Any, b: ArrayLike | None = None, constant: float = 0.0) -> BinaryQuadratic:
        r"""Minimise :math:`|X w|^2 + b^T w + \text{constant}`: A = X^T X, kept as X (`solvers.Gram`).

        Parameters
        ----------
        X : (m, n) array_like or scipy sparse array
            Copied.
        b, constant
            As for the class.

        Raises
        ------
        TypeError, ValueError
            As for the class, about X.

        Examples
        --------
        >>> problem = BinaryQuadratic.from_factor([[1.0, 2.0, 3.0]])
        >>> float(problem.evaluate([1, 1, -1]))
        0.0
        """
        return cls(Gram(X), b, constant)

    @classmethod
    def least_squares(cls, X: Any, target: ArrayLike) -> BinaryQuadratic:
        r"""Minimise :math:`|X w - t|^2`, X kept as it is: binary regression, or quantisation of one neuron.

        Parameters
        ----------
        X : (m, n) array_like or scipy sparse array
            Copied.
        target : (m,) array_like
            t.

        Raises
        ------
        TypeError, ValueError
            As for `from_factor`, and if the target does not fit.

        Notes
        -----
        t^T t is rounded down, by as much more as X^T t may be off: proved bounds hold for the exact data.

        Examples
        --------
        >>> problem = BinaryQuadratic.least_squares([[1.0, 2.0], [0.0, 1.0]], target=[-1.0, -1.0])
        >>> float(problem.evaluate([1, -1]))
        0.0
        """
        gram = Gram(X)
        target = checks.vector("target", target, length=gram.vectors.shape[1])
        try:
            with np.errstate(over="raise"):
                product, error = product_with_error(gram.vectors, target)
                constant = lowered(squared_norm_below(target), 2.0 * math.fsum(error))
                return cls(gram, -2.0 * product, constant)
        except (OverflowError, FloatingPointError) as overflow:
            raise ValueError(
                "target must have products with itself and X within the range of float64"
            ) from overflow

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
            return Elliptope(self.A, constant=self.constant, maximised=self.maximised)
        cost = homogenise(self.A, self.b)
        return Elliptope(cost, constant=self.constant, homogenised=True, maximised=self.maximised)


class Cut(NamedTuple):
    """A cut of a graph: its weight, and the vertices on either side, by label where the graph has labels."""

    weight: float
    first: tuple[Hashable, ...]
    second: tuple[Hashable, ...]


_ONE_SIDED = (
    "With each edge on one side of the diagonal, or as an arc, pass graph + graph.T; symmetrise(graph) would halve "
    "every edge"
)


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
        graph = as_plain("graph", graph)
        weights = sp.csr_array(
            checks.symmetric_sparse(
                "graph", graph if sp.issparse(graph) else _sparsified("graph", graph), _ONE_SIDED
            )
        )
        if weights.diagonal().any():
            weights.setdiag(0.0)
            weights.eliminate_zeros()
        self.graph = weights
        self.n = int(weights.shape[0])
        self.labels: tuple[Hashable, ...] | None = None

    @classmethod
    def from_networkx(cls, graph: Any, weight: str | None = "weight") -> MaxCut:
        """MaxCut of an undirected networkx graph, its node labels kept in `labels`.

        Parameters
        ----------
        graph : networkx.Graph or MultiGraph
            Parallel edges add up; self-loops never count.
        weight : str or None, optional
            The edge attribute that holds the weights; edges without it, and all edges for None, weigh 1.

        Raises
        ------
        TypeError
            If it is not a networkx graph, if it is directed, or if a weight is not a real number.
        ValueError
            If it has no nodes, or weights that are not finite.
        """
        weights, labels = graph_weights(graph, weight)
        problem = cls(weights)
        problem.labels = labels
        return problem

    def cut(self, signs: ArrayLike) -> Cut:
        """The cut of one point (n,): its weight and its two sides, by label where there are labels.

        Examples
        --------
        >>> MaxCut([[0, 2], [2, 0]]).cut([1, -1])
        Cut(weight=2.0, first=(0,), second=(1,))
        """
        point = as_points(signs, self.n)
        if point.ndim != 1:
            raise ValueError(f"signs must have shape ({self.n},) for one cut; found {point.shape}")
        labels = tuple(range(self.n)) if self.labels is None else self.labels
        sides = [
            tuple(label for label, s in zip(labels, point, strict=True) if s == side) for side in (1, -1)
        ]
        return Cut(float(self.evaluate(point)), sides[0], sides[1])

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
        # degrees that round are rounded up: what bounds the cost from below then bounds every cut from above
        laplacian = sp.csr_array(sp.diags_array(row_sums_above(self.graph)) - self.graph)
        laplacian.data = checks.exact_multiple("graph", laplacian.data, -0.25)
        return Elliptope(laplacian, maximised=True)


@dataclass(frozen=True, eq=False)
class Elliptope:
    r"""Minimise :math:`\langle C, Y\rangle + \text{constant}` over PSD Y with a fixed diagonal, of ones by default.

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
    diagonal : (N,) array_like, optional
        The a > 0 of diag(Y) = a; ones by default.

    Raises
    ------
    TypeError
        If an argument is not of its kind.
    ValueError
        If the cost is empty, not square, not symmetric or not finite, if the diagonal does not fit or is not
        positive, or if it gives the homogenising row another square than 1.

    Notes
    -----
    With D = Diag(a) the matrices are :math:`Y = D^{1/2} Y' D^{1/2}`, Y' of unit diagonal, and the cost of Y' is
    :math:`D^{1/2} C D^{1/2}`: `unit` poses that problem.  The binary points are :math:`s_i = \pm\sqrt{a_i}`;
    where signs are asked for, they are the signs of s.

    Examples
    --------
    >>> Elliptope([[0.0, 1.0], [1.0, 0.0]]).size
    2
    >>> Elliptope([[0.0, 1.0], [1.0, 0.0]], diagonal=[4.0, 1.0]).unit().cost
    array([[0., 2.],
           [2., 0.]])
    """

    cost: Cost
    constant: float
    homogenised: bool
    maximised: bool
    diagonal: NDArray[np.float64]

    def __init__(
        self,
        cost: Any,
        constant: float = 0.0,
        homogenised: bool = False,
        maximised: bool = False,
        diagonal: ArrayLike | None = None,
    ) -> None:
        homogenised = checks.boolean("homogenised", homogenised)
        cost = as_cost("cost", cost)
        values = {
            "cost": cost,
            "constant": checks.scalar("constant", constant),
            "homogenised": homogenised,
            "maximised": checks.boolean("maximised", maximised),
            "diagonal": _fixed_diagonal(diagonal, int(cost.shape[0]), homogenised),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def size(self) -> int:
        """N, the order of Y."""
        return int(self.cost.shape[0])

    @property
    def has_unit_diagonal(self) -> bool:
        """Whether every diagonal entry is fixed to 1."""
        return bool(np.all(self.diagonal == 1.0))

    def unit(self) -> Elliptope:
        """The same problem in Y' of unit diagonal; itself where the diagonal is 1 already.  Built once."""
        return self if self.has_unit_diagonal else self._unit

    @cached_property
    def _unit(self) -> Elliptope:
        scaled = scale_symmetrically(self.cost, np.sqrt(self.diagonal))
        return Elliptope(scaled, self.constant, self.homogenised, self.maximised)

    def relaxation(self) -> Elliptope:
        """Return itself: it is its own relaxation."""
        return self

    def evaluate(self, signs: ArrayLike) -> NDArray[np.float64]:
        r"""Objective <C, s s^T> + constant at :math:`s_i = w_i\sqrt{a_i}`, for signs w (N,) or each row of them.

        In the minimised sense.
        """
        points = np.sqrt(self.diagonal) * as_points(signs, self.size)
        return np.asarray(np.einsum("...i,...i->...", points, apply(self.cost, points)) + self.constant)


def _fixed_diagonal(values: ArrayLike | None, order: int, homogenised: bool) -> NDArray[np.float64]:
    if values is None:
        return np.ones(order)
    diagonal = checks.vector("diagonal", values, length=order)
    if not np.all(diagonal > 0):
        index = int(np.argmin(diagonal))
        raise ValueError(f"diagonal must be positive; found {diagonal[index]} at index {index}")
    if homogenised and diagonal[0] != 1.0:
        raise ValueError(
            f"diagonal must be 1 at index 0 of a homogenised problem, which stands for 1; found {diagonal[0]}"
        )
    return diagonal


Problem: TypeAlias = BinaryQuadratic | MaxCut | Elliptope


def as_problem(problem: Any) -> Problem:
    """Return ``problem`` if it is one, and refuse anything else in words."""
    if not isinstance(problem, (BinaryQuadratic, MaxCut, Elliptope)):
        raise TypeError(
            f"problem must be a BinaryQuadratic, MaxCut or Elliptope; found {type(problem).__name__}. "
            "Wrap a matrix C as Elliptope(C)"
        )
    return problem


def as_points(signs: ArrayLike, n: int) -> NDArray[np.float64]:
    """Points of the cube as float64 (..., n); anything but +-1 is refused."""
    points = checks.unmasked("signs", signs)
    if points.ndim == 0 or points.shape[-1] != n:
        raise ValueError(f"signs must have shape (..., {n}); found {points.shape}")
    if points.dtype.kind not in "biuf":
        raise TypeError(f"signs must hold real numbers; found dtype {points.dtype}")
    if not np.all(np.abs(points) == 1):
        raise ValueError("signs must hold only -1 and +1")
    return points.astype(np.float64)


def _sparsified(name: str, values: ArrayLike) -> sp.csr_array:
    return sp.csr_array(checks.real_array(name, values, dimensions=2))
