r"""How often a latent weight under noise changes its sign.

The latent weight w <- (1 - x) w - eta g with x = eta lambda, 0 < x < 1, and g independent zero-mean Gaussian noise
is an autoregressive process.  Started in its stationary law, (w_0, w_T) is a centred Gaussian pair of correlation
(1 - x)^T, so by Sheppard's formula their signs differ with probability arccos((1 - x)^T) / pi.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers import checks

__all__ = ["flip_rate", "sign_agreement"]

Array = NDArray[np.float64]


def flip_rate(learning_rate: float, weight_decay: float) -> float:
    r"""Probability that the sign of a stationary latent weight changes in one step of noisy SGD.

    .. math:: \arccos(1 - \eta\lambda) / \pi = 2 \arcsin\!\sqrt{\eta\lambda/2} / \pi,

    the second form without cancellation.  So weight decay raises the rate of flips, like its root.

    Parameters
    ----------
    learning_rate, weight_decay : float
        eta and lambda, positive, with eta lambda < 1.

    Returns
    -------
    float
        With relative error below 1e-15.

    Raises
    ------
    TypeError, ValueError
        If they are not such numbers: without decay there is no stationary law.

    References
    ----------
    Sheppard 1899, for the orthant probability; claim B5 of theory_checks.

    Examples
    --------
    >>> round(flip_rate(1.0, 0.5), 12)
    0.333333333333
    """
    return 2.0 * math.asin(math.sqrt(0.5 * _decay(learning_rate, weight_decay))) / math.pi


def sign_agreement(learning_rate: float, weight_decay: float, steps: ArrayLike) -> Array:
    r"""Probability that a stationary latent weight has, ``steps`` steps later, the sign that it started with.

    .. math:: 1 - \arccos((1 - \eta\lambda)^T) / \pi = 1/2 + \arcsin((1 - \eta\lambda)^T) / \pi

    Parameters
    ----------
    learning_rate, weight_decay : float
        As in `flip_rate`.
    steps : array_like of int
        T >= 0.

    Returns
    -------
    ndarray
        Of the shape of ``steps``, in [1/2, 1], with relative error below 1e-15: the expected C2I.

    Raises
    ------
    TypeError, ValueError
        As `flip_rate`, and if a number of steps is negative or no integer.

    Examples
    --------
    >>> sign_agreement(1.0, 0.5, [0, 1, 1000]).round(6)
    array([1.      , 0.666667, 0.5     ])
    """
    decay = _decay(learning_rate, weight_decay)
    counts = np.asarray(steps)
    if counts.dtype.kind not in "iu":
        raise TypeError(f"steps must be integers; found dtype {counts.dtype}")
    if np.any(counts < 0):
        raise ValueError(f"steps must not be negative; found {counts.min()}")
    # 1 - (1 - x)^T without cancellation where x T is small.
    forgotten = -np.expm1(counts * math.log1p(-decay))
    return np.asarray(1.0 - 2.0 * np.arcsin(np.sqrt(0.5 * forgotten)) / math.pi)


def _decay(learning_rate: float, weight_decay: float) -> float:
    rate = checks.scalar("learning_rate", learning_rate, positive=True)
    decay = rate * checks.scalar("weight_decay", weight_decay, positive=True)
    if not 0.0 < decay < 1.0:
        raise ValueError(f"learning_rate * weight_decay must lie within (0, 1); found {decay}")
    return decay
