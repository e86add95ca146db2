"""Time a call by the processor's clock and by the wall's: on a shared machine the first one is the fairer."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
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
    """Medians over all repeats, their spread, and what the last repeat returned."""

    result: Result
    timing: Timing
    slowest: float
    repeats: int


def once(call: Callable[[], Result]) -> tuple[Result, Timing]:
    """Run ``call`` and time it; every thread of this process counts."""
    processor, wall = time.process_time(), time.perf_counter()
    result = call()
    return result, Timing(time.process_time() - processor, time.perf_counter() - wall)


def repeated(call: Callable[[int], Result]) -> Timed[Result]:
    """Run ``call(0)``, ``call(1)``, ... until the median means something; long runs happen once."""
    timings: list[Timing] = []
    while True:
        number = len(timings)
        result, timing = once(lambda seed=number: call(seed))  # type: ignore[misc]
        timings.append(timing)
        spent = sum(timing.wall for timing in timings)
        if len(timings) >= MAX_REPEATS or spent > LONG_SECONDS:
            break
        if len(timings) >= MIN_REPEATS and spent > ENOUGH_SECONDS:
            break
    processor = statistics.median(timing.processor for timing in timings)
    wall = statistics.median(timing.wall for timing in timings)
    return Timed(result, Timing(processor, wall), max(t.processor for t in timings), len(timings))
