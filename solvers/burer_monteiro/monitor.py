"""The state of one solve: totals over its parts, limits, callback and history."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from solvers.problems.solution import Iteration, Status, relative_gap

Callback = Callable[[Iteration], None]


class Stop(Exception):  # a request, as StopIteration is, not an error
    """Raised inside a solve to end it with the best point so far."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


class Run:
    """Totals of value and bound, and the reasons to stop.

    Parameters
    ----------
    values, bounds : sequence of float
        Objective and lower bound of each part at the start point.
    shift : float
        The fixed diagonal's share of the value, without the constant.
    constant : float
        Added to the values that history and callback see.
    exponent : int
        The objective was divided by two to this power; history and callback see it whole.
    frobenius : float
        Norm of the whole cost.
    """

    def __init__(
        self,
        values: Sequence[float],
        bounds: Sequence[float],
        *,
        shift: float,
        constant: float,
        exponent: int,
        frobenius: float,
        max_iterations: int,
        max_seconds: float | None,
        callback: Callback | None,
    ) -> None:
        self.values = list(values)
        self.bounds = list(bounds)
        self.iterations = 0
        self.history: list[Iteration] = []
        self._shift = shift
        self._constant = constant
        self._exponent = exponent
        self._frobenius = frobenius
        self._max_iterations = max_iterations
        self._max_seconds = max_seconds
        self._callback = callback
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Wall-clock time since the start."""
        return time.perf_counter() - self._started

    @property
    def value(self) -> float:
        """Objective of the whole problem, without the constant."""
        return sum(self.values) + self._shift

    @property
    def bound(self) -> float:
        """Lower bound on the whole problem, without the constant."""
        return sum(self.bounds) + self._shift

    @property
    def gap(self) -> float:
        """Relative gap of the whole problem."""
        return relative_gap(self.value, self.bound, self._frobenius)

    @property
    def scale(self) -> float:
        """What gaps are relative to."""
        return max(abs(self.value), self._frobenius)

    @property
    def remaining_iterations(self) -> int:
        """How many iterations the limit still allows."""
        return self._max_iterations - self.iterations

    @property
    def remaining_seconds(self) -> float:
        """How much time the limit still allows."""
        return float("inf") if self._max_seconds is None else self._max_seconds - self.seconds

    def advance(self, part: int, value: float, gradient_norm: float, rank: int) -> None:
        """Note progress of a part, tell the callback, and stop where a limit is reached.

        Raises
        ------
        Stop
            At a limit, or where the callback raises StopIteration.
        """
        self.values[part] = value
        moment = Iteration(
            self.iterations,
            math.ldexp(self.value, self._exponent) + self._constant,
            math.ldexp(self.bound, self._exponent) + self._constant,
            math.ldexp(gradient_norm, self._exponent),
            rank,
            self.seconds,
        )
        self.history.append(moment)
        if self._callback is not None:
            try:
                self._callback(moment)
            except StopIteration:
                raise Stop(Status.INTERRUPTED) from None
        if self.remaining_iterations <= 0:
            raise Stop(Status.ITERATION_LIMIT)
        if self.remaining_seconds <= 0:
            raise Stop(Status.TIME_LIMIT)
