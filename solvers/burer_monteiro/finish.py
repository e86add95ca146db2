"""The end of every solve: what a solver has found, proved where asked, judged, and said in the problem's terms.

A bound above the value by more than rounding contradicts itself: whatever computed the two has gone wrong, and
nothing is certified.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.certificates.rigorous import prove
from solvers.problems.problem import Elliptope, Problem
from solvers.problems.solution import STATUSES, Iteration, Solution, Status

# Of the scale of the gap: by how much rounding in float64 may lift a bound above the value.
SLIP = 1e-12
# Of the gap: what the estimate of the smallest eigenvalue may have missed, where a proof begins its search.
DOUBT = 0.01

_log = logging.getLogger(__name__)

CERTIFIED, NOT_CERTIFIED, STALLED = (
    STATUSES.index(status) for status in (Status.CERTIFIED, Status.NOT_CERTIFIED, Status.STALLED)
)


@dataclass(frozen=True, eq=False)
class Found:
    """What a solver has found at unit diagonal, in units of 2^exponent and without the problem's constant.

    Attributes
    ----------
    factor : (N, k) ndarray
        Unit rows V, in the order of the problem.
    dual : (N,) ndarray
        The multipliers y behind the bound.
    value, bound : float
        <C, V V^T>, and an estimated lower bound.
    frobenius : float
        Norm of the cost.
    exponent : int
    reason : Status
        Why the solver stopped.
    iterations : int
    seconds : float
    history : tuple of Iteration
        In the problem's own terms.
    """

    factor: NDArray[np.float64]
    dual: NDArray[np.float64]
    value: float
    bound: float
    frobenius: float
    exponent: int
    reason: Status
    iterations: int
    seconds: float
    history: tuple[Iteration, ...]


def finish(problem: Problem, found: Found, *, tol: float, rigorous: bool, slip: float = SLIP) -> Solution:
    """The `Solution` of a problem: scale, diagonal and constant restored, a proof made if asked, and judged.

    Raises
    ------
    TypeError, ValueError
        Where a proof is asked for and the cost does not allow one.
    """
    relaxation = problem.relaxation()
    bound = _proved_bound(relaxation, found) if rigorous else found.bound
    gap = float(judged_gap(found.value, bound, max(abs(found.value), found.frobenius), slip))
    # a target closer than the tolerance may have been missed, and the tolerance met
    reason = Status.CERTIFIED if gap <= tol else found.reason
    lower_bound = math.ldexp(bound, found.exponent) + relaxation.constant
    kind = "rigorous" if rigorous else "estimate"
    _log.info("%s: gap %.3g by %s, %.3f seconds", reason.name.lower(), gap, kind, found.seconds)
    return Solution(
        problem=problem,
        factor=found.factor if relaxation.has_unit_diagonal else _scaled(found.factor, relaxation),
        value=math.ldexp(found.value, found.exponent) + relaxation.constant,
        lower_bound=math.nextafter(lower_bound, -math.inf) if rigorous else lower_bound,
        gap=gap,
        dual=np.ldexp(found.dual, found.exponent) / relaxation.diagonal,
        certificate="rigorous" if rigorous else "estimate",
        status=STATUSES[int(judged_status(STATUSES.index(reason), gap, tol))],
        iterations=found.iterations,
        seconds=found.seconds,
        history=found.history,
    )


def judged_gap(
    value: ArrayLike, bound: ArrayLike, scale: ArrayLike, slip: float = SLIP
) -> NDArray[np.float64]:
    """Relative gaps of one problem or many; 0 for a zero cost, and NaN where bound and value contradict each other.

    Examples
    --------
    >>> judged_gap([-9.0, -10.0, -10.0], [-10.0, -10.0, -9.0], 10.0).tolist()
    [0.1, 0.0, nan]
    """
    difference, scale = np.subtract(value, bound), np.asarray(scale, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        gap = np.where(scale == 0.0, 0.0, difference / scale)
    return np.where(gap >= -slip, np.maximum(gap, 0.0), np.nan)


def judged_status(reasons: ArrayLike, gaps: ArrayLike, tol: float) -> NDArray[np.int64]:
    """Places in `STATUSES`: the reasons given, but for those that call certified what the gaps do not."""
    reasons, gaps = np.asarray(reasons), np.asarray(gaps)
    denied = np.where(np.isnan(gaps), STALLED, NOT_CERTIFIED)
    return np.where((reasons == CERTIFIED) & ~(gaps <= tol), denied, reasons)


def _scaled(factor: NDArray[np.float64], relaxation: Elliptope) -> NDArray[np.float64]:
    return factor * np.sqrt(relaxation.diagonal)[:, None]


def _proved_bound(relaxation: Elliptope, found: Found) -> float:
    """A proof about the cost and the diagonal as they were given: scaling them to unit diagonal rounds."""
    estimate = min((found.bound - float(found.dual.sum())) / relaxation.size, 0.0)
    doubt = DOUBT * max(found.value - found.bound, 0.0) / relaxation.size
    return prove(relaxation, found.dual, found.exponent, estimate - doubt)
