"""Entropy terms of the free energy E[L] - T H, with gradients for rows (mean, z, s)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vispa.estimators.registry import Draw, carry_to_rows, inverse_mills, probability_arguments, signs_of

_LOG_ROOT_TWO_PI = 0.5 * math.log(2.0 * math.pi)


def mean_field_negentropy(rows: Tensor) -> tuple[Tensor, Tensor]:
    """-H(w) of independent signs, rows (n, 2), and its gradient; closed form.

    In float64 a term of the value is right to 1e-13 of itself or 1e-15, one of the gradient to 1e-11 of itself or
    1e-15 / s.

    Examples
    --------
    >>> value, gradient = mean_field_negentropy(torch.tensor([[0.0, 1.0]]))
    >>> bool(abs(value + math.log(2)) < 1e-6), gradient.tolist()
    (True, [[0.0, 0.0]])
    """
    factor_noise = rows.new_zeros((1, 0))
    arguments = probability_arguments(rows, factor_noise)
    log_plus, log_minus = torch.special.log_ndtr(arguments), torch.special.log_ndtr(-arguments)
    value = (log_plus.exp() * log_plus + log_minus.exp() * log_minus).sum()
    density = torch.exp(-0.5 * arguments.square() - _LOG_ROOT_TWO_PI)
    latent_gradient = density * (log_plus - log_minus) / rows[:, -1]
    return value, carry_to_rows(latent_gradient, factor_noise, -arguments)


def semi_implicit_negentropy(
    rows: Tensor, draw: Draw, mixtures: int, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    r"""Unbiased estimates of -H_M, E[log (1/(M+1)) sum_j q(w | g_j)], and of its gradient.

    The parameters enter through every q(w | g_j), which is differentiated with w fixed, and through the law
    of w given g_0, which is differentiated exactly one coordinate at a time: the derivative with respect to
    P(w_i = 1 | g_0) is the difference between w_i = 1 and w_i = -1 (local expectation gradients, Titsias and
    Lazaro-Gredilla 2015).  O(B M n (K + 1)).

    Parameters
    ----------
    rows : (n, K + 2) tensor
        (mean, z, s) with s > 0.
    draw : Draw
        Noise of the batch; ``factor`` is g_0, ``own`` draws w.
    mixtures : int
        M.
    generator : torch.Generator
        Draws g_1 ... g_M, anew for each sample.

    Returns
    -------
    (B,) tensor, (n, K + 2) tensor
        Samples of the integrand, and the gradient of its mean.
    """
    batch, rank = draw.factor.shape
    fresh = torch.randn((batch, mixtures, rank), dtype=rows.dtype, device=rows.device, generator=generator)
    noise = torch.cat([draw.factor[:, None, :], fresh], dim=1)
    arguments = probability_arguments(rows, noise)
    signs = signs_of(arguments[:, 0] + draw.own)[:, None, :]
    log_kept = torch.special.log_ndtr(signs * arguments)
    log_flipped = torch.special.log_ndtr(-signs * arguments)
    log_likelihood = log_kept.sum(dim=2)
    log_sum = torch.logsumexp(log_likelihood, dim=1)

    responsibility = torch.exp(log_likelihood - log_sum[:, None])
    direct = responsibility[:, :, None] * inverse_mills(signs, arguments) / rows[:, -1]
    gradient = carry_to_rows(direct.flatten(0, 1), noise.flatten(0, 1), -arguments.flatten(0, 1)) * (
        mixtures + 1
    )

    flipped_sum = torch.logsumexp(log_likelihood[:, :, None] + (log_flipped - log_kept), dim=1)
    difference = signs[:, 0] * (log_sum[:, None] - flipped_sum)
    density = torch.exp(-0.5 * arguments[:, 0].square() - _LOG_ROOT_TWO_PI)
    through_law = density * difference / rows[:, -1]
    gradient = gradient + carry_to_rows(through_law, draw.factor, -arguments[:, 0])
    return log_sum - math.log(mixtures + 1), gradient
