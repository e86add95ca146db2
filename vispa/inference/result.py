"""What `vispa.minimize` returns."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.problems.scipy_names import SciPyNames
from vispa.gaussian.sign_gaussian import SignGaussian


class InferenceStatus(enum.Enum):
    """Why the inference stopped, and what the user can do about it."""

    COMPLETED = "all iterations were run; to go on, pass this result's posterior as `start`"
    STOPPED = "the callback asked to stop; to go on, pass this result's posterior as `start`"
    TIME_LIMIT = "the time limit came first: raise max_seconds, or pass this result's posterior as `start`"
    INTERRUPTED = "interrupted; to go on, pass this result's posterior as `start`"

    @property
    def message(self) -> str:
        """The reason and its remedy, in words."""
        return self.value


class InferenceStep(NamedTuple):
    """One iteration: what a callback sees and the history keeps.

    `energy` is the mean loss of the samples drawn, `free_energy` the estimate of the objective E[L] - T H made
    of them, `best_value` the least loss seen so far.
    """

    iteration: int
    energy: float
    free_energy: float
    best_value: float
    seconds: float


@dataclass(frozen=True, eq=False)
class InferenceResult(SciPyNames):
    r"""A Gaussian posterior over signs, and the best point seen on the way.

    Attributes
    ----------
    posterior : SignGaussian
        In the gauge of unit rows.
    signs : (n,) ndarray of int8
        The best binary point seen, sgn(mean) among them; for a quadratic the best one-flip minimum reached from
        it, from points drawn during the descent and from samples of the posterior.
    value : float
        Its loss.
    free_energy_bound : float
        An unbiased estimate of an upper bound on -T log sum_w exp(-L(w)/T), min L at T = 0, from fresh samples.
    free_energy_standard_error : float
        Of that estimate; 0 where it was computed in closed form.
    lower_bound : float
        A bound on the loss of every binary point, from the semidefinite relaxation of a quadratic; -inf for
        other losses.
    history : tuple of InferenceStep
        First to last.
    status : InferenceStatus
        Why the inference stopped.
    seconds : float
        Wall-clock time.
    """

    POINT: ClassVar[str] = "signs"
    COUNT: ClassVar[str] = "iterations"

    posterior: SignGaussian
    signs: NDArray[np.int8] = field(repr=False)
    value: float
    free_energy_bound: float
    free_energy_standard_error: float
    lower_bound: float
    history: tuple[InferenceStep, ...] = field(repr=False)
    status: InferenceStatus
    seconds: float

    @property
    def iterations(self) -> int:
        """The number of steps that the history holds."""
        return len(self.history)
