r"""Moments of the signs of two correlated normal variables.

With h = mu_i / sigma_i, k = mu_j / sigma_j and correlation rho,

.. math:: \mathrm{Cov}(w_i, w_j) = 4 \int_0^\rho \phi_2(h, k; t)\, dt

(Plackett 1954).  Put t = tanh y.  Then dt / sqrt(1 - t^2) = sech(y) dy, and with
(h^2 + k^2 - 2 h k t) / (1 - t^2) = (h - k)^2 / (2 (1 - t)) + (h + k)^2 / (2 (1 + t)) the integrand becomes

.. math:: \frac{2}{\pi}\,\mathrm{sech}(y)\,
    \exp\!\left(-\tfrac18 (h-k)^2 (1 + e^{2y}) - \tfrac18 (h+k)^2 (1 + e^{-2y})\right)

on [0, atanh rho]: smooth up to rho = 1, a sum of positive terms in the exponent, and log-concave.  So the
covariance keeps its relative accuracy where 4 P(both positive) - 2 P_i - 2 P_j + 1 has cancelled to noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf, ndtr

from vispa.gaussian.quadrature import integrate_log_concave

Array = NDArray[np.float64]

# Beyond this ratio |mu| / sigma every covariance is below exp(-39^2 / 2) = 1e-330, which float64 cannot hold.
LARGEST_RATIO = 39.0
# atanh(rho) beyond this adds less than exp(-42) = 6e-19 to an integral that is already of order one.
_LARGEST_ATANH = 42.0
# Pairs integrated at once: 128 nodes each, 4 MB an array.
_BLOCK = 4096


def sign_mean(ratio: ArrayLike) -> Array:
    """E[sgn(x)] = 2 Phi(mu / sigma) - 1, with relative error below 1e-15, also near zero.

    Examples
    --------
    >>> sign_mean([0.0, np.inf])
    array([0., 1.])
    """
    return np.asarray(erf(np.asarray(ratio, dtype=np.float64) / np.sqrt(2.0)))


def sign_variance(ratio: ArrayLike) -> Array:
    """Var[sgn(x)] = 4 Phi(h) Phi(-h), with relative error below 1e-12, also where the sign is almost certain."""
    ratio = np.asarray(ratio, dtype=np.float64)
    return np.asarray(4.0 * ndtr(ratio) * ndtr(-ratio))


def sign_covariance(first: ArrayLike, second: ArrayLike, atanh_correlation: ArrayLike) -> Array:
    """Cov(sgn x, sgn y) of a bivariate normal pair.

    Parameters
    ----------
    first, second : array_like
        Ratios mu / sigma of the two variables; infinite for a deterministic sign.
    atanh_correlation : array_like
        atanh(rho), infinite for rho = 1 or -1.  Given in this form because near rho = 1 the covariance moves
        like sqrt(1 - rho), which the rounding of rho itself would spoil (see `pairwise_atanh_correlation`).

    Returns
    -------
    ndarray
        Of the broadcast shape.  Relative error below 1e-12 wherever the covariance exceeds 1e-290.

    Examples
    --------
    >>> float(sign_covariance(0.0, 0.0, np.arctanh(0.5)).round(12)) == round(1 / 3, 12)
    True
    """
    arguments = [np.asarray(a, dtype=np.float64) for a in (first, second, atanh_correlation)]
    shape = np.broadcast_shapes(*(a.shape for a in arguments))
    h, k, y = (np.broadcast_to(a, shape).ravel() for a in arguments)
    sign = np.where(y < 0, -1.0, 1.0)
    k, y = k * sign, np.minimum(np.abs(y), _LARGEST_ATANH)
    covariance = np.zeros(h.shape)
    centred = (h == 0) & (k == 0)
    covariance[centred] = (4.0 / np.pi) * np.arctan(np.tanh(0.5 * y[centred]))
    wanted = np.flatnonzero(~centred & (np.maximum(np.abs(h), np.abs(k)) < LARGEST_RATIO) & (y > 0))
    for start in range(0, wanted.size, _BLOCK):
        block = wanted[start : start + _BLOCK]
        covariance[block] = _plackett_integral(h[block], k[block], y[block])
    return np.asarray((sign * covariance).reshape(shape))


def _plackett_integral(h: Array, k: Array, y: Array) -> Array:
    """Evaluate the integral of the module's docstring over [0, y], for y > 0."""
    difference, total = 0.125 * (h - k) ** 2, 0.125 * (h + k) ** 2

    def log_integrand(t: Array) -> Array:
        growth = np.exp(2.0 * t)
        log_cosh = t + np.log1p(1.0 / growth) - np.log(2.0)
        return np.asarray(-log_cosh - difference * (1.0 + growth) - total * (1.0 + 1.0 / growth))

    return (2.0 / np.pi) * integrate_log_concave(log_integrand, np.zeros_like(y), y)


def pairwise_atanh_correlation(directions: Array, noise: Array, rows: slice) -> Array:
    r"""atanh(rho_ij) for i in ``rows`` and every j, without cancellation near rho = 1 or -1.

    Parameters
    ----------
    directions : (n, K) ndarray
        z_i / sigma_i.
    noise : (n,) ndarray
        d_i / sigma_i^2; :math:`|z_i/\sigma_i|^2 + d_i/\sigma_i^2 = 1`.
    rows : slice
        Rows wanted.

    Returns
    -------
    (rows, n) ndarray
        :math:`2(1 \mp \rho_{ij}) = |u_i \mp u_j|^2 + r_i + r_j` is a sum of positive terms; it is used where
        \|rho\| > 1/2.  The diagonal is meaningless.
    """
    chosen = directions[rows]
    correlation = np.clip(chosen @ directions.T, -1.0, 1.0)
    with np.errstate(divide="ignore"):
        result = np.arctanh(correlation)
        i, j = np.nonzero(np.abs(correlation) > 0.5)
        if i.size:
            own = noise[rows][i] + noise[j]
            apart = ((chosen[i] - directions[j]) ** 2).sum(axis=1) + own
            together = ((chosen[i] + directions[j]) ** 2).sum(axis=1) + own
            result[i, j] = 0.5 * (np.log(together) - np.log(apart))
    return np.asarray(result)
