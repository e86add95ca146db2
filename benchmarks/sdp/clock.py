"""Time a call by the processor's clock and by the wall's: on a shared machine the first one is the fairer."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

Result = TypeVar("Result")

# Short runs are repeated: at least three times and for up to a second, at most nine times.
ENOUGH_SECONDS = 1.0
LONG_SECONDS = 10.0
MIN_REPEATS = 3
MAX_REPEATS = 9


@dataclass(frozen=True)
class Timing:
    """Seconds of processor time and of wall-clock time."""

    processor: float
    wall: float


@dataclass(frozen=True)
class Timed(Generic[Result]):
    """What every repeat returned, and its time."""

    results: tuple[Result, ...]
    timings: tuple[Timing, ...]

    def where(self, counts: Callable[[Result], bool]) -> Timed[Result]:
        """Only the repeats whose result counts."""
        kept = [pair for pair in zip(self.results, self.timings, strict=True) if counts(pair[0])]
        return Timed(tuple(result for result, _ in kept), tuple(timing for _, timing in kept))

    def median(self) -> Timing:
        """Median of each clock."""
        return Timing(
            statistics.median(timing.processor for timing in self.timings),
            statistics.median(timing.wall for timing in self.timings),
        )


def once(call: Callable[[], Result]) -> tuple[Result, Timing]:
    """Run ``call`` and time it; every thread of this process counts."""
    processor, wall = time.process_time(), time.perf_counter()
    result = call()
    return result, Timing(time.process_time() - processor, time.perf_counter() - wall)


def repeated(call: Callable[[int], Result]) -> Timed[Result]:
    """Run ``call(0)``, ``call(1)``, ... until the median means something; long runs happen once."""
    results: list[Result] = []
    timings: list[Timing] = []
    while True:
        result, timing = once(partial(call, len(timings)))
        results.append(result)
        timings.append(timing)
        spent = sum(timing.wall for timing in timings)
        enough = len(timings) >= MIN_REPEATS and spent > ENOUGH_SECONDS
        if enough or len(timings) >= MAX_REPEATS or spent > LONG_SECONDS:
            return Timed(tuple(results), tuple(timings))
