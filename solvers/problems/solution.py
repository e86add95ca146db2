"""What a solver returns: one type for every method, with a status that says what to do next."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.problems.max_cut import Cut, MaxCut
from solvers.problems.problem import Problem
from solvers.problems.scipy_names import SciPyNames

Certificate = Literal["none", "estimate", "rigorous"]


class Status(enum.Enum):
    """Why a solver stopped, and what the user can do about it."""

    CERTIFIED = "the relative gap is within the tolerance, by the certificate named beside it"
    NOT_CERTIFIED = (
        "the solver finished without a bound inside the tolerance: loosen tol, or try another seed or method"
    )
    ITERATION_LIMIT = "the iteration limit came first: raise max_iterations, or loosen tol"
    TIME_LIMIT = "the time limit came first: raise max_seconds, or loosen tol"
    INTERRUPTED = "interrupted: pass this result's factor as `start` to go on from here"
    STALLED = (
        "no further progress is possible in float64 at this tolerance: loosen tol, or rescale the cost matrix"
    )
    FAILED = "the underlying solver failed: try another method, and check the scale of the cost matrix"

    @property
    def message(self) -> str:
        """The reason and its remedy, in words."""
        return self.value


# Where many problems are solved at once, a status is its place here.
STATUSES = tuple(Status)


class Iteration(NamedTuple):
    """One recorded moment of a run, for callbacks and plots; the gradient norm is nan where it was not needed."""

    iteration: int
    value: float
    lower_bound: float
    gradient_norm: float
    rank: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Solution(SciPyNames):
    r"""A point of the elliptope, a bound on every point of it, and how they were found.

    Values are those of the minimised objective, constant included; `report` gives them in the sense in which
    the problem was stated.

    Attributes
    ----------
    problem : BinaryQuadratic, MaxCut or Elliptope
        What was solved.
    factor : (N, k) ndarray
        Rows of length sqrt(a_i), one unless a diagonal a was given; Y = factor @ factor.T.  Row 0 belongs to the
        homogenising variable where there is one.
    value : float
        <C, Y> + constant.
    lower_bound : float
        A bound on every feasible value, and so on every binary value; -inf where none was computed.
    gap : float
        (value - lower_bound) / max(\|value - constant\|, \|C\|_F) with C scaled to unit diagonal; 0 for C = 0.
    dual : (N,) ndarray
        The vector y behind the bound (`solvers.certificates.dual_bound.dual_bound`).
    certificate : {"none", "estimate", "rigorous"}
        How the bound was obtained: not at all, with a floating-point eigenvalue, or with directed error bounds.
    status : Status
        Why the solver stopped.
    iterations : int
        In the solver's own unit.
    seconds : float
        Wall-clock time of the solve.
    history : tuple of Iteration
        Recorded moments, first to last.
    """

    POINT: ClassVar[str] = "factor"
    COUNT: ClassVar[str] = "iterations"

    problem: Problem
    factor: NDArray[np.float64] = field(repr=False)
    value: float
    lower_bound: float
    gap: float
    dual: NDArray[np.float64] = field(repr=False)
    certificate: Certificate
    status: Status
    iterations: int
    seconds: float
    history: tuple[Iteration, ...] = field(default=(), repr=False)

    @property
    def certified(self) -> bool:
        """Whether the gap met the tolerance; `certificate` says by which kind of bound."""
        return self.status is Status.CERTIFIED

    @property
    def rank(self) -> int:
        """Width k of the factor."""
        return int(self.factor.shape[1])

    @cached_property
    def cut(self) -> Cut:
        """The best cut of a MaxCut among 100 roundings of the factor, improved by single flips; same every time.

        Raises
        ------
        TypeError
            If the problem is not a MaxCut.
        """
        if not isinstance(self.problem, MaxCut):
            raise TypeError(
                f"only a MaxCut has a cut; found {type(self.problem).__name__}: use round_homogeneous"
            )
        from solvers import round_homogeneous

        return self.problem.cut(round_homogeneous(self, samples=100, rng=0).signs)

    def gram(self) -> NDArray[np.float64]:
        """Y = factor @ factor.T, a dense (N, N) array."""
        return self.factor @ self.factor.T

    def report(self) -> dict[str, Any]:
        """Value and bound in the problem's own sense, ready for JSON."""
        return {
            **own_sense(self.problem, self.value, self.lower_bound),
            "gap": self.gap,
            "certificate": self.certificate,
            "certified": self.certified,
            "status": self.status.name.lower(),
            "message": self.message,
            "rank": self.rank,
            "iterations": self.iterations,
            "seconds": self.seconds,
        }


def own_sense(problem: Problem, value: float, lower_bound: float) -> dict[str, float]:
    """The value and the bound in the sense in which the problem was stated: a cut is maximised, its bound is above.

    Examples
    --------
    >>> own_sense(MaxCut([[0, 1], [1, 0]]), -1.0, -1.5)
    {'value': 1.0, 'upper_bound': 1.5}
    """
    # 0 - 0 is 0, where -0.0 would be printed with its sign
    if problem.relaxation().maximised:
        return {"value": 0.0 - value, "upper_bound": 0.0 - lower_bound}
    return {"value": value, "lower_bound": lower_bound}


def relative_gap(value: float, lower_bound: float, frobenius: float) -> float:
    r"""(value - lower_bound) / max(\|value\|, \|C\|_F), and 0 for C = 0; both without the constant.

    Unchanged when C is multiplied by a positive number.

    Examples
    --------
    >>> relative_gap(-9.0, -10.0, 5.0)
    0.1111111111111111
    """
    scale = max(abs(value), frobenius)
    # NaN must come out as NaN, never as the gap 0 of a zero cost: no comparison with a tolerance holds for it.
    return (value - lower_bound) / scale if scale != 0 else 0.0
