"""Quadratic objectives of signs."""

from __future__ import annotations

import math
from collections.abc import Hashable
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from solvers import checks
from solvers.problems.cost import Cost, apply, as_cost, homogenise
from solvers.problems.doors import is_mapping
from solvers.problems.elliptope import Elliptope
from solvers.problems.enclosures import lowered, product_with_error, squared_norm_below
from solvers.problems.fixed import Fixed
from solvers.problems.foreign import as_plain, bqm_form
from solvers.problems.gram import Gram
from solvers.problems.pairs import pairs_form
from solvers.problems.points import as_points
from solvers.problems.qubo import binary_from_signs, signs_from_binary, signs_from_ising


class BinaryQuadratic(Fixed):
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
    >>> problem
    <BinaryQuadratic of 2 variables>
    >>> float(problem.evaluate([-1, 1]))
    -3.0
    """

    FIXED = frozenset({"A", "b", "constant", "maximised", "n"})

    def __init__(
        self, A: Any, b: ArrayLike | None = None, constant: float = 0.0, *, maximised: bool = False
    ) -> None:
        self.A = as_cost("A", A)
        self.n = int(self.A.shape[0])
        self.b = np.zeros(self.n) if b is None else checks.vector("b", as_plain("b", b), length=self.n)
        self.constant = checks.scalar("constant", constant)
        self.maximised = checks.boolean("maximised", maximised)
        self.labels: tuple[Hashable, ...] | None = None

    def __repr__(self) -> str:
        return f"<BinaryQuadratic of {self.n} variables{', maximised' if self.maximised else ''}>"

    @classmethod
    def from_qubo(cls, Q: Any, *, offset: float = 0.0, maximise: bool = False) -> BinaryQuadratic:
        r"""Minimise or maximise :math:`x^T Q x + \text{offset}` over :math:`x \in \{0, 1\}^n`, x = (1 + w)/2.

        A = Q/4, b = Q 1/2, and the constant is 1^T Q 1/4 + offset; a linear term of x belongs on the diagonal of Q.

        Parameters
        ----------
        Q : (n, n) array_like, scipy sparse array, or mapping
            Copied.  It need not be symmetric: an upper triangular one that holds each pair once means the same as
            (Q + Q^T)/2.  A mapping has pairs of labels as keys, which `labels` keeps.
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
        >>> BinaryQuadratic.from_qubo({("a", "a"): -1.0, ("a", "b"): 2.0}).labels
        ('a', 'b')
        """
        sign = -1.0 if checks.boolean("maximise", maximise) else 1.0
        if isinstance(Q, LinearOperator):
            raise TypeError("Q must be an array; found a LinearOperator")
        labels = None
        if is_mapping(Q):
            Q, _, labels = pairs_form("Q", Q)
        A, b, constant, error = signs_from_binary(Q)
        offset = checks.scalar("offset", offset)
        total = constant + offset
        if Fraction(constant) + Fraction(offset) != Fraction(total):
            error += math.ulp(total)
        problem = cls(sign * A, sign * b, lowered(sign * total, error), maximised=maximise)
        problem.labels = labels
        return problem

    @classmethod
    def from_ising(cls, J: Any, h: ArrayLike | None = None, constant: float = 0.0) -> BinaryQuadratic:
        r"""Minimise the energy :math:`\sum_{i<j} J_{ij} s_i s_j + h^T s + \text{constant}`, as dimod states it.

        Parameters
        ----------
        J : (n, n) array_like, scipy sparse array, or mapping
            Triangular, upper or lower: each pair once.  A mapping has pairs of labels as keys; `labels` keeps them.
        h : (n,) array_like, or mapping from labels, optional
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
        labels = None
        if is_mapping(J):
            matrix, h, labels = pairs_form("J", J, h, linear_name="h")
            # A pair in both directions is added up, so that one triangle holds it.
            J = sp.triu(matrix + matrix.T, 1) + sp.diags_array(matrix.diagonal())
        A, b = signs_from_ising(J, h)
        problem = cls(A, b, constant)
        problem.labels = labels
        return problem

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
