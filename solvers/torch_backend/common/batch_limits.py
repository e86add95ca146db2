"""When a run on tensors stops, what it tells on the way, and how its statuses are numbered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from solvers.problems.solution import Status

STATUSES = tuple(Status)


class BatchMoment(NamedTuple):
    """One recorded moment of a batch, for callbacks.

    Sweeps of the problems under way, how many of how many are finished, seconds since the start, and all values and
    bounds (B,) so far: NaN and -inf for problems not begun.
    """

    iteration: int
    finished: int
    total: int
    seconds: float
    value: Tensor
    lower_bound: Tensor


@dataclass(frozen=True)
class Limits:
    """When to stop, whoever asks."""

    tol: float
    max_iterations: int
    max_seconds: float | None
    callback: Callable[[BatchMoment], None] | None


class Stop(Exception):  # a request, as StopIteration is, not an error
    """Raised inside a run to end it with the best points so far."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status
