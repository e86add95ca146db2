"""Proved lower bounds: a completed Cholesky factorisation with Rump's error bound, everything rounded outward.

For any vector z, a^T z + (sum a) min(lambda_min(C - Diag(z)), 0) bounds <C, Y> from below over the PSD Y with
diag(Y) = a.  If floating-point Cholesky of C - Diag(z) runs to completion, then that eigenvalue is at least
-epsilon, where epsilon bounds the backward error of the factorisation: at most gamma_{n+3} / (1 - gamma_{n+3})
times the trace (S. M. Rump, "Verification of positive definiteness", BIT 46, 2006, in the form that allows any
order of summation and multiplication by rounded reciprocals).  So z is the user's y, lowered until the
factorisation runs through.  Sums are taken without rounding and then rounded down.  Nothing here is estimated:
the bound holds as a theorem about the stored C and a, provided that the linear algebra library computes inner
products by multiplying and adding.
"""

from __future__ import annotations

import math
from itertools import count

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from solvers import checks
from solvers.certificate import dense_cost
from solvers.gram import Gram
from solvers.parts import split_components, split_diagonal
from solvers.problem import Cost, Elliptope

Vector = NDArray[np.float64]

# A dense factor of this order takes 800 MB and some ten seconds.
MAX_ORDER = 10_000

# Up to this order an eigenvalue is cheaper than a shift that was guessed too large or too small.
MEASURED_ORDER = 500

UNIT_ROUNDOFF = 2.0**-53
TINY = float(np.finfo(np.float64).tiny)
# The first shifts grow little, because the estimate is usually nearly right and the bound pays for every excess.
CAREFUL_GROWTH = 1.2
CAREFUL_ATTEMPTS = 4
# Above every exponent of a float64.
MOST = 1 << 20
GROWTH = 4.0


def rigorous_bound(
    cost: Cost, dual: ArrayLike, *, diagonal: ArrayLike | None = None, smallest_eigenvalue: float = 0.0
) -> float:
    r"""A proved lower bound on <C, Y> over the elliptope, from any dual vector y.

    Parameters
    ----------
    cost : (N, N) ndarray, sparse array or Gram
        Symmetric C, N <= 10,000.  For a Gram the exact product of the stored X is meant.
    dual : (N,) array_like
        Any finite vector; the bound is good where C - Diag(y) is nearly PSD.
    diagonal : (N,) array_like, optional
        The a > 0 of diag(Y) = a; ones by default.
    smallest_eigenvalue : float, optional
        An estimate of the smallest eigenvalue of :math:`D^{1/2} (C - Diag(y)) D^{1/2}`, D = Diag(a): where to
        begin the search for a shift :math:`\delta` that makes the factorisation of C - Diag(z),
        :math:`z_i = y_i - \delta / a_i`, run through, in components of more than 500 rows.  It cannot make the
        result wrong.

    Returns
    -------
    float
        :math:`a^T z - (1^T a)\,\varepsilon`, rounded down: about :math:`a^T y - N\delta`.

    Raises
    ------
    TypeError
        For a LinearOperator, whose entries cannot be enclosed; a `Gram` can.
    ValueError
        Above N = 10,000, and where an argument is not finite or does not fit.

    Notes
    -----
    O(N^3) time and O(N^2) memory for each shift tried, usually one or two, with N the order of the largest
    connected component.

    Examples
    --------
    >>> bound = rigorous_bound(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([-1.0, -1.0]))
    >>> -2.0 - 1e-13 < bound <= -2.0
    True
    """
    problem = Elliptope(cost, diagonal=diagonal)
    check_provable(problem.cost)
    dual = checks.vector("dual", dual, length=problem.size)
    checks.scalar("smallest_eigenvalue", smallest_eigenvalue)
    halves, _ = split_squares(problem.diagonal)
    scaled = _Scaled(problem, dual, 2 * halves)
    bound = scaled.bound(float(np.ldexp(smallest_eigenvalue, -scaled.exponent)))
    # a subnormal result rounds once more
    return math.nextafter(math.ldexp(bound, scaled.exponent), -math.inf)


def prove(problem: Elliptope, unit_dual: Vector, exponent: int, smallest_eigenvalue: float) -> float:
    """The same for the dual vector and the eigenvalue of the problem scaled to unit diagonal.

    Dual, eigenvalue and result are in units of 2^exponent, so that what is near the ends of the range keeps its
    digits.
    """
    _, squares = split_squares(problem.diagonal)
    scaled = _Scaled(problem, unit_dual / squares, np.full(problem.size, exponent))
    shift = scaled.exponent - exponent
    bound = scaled.bound(float(np.ldexp(smallest_eigenvalue, -shift)))
    return math.nextafter(math.ldexp(bound, shift), -math.inf) if shift else bound


def split_squares(diagonal: Vector) -> tuple[NDArray[np.int64], Vector]:
    """Integers k and numbers m, 1 <= m < 4, with a = 4^k m, exactly."""
    halves = (np.frexp(diagonal)[1].astype(np.int64) - 1) // 2
    return halves, np.ldexp(diagonal, -2 * halves)


def check_provable(cost: Cost) -> None:
    """Refuse costs for which no rigorous bound is offered, before any work is done."""
    if isinstance(cost, LinearOperator) and not isinstance(cost, Gram):
        raise TypeError(
            "a rigorous certificate needs the entries of the cost; found a LinearOperator. "
            "Pass an array, or certificate='estimate'"
        )
    if cost.shape[0] > MAX_ORDER:
        raise ValueError(
            f"a rigorous certificate is offered up to N = {MAX_ORDER}; found N = {cost.shape[0]}"
        )


class _Scaled:
    """The problem with 1 <= a_i < 4 and entries below one, by powers of two, so that nothing rounds.

    Entries that become subnormal, and they alone, may: by less than the smallest normal number, which
    `_backward_error` allows for.  Everything is in units of 2^exponent.

    Parameters
    ----------
    problem : Elliptope
    dual : (N,) ndarray
    powers : (N,) ndarray of integers
        The multiplier of a_i = 4^k m in the scaled problem is dual * 2^powers.
    """

    def __init__(self, problem: Elliptope, dual: Vector, powers: NDArray[np.int64]) -> None:
        halves, self.weights = split_squares(problem.diagonal)
        self.size = problem.size
        # of the dual, too, so that nothing overflows
        needed = (np.frexp(dual)[1] + powers)[dual != 0].max(initial=-MOST)
        self.exponent, self.cost, self.uncertainty = _scaled_cost(problem.cost, halves, int(needed))
        self.dual = np.ldexp(dual, powers - self.exponent)

    def bound(self, smallest_eigenvalue: float) -> float:
        """The sum over the parts, rounded down."""
        # entries below four, and diagonal entries below eight, have no eigenvalue that is less
        smallest_eigenvalue = max(smallest_eigenvalue, -8.0 * self.size)
        hollow, entries = split_diagonal(self.cost)
        alone = np.ones(self.size, dtype=bool)
        terms: list[float] = []
        for part in split_components(hollow):
            alone[part.rows] = False
            rows = _Part(
                part.cost, entries[part.rows], self.dual[part.rows], self.weights[part.rows], self.uncertainty
            )
            terms.extend(rows.proved_terms(smallest_eigenvalue))
        # a row that meets no other contributes its diagonal entry
        terms.extend(_products_below(self.weights[alone], entries[alone]))
        return math.nextafter(math.fsum(terms), -math.inf)


def _scaled_cost(cost: Cost, halves: NDArray[np.int64], needed: int) -> tuple[int, Cost, float]:
    """An exponent e, the c_ij 2^(k_i + k_j - e), all below one, and how far they may be off in spectral norm."""
    if isinstance(cost, Gram):
        largest = int((cost.binary_exponents() + halves).max())
        half = max(largest, -(-needed // 2))
        half = half if half > -MOST // 2 else 0
        return 2 * half, *cost.scaled_by_powers(halves - half).enclosure()
    if sp.issparse(cost):
        rows = np.repeat(np.arange(cost.shape[0]), np.diff(cost.indptr))
        shifts, entries = halves[rows] + halves[cost.indices], cost.data
    else:
        shifts, entries = np.add.outer(halves, halves), cost
    exponents = np.frexp(entries)[1] + shifts
    exponent = max(int(exponents[entries != 0].max(initial=-MOST)), needed)
    exponent = exponent if exponent > -MOST else 0
    entries = np.ldexp(entries, shifts - exponent)
    if sp.issparse(cost):
        entries = sp.csr_array((entries, cost.indices, cost.indptr), shape=cost.shape)
    return exponent, entries, 0.0


class _Part:
    """One connected part: C without its diagonal, its diagonal, y, a in [1, 4), and the uncertainty of C."""

    def __init__(
        self, hollow: Cost, diagonal: Vector, dual: Vector, weights: Vector, uncertainty: float
    ) -> None:
        self._slack = dense_cost(hollow)
        self._diagonal = diagonal
        self._dual = dual
        self._weights = weights
        self._uncertainty = uncertainty
        self._order = int(dual.shape[0])

    def proved_terms(self, smallest_eigenvalue: float) -> list[float]:
        """Terms whose sum is a proved bound: a_i z_i, and what the factorisation may have missed."""
        entries = np.diag_indices(self._order)
        self._slack[entries] = self._diagonal - self._dual
        measured = self._order <= MEASURED_ORDER
        smallest_eigenvalue = self._smallest_eigenvalue() if measured else 1.01 * smallest_eigenvalue
        magnitude = float(np.abs(self._slack[entries]).max())
        margin = 2.0 * float(self._weights.max()) * _backward_error(self._slack[entries])
        shift = max(-smallest_eigenvalue, 0.0) + margin
        for attempt in count():
            lowered = self._dual - shift / self._weights
            slack_diagonal = self._diagonal - lowered
            self._slack[entries] = slack_diagonal
            if np.all(slack_diagonal >= 0) and _factorises(self._slack):
                break
            growth = CAREFUL_GROWTH if attempt < CAREFUL_ATTEMPTS else GROWTH
            shift = max(growth * shift, UNIT_ROUNDOFF * magnitude, TINY)
        # forming c_ii - z_i rounds once
        forming = UNIT_ROUNDOFF * float(slack_diagonal.max()) + TINY + self._uncertainty
        trace = math.fsum(self._weights) * (1.0 + 4.0 * UNIT_ROUNDOFF)
        loss = trace * (_backward_error(slack_diagonal) + forming) * (1.0 + 16.0 * UNIT_ROUNDOFF)
        return [*_products_below(self._weights, lowered), -loss]

    def _smallest_eigenvalue(self) -> float:
        root = np.sqrt(self._weights)
        scaled = self._slack * np.multiply.outer(root, root)
        return float(la.eigvalsh(scaled, subset_by_index=[0, 0])[0])


def _products_below(weights: Vector, values: Vector) -> Vector:
    """a_i z_i rounded down; exact where a_i = 1."""
    with np.errstate(under="ignore"):
        products = weights * values
    return np.where(weights == 1.0, values, np.nextafter(products, -np.inf))


def _backward_error(diagonal: Vector) -> float:
    order = diagonal.shape[0]
    operations = (order + 3) * UNIT_ROUNDOFF
    gamma = operations / (1.0 - operations)
    trace = float(np.abs(diagonal).sum()) * (1.0 + 2.0 * order * UNIT_ROUNDOFF)
    # products may underflow, each by less than the smallest normal number
    return 1.01 * gamma / (1.0 - gamma) * trace + order * order * TINY


def _factorises(matrix: NDArray[np.float64]) -> bool:
    try:
        la.cholesky(matrix, lower=True, check_finite=False)
    except la.LinAlgError:
        return False
    return True
