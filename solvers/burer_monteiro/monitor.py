"""What is known of a solve at any moment: totals over its components, limits, callback and history."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Protocol

from solvers.problems.solution import Iteration, Status, relative_gap
from solvers.stop import Limits, Stop, tell


class Bracketed(Protocol):
    """A component on its way: its objective at the present point, and a lower bound on it."""

    value: float
    bound: float


class Monitor:
    """Totals of value and bound, and the reasons to stop.

    Parameters
    ----------
    components : sequence of Bracketed
        Their values and bounds are looked up whenever a total is asked for, so that none is ever out of date.
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
        components: Sequence[Bracketed],
        *,
        shift: float,
        constant: float,
        exponent: int,
        frobenius: float,
        limits: Limits[Iteration],
    ) -> None:
        self.iterations = 0
        self.history: list[Iteration] = []
        self._components = components
        self._shift = shift
        self._constant = constant
        self._exponent = exponent
        self._frobenius = frobenius
        self._limits = limits
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Wall-clock time since the start."""
        return time.perf_counter() - self._started

    @property
    def value(self) -> float:
        """Objective of the whole problem, without the constant."""
        return sum(component.value for component in self._components) + self._shift

    @property
    def bound(self) -> float:
        """Lower bound on the whole problem, without the constant."""
        return sum(component.bound for component in self._components) + self._shift

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
        return self._limits.max_iterations - self.iterations

    @property
    def remaining_seconds(self) -> float:
        """How much time the limit still allows."""
        return math.inf if self._limits.max_seconds is None else self._limits.max_seconds - self.seconds

    def record(self, iterations: int, gradient_norm: float, rank: int) -> None:
        """Count the iterations that a component has run, tell the callback, and stop where a limit is reached.

        Raises
        ------
        Stop
            At a limit, or where the callback raises StopIteration.
        """
        self.iterations += iterations
        moment = Iteration(
            self.iterations,
            math.ldexp(self.value, self._exponent) + self._constant,
            math.ldexp(self.bound, self._exponent) + self._constant,
            math.ldexp(gradient_norm, self._exponent),
            rank,
            self.seconds,
        )
        self.history.append(moment)
        tell(self._limits.callback, moment, Status.INTERRUPTED)
        if self.remaining_iterations <= 0:
            raise Stop(Status.ITERATION_LIMIT)
        if self.remaining_seconds <= 0:
            raise Stop(Status.TIME_LIMIT)
