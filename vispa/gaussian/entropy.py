r"""Entropies, in nats, of sign-Gaussian laws: given the factor noise, semi-implicit, and exact for few signs.

Given g the signs are independent with P(w_i = 1 | g) = Phi(u_i), u_i = (mu_i + z_i . g) / sqrt(d_i), a step
where d_i = 0.  Hence, with h the binary entropy,

.. math:: H(w \mid g) = \sum_i E\, h(\Phi(u_i)) = H_0 \le H_M \le H_{M+1} \le H(w),
    \qquad H_M = E\Bigl[-\log \tfrac{1}{M+1} \sum_{j=0}^{M} q(w \mid g_j)\Bigr], \; w \sim q(\cdot \mid g_0)

(Yin and Zhou, "Semi-implicit variational inference", 2018).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, logsumexp, ndtr

from vispa.gaussian.quadrature import integrate_log_concave

Array = NDArray[np.float64]

# h(Phi(u)) is below 1e-297 beyond; kept inside so that its logarithm stays finite.
_LARGEST_ARGUMENT = 36.0
# Doubles in the largest working array of the Monte Carlo loops.
_WORKING_SET = 1 << 21
# Numbers below 2^400 are summed with their squares as they are.
_SUMMED = 400


class Estimate(NamedTuple):
    """A value and the standard error of its Monte Carlo mean; the error is 0 where the value is exact.

    Examples
    --------
    >>> float(Estimate(1.5, 0.1))
    1.5
    """

    value: float
    standard_error: float

    def __float__(self) -> float:
        return self.value

    @classmethod
    def of_mean(cls, samples: NDArray[np.floating]) -> Estimate:
        """Average independent samples; one sample has an infinite standard error."""
        # sums and squares of large numbers overflow
        exponent = max(0, math.frexp(float(np.abs(samples).max(initial=0.0)))[1] - _SUMMED)
        scaled = np.ldexp(samples, -exponent)
        mean = math.ldexp(float(np.mean(scaled)), exponent)
        if samples.size < 2:
            return cls(mean, float("inf"))
        return cls(mean, math.ldexp(float(np.std(scaled, ddof=1) / np.sqrt(samples.size)), exponent))


def log_binary_entropy(argument: Array) -> Array:
    """Logarithm of h(Phi(u)), the entropy of a sign that is +1 with probability Phi(u); for |u| <= 36."""
    rare = -np.abs(argument)
    log_rare, probability = log_ndtr(rare), ndtr(rare)
    # log_ndtr(-rare) is 0 in float64 from 9 on, where this term is 1.
    common = -(1.0 - probability) * np.log1p(-probability) / probability
    return np.asarray(log_rare + np.log(common - log_rare))


def binary_entropy(argument: Array) -> Array:
    """h(Phi(u)) for any real or infinite u, with relative error below 1e-12.

    Examples
    --------
    >>> binary_entropy(np.array([0.0, np.inf])) / np.log(2)
    array([1., 0.])
    """
    clipped = np.clip(argument, -_LARGEST_ARGUMENT, _LARGEST_ARGUMENT)
    return np.where(np.abs(argument) > _LARGEST_ARGUMENT, 0.0, np.exp(log_binary_entropy(clipped)))


def conditional_entropy(mean: Array, spread: Array, root_residual: Array) -> float:
    r"""H(w | g) exactly, for every K: :math:`u_i` is one normal variable, whatever the number of factors.

    Parameters
    ----------
    mean, spread, root_residual : (n,) ndarray
        mu_i, \|z_i\| and sqrt(d_i).

    Returns
    -------
    float
        With relative error about 1e-13.  Coordinates with d_i = 0 add nothing.
    """
    noisy = root_residual > 0
    with np.errstate(over="ignore"):
        centre = mean[noisy] / root_residual[noisy]
        width = spread[noisy] / root_residual[noisy]
    fixed = (width == 0) | np.isinf(centre)
    total = float(binary_entropy(centre[fixed]).sum())
    centre, width = centre[~fixed], width[~fixed]
    if centre.size == 0:
        return total
    return total + float(_smoothed_entropy(centre, np.minimum(width, 1e300)).sum())


def _smoothed_entropy(centre: Array, width: Array) -> Array:
    """E h(Phi(centre + width t)), t standard normal."""
    reach = 39.0
    # In u where the entropy is the narrower of the two, in t where the normal density is.
    wide = width > 1.0
    scale, shift = np.where(wide, 1.0, width), np.where(wide, 0.0, centre)
    deviation_scale = 1.0 / np.where(wide, width, 1.0)
    deviation_shift = np.where(wide, -centre, 0.0) * deviation_scale
    # The integrand's variable v: u = shift + scale v, t = deviation_shift + deviation_scale v.
    first, last = (-reach - deviation_shift) / deviation_scale, (reach - deviation_shift) / deviation_scale
    with np.errstate(over="ignore"):
        lower = np.clip((-_LARGEST_ARGUMENT - shift) / scale, first, last)
        upper = np.clip((_LARGEST_ARGUMENT - shift) / scale, lower, last)

    def log_integrand(v: Array) -> Array:
        argument = np.clip(shift + scale * v, -_LARGEST_ARGUMENT, _LARGEST_ARGUMENT)
        deviation = deviation_shift + deviation_scale * v
        return np.asarray(log_binary_entropy(argument) - 0.5 * deviation**2)

    return deviation_scale * integrate_log_concave(log_integrand, lower, upper) / np.sqrt(2.0 * np.pi)


def conditional_arguments(mean: Array, factor: Array, root_residual: Array, noise: Array) -> Array:
    """u_i for each row g of ``noise`` (..., K); where d_i = 0, infinite with the sign of the latent value."""
    latent = mean + noise @ factor.T
    step = np.where(latent >= 0, np.inf, -np.inf)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(root_residual > 0, latent / root_residual, step)


def draw_signs(arguments: Array, rng: np.random.Generator) -> NDArray[np.int8]:
    """Independent signs, +1 with probability Phi(u)."""
    return np.where(arguments + rng.standard_normal(arguments.shape) >= 0, 1, -1).astype(np.int8)


def sample_log_marginal(
    mean: Array, factor: Array, root_residual: Array, *, mixtures: int, samples: int, rng: np.random.Generator
) -> tuple[NDArray[np.int8], Array]:
    """Draw signs w from q(. | g_0) together with log (1/(M+1)) sum_j q(w | g_j), M = ``mixtures``.

    Returns
    -------
    signs : (samples, n) ndarray of int8
    log_marginal : (samples,) ndarray
        Finite: q(w | g_0) > 0.  Minus its mean is H_M.
    """
    n, rank = factor.shape
    block = max(1, _WORKING_SET // ((mixtures + 1) * n))
    signs = np.empty((samples, n), dtype=np.int8)
    log_marginal = np.empty(samples)
    for start in range(0, samples, block):
        stop = min(samples, start + block)
        noise = rng.standard_normal((stop - start, mixtures + 1, rank))
        arguments = conditional_arguments(mean, factor, root_residual, noise)
        signs[start:stop] = draw_signs(arguments[:, 0], rng)
        log_likelihood = log_ndtr(signs[start:stop, None, :] * arguments).sum(axis=-1)
        log_marginal[start:stop] = logsumexp(log_likelihood, axis=1) - np.log(mixtures + 1)
    return signs, log_marginal
