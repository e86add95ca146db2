"""What a claim is: a statement that can be measured, and what the measurement said."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Relation = Literal["<=", ">="]


class Verdict(enum.Enum):
    """What the measurements say; a claim is never skipped."""

    HOLDS = "holds"
    FAILS = "FAILS"


@dataclass(frozen=True)
class Measurement:
    """One measured number beside the bound that it must meet.

    Attributes
    ----------
    quantity : str
        What was measured, in words.
    measured : float
        The number; NaN meets no bound.
    relation : {"<=", ">="}
        How it must stand to the bound.
    bound : float
        A finite number.
    error_probability : float
        Chance that a true claim misses the bound; 0 unless it was measured by Monte Carlo.
    """

    quantity: str
    measured: float
    relation: Relation
    bound: float
    error_probability: float = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.bound):
            raise ValueError(f"bound must be finite; found {self.bound} for {self.quantity!r}")
        if not 0.0 <= self.error_probability < 1.0:
            raise ValueError(f"error_probability must lie in [0, 1); found {self.error_probability}")

    @property
    def met(self) -> bool:
        """Whether the number is finite and stands to its bound as it must."""
        if not math.isfinite(self.measured):
            return False
        return self.measured <= self.bound if self.relation == "<=" else self.measured >= self.bound

    def as_json(self) -> dict[str, Any]:
        """Plain values; a number that is not finite becomes null."""
        return {
            "quantity": self.quantity,
            "measured": self.measured if math.isfinite(self.measured) else None,
            "relation": self.relation,
            "bound": self.bound,
            "met": self.met,
            "error_probability": self.error_probability,
        }


def at_most(quantity: str, measured: Any, bound: float, *, error_probability: float = 0.0) -> Measurement:
    """Set a measured error against the largest one allowed.

    Examples
    --------
    >>> at_most("rounding error", 1e-16, 1e-12).met
    True
    """
    return Measurement(quantity, float(measured), "<=", float(bound), error_probability)


def at_least(quantity: str, measured: Any, bound: float, *, error_probability: float = 0.0) -> Measurement:
    """Set a measured margin against the smallest one that counts.

    Examples
    --------
    >>> at_least("gain of the correlated family", float("nan"), 0.5).met
    False
    """
    return Measurement(quantity, float(measured), ">=", float(bound), error_probability)


# How many times as many instances and samples a slow run takes.
_SLOW = 8


@dataclass(frozen=True)
class Trial:
    """What a check may draw on: a generator of its own, so that company does not change its numbers.

    Attributes
    ----------
    rng : numpy.random.Generator
        Source of every instance and sample.
    slow : bool
        Whether there is time for more instances, more samples and larger problems.
    """

    rng: np.random.Generator
    slow: bool = False

    def count(self, usual: int) -> int:
        """Number of instances or samples: eight times the usual one in a slow run.

        Examples
        --------
        >>> Trial(np.random.default_rng(0), slow=True).count(100)
        800
        """
        return _SLOW * usual if self.slow else usual

    def size(self, usual: int, slow: int) -> int:
        """Size of a problem, which no rule of thumb makes larger: both are said."""
        return slow if self.slow else usual


Measure = Callable[[Trial], Iterable[Measurement]]


@dataclass(frozen=True)
class Claim:
    """A statement of the theory together with the experiment that could refute it.

    Attributes
    ----------
    identifier : str
        Letter of the family and number, such as "R3".
    title : str
        The claim in a few words.
    statement : str
        The claim in words and symbols.
    source : str
        Paper, theorem or equation; "derived" with the argument where it is the library's own.
    computed : str
        What is computed, and by which method.
    falsified_by : str
        The observation that would refute it.
    measure : callable
        Performs the experiment; yields at least one `Measurement`.
    """

    identifier: str
    title: str
    statement: str
    source: str
    computed: str
    falsified_by: str
    measure: Measure

    def check(self, trial: Trial) -> Outcome:
        """Run the experiment.  One that breaks down, or measures nothing, has not shown its claim."""
        try:
            measurements = tuple(self.measure(trial))
        except Exception as error:
            return Outcome(self, (), f"{type(error).__name__}: {error}")
        return Outcome(self, measurements, "" if measurements else "nothing was measured")


@dataclass(frozen=True)
class Outcome:
    """What one run of a claim's experiment measured; `error` is empty unless the experiment broke down."""

    claim: Claim
    measurements: tuple[Measurement, ...]
    error: str = ""
    seconds: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """HOLDS if the experiment ran and every measurement met its bound."""
        met = not self.error and all(measurement.met for measurement in self.measurements)
        return Verdict.HOLDS if met else Verdict.FAILS

    @property
    def error_probability(self) -> float:
        """Chance that this outcome is a false alarm, by the union bound."""
        return sum(measurement.error_probability for measurement in self.measurements)

    def as_json(self) -> dict[str, Any]:
        """Plain values for a machine."""
        claim = self.claim
        return {
            "title": claim.title,
            "statement": claim.statement,
            "source": claim.source,
            "computed": claim.computed,
            "falsified_by": claim.falsified_by,
            "verdict": self.verdict.name.lower(),
            "error": self.error or None,
            "error_probability": self.error_probability,
            "measurements": [measurement.as_json() for measurement in self.measurements],
            "seconds": self.seconds,
        }


def claim(
    identifier: str, *, title: str, statement: str, source: str, computed: str, falsified_by: str
) -> Callable[[Measure], Claim]:
    """Turn an experiment into the `Claim` that it tests."""

    def wrap(measure: Measure) -> Claim:
        return Claim(identifier, title, statement, source, computed, falsified_by, measure)

    return wrap
