"""What a search over the cube returns: a point, what certifies it, and why the search stopped."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.problems.solution import Certificate


class SearchEnd(enum.Enum):
    """Why a search stopped, and what the user can do about it."""

    BOUND_MET = "the point meets the lower bound, by the certificate named beside it: nothing better exists"
    ITERATION_LIMIT = "the iteration limit came first: raise max_iterations, or start from these signs"
    TIME_LIMIT = "the time limit came first: raise max_seconds, or start from these signs"
    INTERRUPTED = "interrupted: start from these signs to go on"

    @property
    def message(self) -> str:
        """The reason and its remedy, in words."""
        return self.value


class SearchMoment(NamedTuple):
    """One moment of a search, for callbacks."""

    iterations: int
    value: float
    walks: int
    seconds: float


@dataclass(frozen=True, eq=False)
class SearchResult:
    r"""The best point that a search found, and what is known about it.

    Attributes
    ----------
    signs : (n,) int8 ndarray
        No flip of one sign or of two lowers the objective; +1 first where the problem is a homogenised Elliptope.
    value : float
        Its objective in the minimised sense (minus the cut for a MaxCut), constant included, computed afresh.
    lower_bound : float or None
        The bound of the solution that was given; None without one.
    gap : float or None
        (value - lower_bound) / max(\|value - constant\|, \|C\|_F): no point is better by more.
    certificate : {"none", "estimate", "rigorous"}
        How that bound was obtained.
    status : SearchEnd
        Why the search stopped.
    iterations : int
        Flips made by the tabu walks.
    walks : int
        Walks begun.
    seconds : float
        Wall-clock time.
    """

    signs: NDArray[np.int8] = field(repr=False)
    value: float
    lower_bound: float | None
    gap: float | None
    certificate: Certificate
    status: SearchEnd
    iterations: int
    walks: int
    seconds: float

    @property
    def message(self) -> str:
        """Why the search stopped and what to do about it."""
        return self.status.message
