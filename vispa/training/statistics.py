"""Mean and deviation over seeds, and the t interval of a paired difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from solvers import checks


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation (nan for a single value) of ``count`` values."""

    mean: float
    deviation: float
    count: int

    def text(self, digits: int = 1, *, factor: float = 1.0) -> str:
        """Words for a table; the deviation where there is one.

        Examples
        --------
        >>> summarise([0.9, 1.0, 1.1]).text(0, factor=100)
        '100 ± 10'
        """
        spread = "" if math.isnan(self.deviation) else f" ± {factor * self.deviation:.{digits}f}"
        return f"{factor * self.mean:.{digits}f}{spread}"


@dataclass(frozen=True)
class PairedDifference:
    """Mean of first - second over pairs, with the ends of its interval (nan for a single pair)."""

    mean: float
    lower: float
    upper: float
    confidence: float
    count: int

    def text(self, digits: int = 1, *, factor: float = 1.0) -> str:
        """Words for a table, all numbers with their signs; the interval where there is one.

        Examples
        --------
        >>> PairedDifference(0.1, -0.1, 0.3, 0.95, 4).text()
        '+0.1 [-0.1, +0.3]'
        """
        lower, upper = factor * self.lower, factor * self.upper
        ends = "" if math.isnan(lower) else f" [{lower:+.{digits}f}, {upper:+.{digits}f}]"
        return f"{factor * self.mean:+.{digits}f}{ends}"


def summarise(values: Sequence[float]) -> Summary:
    """Mean and sample standard deviation.

    Raises
    ------
    ValueError
        If there are no values or one is not finite.

    Examples
    --------
    >>> summarise([0.9, 1.0, 1.1]).mean
    1.0
    """
    array = _values("values", values)
    deviation = float(array.std(ddof=1)) if array.size > 1 else math.nan
    return Summary(float(array.mean()), deviation, array.size)


def paired_difference(
    first: Sequence[float], second: Sequence[float], *, confidence: float = 0.95
) -> PairedDifference:
    r"""Student's interval for the mean of ``first - second``, pair by pair.

    :math:`\bar d \pm t_{(1 + c)/2,\, n - 1}\, s_d/\sqrt{n}`: the variation that both members of a pair share,
    here the seed's, cancels.  It covers with the stated probability where the differences are normal.

    Raises
    ------
    ValueError
        If the two have different lengths, are empty or not finite, or ``confidence`` is not within (0, 1).

    Examples
    --------
    >>> result = paired_difference([0.95, 0.97, 0.96], [0.93, 0.94, 0.95])
    >>> round(result.mean, 3), round(result.lower, 3), round(result.upper, 3)
    (0.02, -0.005, 0.045)
    """
    from scipy.stats import t

    a, b = _values("first", first), _values("second", second)
    if a.size != b.size:
        raise ValueError(f"first and second must pair up; found {a.size} and {b.size} values")
    confidence = checks.scalar("confidence", confidence, positive=True)
    if confidence >= 1:
        raise ValueError(f"confidence must be below 1; found {confidence}")
    difference = summarise(a - b)
    if difference.count == 1:
        return PairedDifference(difference.mean, math.nan, math.nan, confidence, 1)
    half = float(t.ppf((1 + confidence) / 2, a.size - 1)) * difference.deviation / math.sqrt(a.size)
    return PairedDifference(
        difference.mean, difference.mean - half, difference.mean + half, confidence, a.size
    )


def _values(name: str, values: Sequence[float]) -> np.ndarray:
    array = checks.real_array(name, values, dimensions=1)
    if array.size == 0:
        raise ValueError(f"{name} must not be empty")
    return array
