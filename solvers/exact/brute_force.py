"""Exact minimisation over the cube by enumeration, for checking everything else."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solvers import checks
from solvers.problems.binary_form import binary_form, dense_matrix
from solvers.problems.problem import Elliptope, Problem, as_problem

MAX_SIZE = 26
# Points whose value is within this of the minimum, relative to max(|minimum|, |C|_F), count as tied.
TIE_TOLERANCE = 1e-12
# More tied points than this are not listed: 2^20 rows of 26 signs take 27 MB.
MAX_MINIMISERS = 1 << 20


@dataclass(frozen=True, eq=False)
class Enumeration:
    """The minimum over all points of the cube.

    Attributes
    ----------
    value : float
        The minimum in the minimised sense (a MaxCut's is minus its largest cut), constant included,
        recomputed at `point` in doubled precision.
    point : (n,) int8 ndarray
        A minimiser.
    minimisers : (m, n) int8 ndarray or None
        Every point tied with the minimum, where asked for; at most ``MAX_MINIMISERS`` of them.
    complete : bool
        False when more points tie than ``minimisers`` lists.
    """

    value: float
    point: NDArray[np.int8]
    minimisers: NDArray[np.int8] | None = None
    complete: bool = True


def brute_force(problem: Problem, *, all_minimisers: bool = False) -> Enumeration:
    r"""Minimise a binary problem of at most 26 signs by visiting every point.

    Points are visited in Gray-code order, so that each costs O(n): one sign changes and the local fields
    follow.  Value and fields are recomputed every 64 steps, which bounds the drift; winners are compared by
    values summed in doubled precision.

    Parameters
    ----------
    problem : BinaryQuadratic, MaxCut or Elliptope
        With n <= 26.  An Elliptope is minimised over s^T C s; where it is homogenised, s_0 = 1.
    all_minimisers : bool, optional
        Also return every point within 1e-12 max(\|minimum\|, \|C\|_F) of the minimum, `C` being the
        homogenised cost.  At most 2^20 are listed; `Enumeration.complete` tells whether those are all.
        Without it, `value` exceeds the minimum by less than 4e-12 times the sum of the absolute coefficients,
        and by nothing where sums of coefficients are exact, as with integers.

    Returns
    -------
    Enumeration

    Raises
    ------
    ValueError
        If n > 26.

    Notes
    -----
    O(2^n n) time, half of it where there is no linear term, and O(n^2) memory beside the minimisers.

    Examples
    --------
    >>> from solvers.problems.problem import MaxCut
    >>> brute_force(MaxCut([[0, 1, 1], [1, 0, 1], [1, 1, 0]])).value
    -2.0
    """
    problem = as_problem(problem)
    checks.boolean("all_minimisers", all_minimisers)
    form = binary_form(problem)
    if form.n > MAX_SIZE:
        raise ValueError(
            f"brute_force visits all 2^n points and allows n <= {MAX_SIZE}; found n = {form.n}. "
            "Use low_rank or exact for a bound, and rounding for a good point"
        )
    dense = dense_matrix("A", form.A, limit=MAX_SIZE)
    # A power of two: scaling is exact, and neither tiny nor huge coefficients leave the range of float64.
    exponent = _exponent(dense, form.b)
    A, b = np.ldexp(dense, -exponent), np.ldexp(form.b, -exponent)
    codes, minimum, complete = _search(A, b, all_minimisers)
    signs = _signs(codes, form.n)
    if isinstance(problem, Elliptope) and problem.homogenised:
        signs *= signs[:, :1].copy()
    elif all_minimisers and complete and not np.any(b):
        signs, complete = _with_negatives(signs)
    value = math.ldexp(minimum, exponent) + form.constant
    return Enumeration(value, signs[0].copy(), signs if all_minimisers else None, complete)


def _exponent(A: NDArray[np.float64], b: NDArray[np.float64]) -> int:
    largest = max(float(np.abs(A).max()), float(np.abs(b).max()))
    return math.frexp(largest)[1]


def _search(
    A: NDArray[np.float64], b: NDArray[np.float64], all_minimisers: bool
) -> tuple[NDArray[np.uint64], float, bool]:
    """Gray codes of the minimiser or of all of them, the minimum, and whether the list is complete."""
    from solvers.kernels.gray_code import REFRESH, enumerate_cube, exact_value

    n = A.shape[0]
    # Without a linear term w and -w have the same value: the last sign stays +1.
    free = n if np.any(b) else n - 1
    total = float(np.abs(A).sum() + np.abs(b).sum())
    # Worst case of the sums between two refreshes: fields drift linearly in the steps, values quadratically.
    slack = (4 * REFRESH**2 + n * n) * np.finfo(np.float64).eps * total
    none, no_values = np.empty(0, np.uint64), np.empty(0)
    best, _ = enumerate_cube(A, b, free, slack, 0.0, none, no_values)
    minimum = float(exact_value(A, b, _signs(np.array([best], np.uint64), n)[0].astype(np.float64)))
    if not all_minimisers:
        return np.array([best], np.uint64), minimum, True
    frobenius = math.hypot(float(np.linalg.norm(A)), float(np.linalg.norm(b)) / math.sqrt(2))
    tie = TIE_TOLERANCE * max(abs(minimum), frobenius)
    limit = min(MAX_MINIMISERS, 1 << free)
    codes, values = np.empty(limit, np.uint64), np.empty(limit)
    _, found = enumerate_cube(A, b, free, 2 * slack + tie, minimum, codes, values)
    complete = found >= 0
    if complete:
        codes, values = codes[:found], values[:found]
    minimum = float(values.min(initial=minimum))
    tied = np.flatnonzero(values <= minimum + tie)
    first = tied[np.argsort(values[tied], kind="stable")]
    return codes[first], minimum, complete


def _signs(codes: NDArray[np.uint64], n: int) -> NDArray[np.int8]:
    """Rows of signs from Gray codes: bit i set means w_i = -1."""
    signs = np.empty((codes.shape[0], n), np.int8)
    for i in range(n):
        signs[:, i] = 1 - 2 * ((codes >> np.uint64(i)) & np.uint64(1)).astype(np.int8)
    return signs


def _with_negatives(signs: NDArray[np.int8]) -> tuple[NDArray[np.int8], bool]:
    """Without a linear term the negative of a minimiser is another one."""
    if 2 * signs.shape[0] > MAX_MINIMISERS:
        return signs, False
    return np.vstack([signs, -signs]), True
