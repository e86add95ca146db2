"""How far a Monte Carlo mean may stray: bounds that hold at every sample size, not only in the limit."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Chance of a false alarm that one measurement may spend; a whole run must keep below `runner.ERROR_BUDGET`.
ERROR_PROBABILITY = 1e-9


def hoeffding_radius(width: float, count: int, error_probability: float = ERROR_PROBABILITY) -> float:
    """Radius that the mean of ``count`` independent numbers in an interval exceeds with small probability.

    Both directions together; Hoeffding (1963), theorem 2.

    Examples
    --------
    >>> round(hoeffding_radius(2.0, 100_000, 1e-9), 4)
    0.0207
    """
    return width * math.sqrt(math.log(2.0 / error_probability) / (2.0 * count))


def dominated_radius(
    dominating: Array, probabilities: Array, count: int, error_probability: float = ERROR_PROBABILITY
) -> float:
    """Radius for the mean of ``count`` copies of X, 0 <= X <= Y, where the law of Y is known.

    For t > 0, E exp(+-t (X - E X)) <= exp(E[exp(t Y) - 1 - t Y]): expand, use log(1 + u) <= u, and bound each
    moment of X by that of Y.  Chernoff's bound follows, minimised over a grid of t.

    Parameters
    ----------
    dominating, probabilities : (m,) ndarray
        Values of Y and their probabilities.
    count : int
        Number of independent copies in the mean.
    error_probability : float, optional
        Of both directions together.

    Returns
    -------
    float

    Examples
    --------
    >>> coin = dominated_radius(np.array([0.0, 1.0]), np.array([0.5, 0.5]), 100_000)
    >>> coin < 2 * hoeffding_radius(1.0, 100_000)
    True
    """
    largest = float(dominating.max())
    best = math.inf
    for t in (np.geomspace(1e-4, 30.0, 300) / max(largest, 1e-300)).tolist():
        cumulant = float(probabilities @ (np.expm1(t * dominating) - t * dominating))
        best = min(best, (cumulant + math.log(2.0 / error_probability) / count) / t)
    return best
