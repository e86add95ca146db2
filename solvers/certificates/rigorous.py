"""Proved lower bounds: a completed Cholesky factorisation with Rump's error bound, everything rounded outward.

For any vector z, a^T z + (sum a) min(lambda_min(C - Diag(z)), 0) bounds <C, Y> from below over the PSD Y with
diag(Y) = a.  If floating-point Cholesky of C - Diag(z) runs to completion, then that eigenvalue is at least
-epsilon, where epsilon bounds the backward error of the factorisation: with s_i
entries in row i of the factor, at most the sum of gamma_{s_i+3} / (1 - gamma_{s_i+3}) times the diagonal entries
(S. M. Rump, "Verification of positive definiteness", BIT 46, 2006, in the form that allows any order of
elimination and summation, and multiplication by rounded reciprocals).  So z is the user's y, lowered until the
factorisation runs through.  Sums are taken without rounding and then rounded down.  Nothing here is estimated:
the bound holds as a theorem about the stored C and a, provided that the linear algebra library computes inner
products by multiplying and adding.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from solvers import checks
from solvers.certificates.rigorous_component import RigorousComponent, products_below
from solvers.linalg.sparse_cholesky import MAX_CORE, SparseCholesky, TooMuchFill
from solvers.problems.components import split_components, split_diagonal
from solvers.problems.gram import Gram
from solvers.problems.problem import Cost, Elliptope

Vector = NDArray[np.float64]

# Above every exponent of a float64.
MOST = 1 << 20


def rigorous_bound(
    cost: Cost,
    dual: ArrayLike,
    *,
    diagonal: ArrayLike | None = None,
    smallest_eigenvalue: float | None = None,
) -> float:
    r"""A proved lower bound on <C, Y> over the elliptope, from any dual vector y.

    Parameters
    ----------
    cost : (N, N) ndarray, sparse array or Gram
        Symmetric C.  Dense ones and Grams up to N = 10,000; sparse ones as far as elimination by minimum degree
        leaves no dense core above that order (`solvers.linalg.sparse_cholesky`).  For a Gram the
        exact product of the stored X is meant.
    dual : (N,) array_like
        Any finite vector; the bound is good where C - Diag(y) is nearly PSD.
    diagonal : (N,) array_like, optional
        The a > 0 of diag(Y) = a; ones by default.
    smallest_eigenvalue : float, optional
        An estimate, where there is one, of the smallest eigenvalue of
        :math:`D^{1/2} (C - Diag(y)) D^{1/2}`, D = Diag(a): where to begin the search for a shift
        :math:`\delta` that makes the factorisation of C - Diag(z), :math:`z_i = y_i - \delta / a_i`, run
        through, in components of more than 200 rows.  It cannot make the result wrong.

    Returns
    -------
    float
        :math:`a^T z - (1^T a)\,\varepsilon`, rounded down: about :math:`a^T y - N\delta`.

    Raises
    ------
    TypeError
        For a LinearOperator, whose entries cannot be enclosed; a `Gram` can.
    ValueError
        Where the cost is too large, and where an argument is not finite or does not fit.

    Notes
    -----
    One Cholesky factorisation for each shift tried, usually one or two, of each connected component: O(N^3) time
    and O(N^2) memory for dense ones.

    Examples
    --------
    >>> bound = rigorous_bound(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([-1.0, -1.0]))
    >>> -2.0 - 1e-13 < bound <= -2.0
    True
    """
    problem = Elliptope(cost, diagonal=diagonal)
    check_provable(problem.cost)
    dual = checks.vector("dual", dual, length=problem.size)
    if smallest_eigenvalue is not None:
        smallest_eigenvalue = checks.scalar("smallest_eigenvalue", smallest_eigenvalue)
    halves, _ = split_squares(problem.diagonal)
    scaled = _Scaled(problem, dual, 2 * halves)
    if smallest_eigenvalue is not None:
        smallest_eigenvalue = float(np.ldexp(smallest_eigenvalue, -scaled.exponent))
    bound = scaled.bound(smallest_eigenvalue)
    # a subnormal result rounds once more
    return math.nextafter(math.ldexp(bound, scaled.exponent), -math.inf)


def prove(problem: Elliptope, unit_dual: Vector, exponent: int, smallest_eigenvalue: float) -> float:
    """The proved bound from the dual vector and the eigenvalue of the problem scaled to unit diagonal.

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
    """Refuse costs for which no rigorous bound is offered, before any work is done.

    Sparse ones above the order of a dense factor are eliminated symbolically to find out.
    """
    if isinstance(cost, LinearOperator) and not isinstance(cost, Gram):
        raise TypeError(
            "a rigorous certificate needs the entries of the cost; found a LinearOperator. "
            "Pass an array, or certificate='estimate'"
        )
    if cost.shape[0] <= MAX_CORE:
        return
    if not sp.issparse(cost):
        raise ValueError(
            f"a rigorous certificate of a dense cost is offered up to N = {MAX_CORE}; found N = {cost.shape[0]}"
        )
    for part in split_components(split_diagonal(cost)[0]):
        try:
            SparseCholesky(part.cost)
        except TooMuchFill as reason:
            raise ValueError(
                f"a rigorous certificate factors the cost, and {reason}; the graph of this one does not allow it "
                f"at N = {cost.shape[0]}. Pass certificate='estimate'"
            ) from None


class _Scaled:
    """The problem with 1 <= a_i < 4 and entries below one, by powers of two, so that nothing rounds.

    Entries that become subnormal, and they alone, may: by less than the smallest normal number, which
    the error bound allows for.  Everything is in units of 2^exponent.

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

    def bound(self, smallest_eigenvalue: float | None) -> float:
        """The sum over the parts, rounded down."""
        if smallest_eigenvalue is not None:
            # entries below four, and diagonal entries below eight, have no eigenvalue that is less
            smallest_eigenvalue = max(smallest_eigenvalue, -8.0 * self.size)
        zero_diagonal, entries = split_diagonal(self.cost)
        alone = np.ones(self.size, dtype=bool)
        terms: list[float] = []
        for part in split_components(zero_diagonal):
            alone[part.rows] = False
            rows = RigorousComponent(
                part.cost, entries[part.rows], self.dual[part.rows], self.weights[part.rows], self.uncertainty
            )
            terms.extend(rows.terms(smallest_eigenvalue))
        # a row that meets no other contributes its diagonal entry
        terms.extend(products_below(self.weights[alone], entries[alone]))
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
