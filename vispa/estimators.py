r"""Gradients of E[L(w)], w = sgn(mean + Z g + s e), from samples.

The parameters are the rows (mean_i, z_i, s_i), s = sqrt(residual), or (mean_i, z_i) where s = 0.  Every
estimator finds a gradient H_i with respect to the latent value x_i and carries it to the row, sample by
sample: H_i (1, g, t_i), where t_i is e_i when x is moved with its noise fixed, and -u_i,
u_i = (mean_i + z_i . g) / s_i, when the probability Phi(u_i) is moved instead.

==================  =====================================================================================
straight-through    H = grad L(w), the published VISPA estimator.  For a quadratic it follows the
                    semidefinite objective (Bussgang), not E[L(w)].
gaussian            H = 2 phi(u)/s grad L(w).  Unbiased for multilinear L; needs s > 0.
rao-blackwell       H = 2 phi(u)/s grad L(E[w | g]).  The same mean and less variance; L is evaluated
                    inside the cube, and has to be multilinear.
score               H = (L(w) - mean of the other samples) d log q(w | g)/dx.  Unbiased for every loss, no
                    gradient needed, the largest variance; needs s > 0.
==================  =====================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vispa.losses import Loss
from vispa.ste import (
    NoiseLaw,
    bireal_kernel,
    gaussian_kernel,
    hard_tanh_kernel,
    identity_kernel,
    noise_of,
    ste_kernel,
    swish_sign_kernel,
    tanh_kernel,
)

__all__ = [
    "ESTIMATORS",
    "NEEDS_RESIDUAL",
    "Draw",
    "GradientEstimate",
    "NoiseLaw",
    "bireal_kernel",
    "carry_to_rows",
    "draw_noise",
    "gaussian",
    "gaussian_kernel",
    "hard_tanh_kernel",
    "identity_kernel",
    "latent",
    "noise_of",
    "probability_arguments",
    "rao_blackwell",
    "score",
    "signs_of",
    "ste_kernel",
    "straight_through",
    "swish_sign_kernel",
    "tanh_kernel",
]


class Draw(NamedTuple):
    """Standard normal noise of a batch: ``factor`` (B, K), shared by all weights, and ``own`` (B, n)."""

    factor: Tensor
    own: Tensor


class GradientEstimate(NamedTuple):
    """Signs drawn (B, n), their losses (B,), and the gradient in the shape of the rows."""

    signs: Tensor
    values: Tensor
    gradient: Tensor


Estimator = Callable[[Loss, Tensor, Draw], GradientEstimate]


def draw_noise(rows: Tensor, rank: int, samples: int, *, generator: torch.Generator) -> Draw:
    """Draw the noise of a batch for rows (n, rank + 1) or (n, rank + 2)."""
    options = {"dtype": rows.dtype, "device": rows.device, "generator": generator}
    return Draw(
        torch.randn((samples, rank), **options),  # type: ignore[call-overload]
        torch.randn((samples, rows.shape[0]), **options),  # type: ignore[call-overload]
    )


def latent(rows: Tensor, draw: Draw) -> Tensor:
    """Latent values x = mean + Z g + s e, (B, n)."""
    rank = draw.factor.shape[1]
    values = rows[:, 0] + draw.factor @ rows[:, 1 : rank + 1].T
    return values + rows[:, rank + 1] * draw.own if rows.shape[1] == rank + 2 else values


def signs_of(values: Tensor) -> Tensor:
    """Signs with sgn(0) = +1, in the dtype of ``values``.

    Examples
    --------
    >>> signs_of(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([-1.,  1.,  1.])
    """
    return torch.where(values >= 0, 1.0, -1.0).to(values.dtype)


def probability_arguments(rows: Tensor, factor_noise: Tensor) -> Tensor:
    """U = (mean + Z g) / s for factor noise (..., K): P(w_i = 1 | g) = Phi(u_i)."""
    rank = factor_noise.shape[-1]
    if rows.shape[1] != rank + 2:
        raise ValueError(
            "rows must have a column of root residuals here, since given g the signs must stay random; "
            f"found {rows.shape[1]} columns at rank {rank}"
        )
    return (rows[:, 0] + factor_noise @ rows[:, 1 : rank + 1].T) / rows[:, rank + 1]


def carry_to_rows(latent_gradient: Tensor, factor_noise: Tensor, own: Tensor | None) -> Tensor:
    """Mean over the batch of H_i (1, g, t_i): (n, K + 2), or (n, K + 1) where ``own`` is None."""
    batch = latent_gradient.shape[0]
    columns = [latent_gradient.mean(dim=0)[:, None], latent_gradient.T @ factor_noise / batch]
    if own is not None:
        columns.append((latent_gradient * own).mean(dim=0)[:, None])
    return torch.cat(columns, dim=1)


def straight_through(loss: Loss, rows: Tensor, draw: Draw) -> GradientEstimate:
    """Published VISPA estimator: the gradient at the signs passes unchanged to x."""
    signs = signs_of(latent(rows, draw))
    values, gradients = loss.gradients(signs)
    own = draw.own if rows.shape[1] == draw.factor.shape[1] + 2 else None
    return GradientEstimate(signs, values, carry_to_rows(gradients, draw.factor, own))


def gaussian(loss: Loss, rows: Tensor, draw: Draw) -> GradientEstimate:
    """Exact straight-through estimator of Gaussian noise, given the factor noise."""
    arguments = probability_arguments(rows, draw.factor)
    signs = signs_of(arguments + draw.own)
    values, gradients = loss.gradients(signs)
    return GradientEstimate(signs, values, _through_probabilities(gradients, arguments, rows, draw))


def rao_blackwell(loss: Loss, rows: Tensor, draw: Draw) -> GradientEstimate:
    """Gradient at the conditional mean E[w | g] of a multilinear loss."""
    arguments = probability_arguments(rows, draw.factor)
    signs = signs_of(arguments + draw.own)
    _, gradients = loss.gradients(torch.erf(arguments / math.sqrt(2.0)))
    values = loss.values(signs)
    return GradientEstimate(signs, values, _through_probabilities(gradients, arguments, rows, draw))


def score(loss: Loss, rows: Tensor, draw: Draw) -> GradientEstimate:
    """Score function with the mean of the other samples as its baseline; at least two samples."""
    batch = draw.own.shape[0]
    if batch < 2:
        raise ValueError(f"the score estimator needs samples >= 2 for its baseline; found {batch}")
    arguments = probability_arguments(rows, draw.factor)
    signs = signs_of(arguments + draw.own)
    values = loss.values(signs)
    advantage = (values - values.mean()) * (batch / (batch - 1))
    latent_gradient = advantage[:, None] * inverse_mills(signs, arguments) / rows[:, -1]
    return GradientEstimate(signs, values, carry_to_rows(latent_gradient, draw.factor, -arguments))


def inverse_mills(signs: Tensor, arguments: Tensor) -> Tensor:
    """Derivative of log Phi(w u) with respect to u, stable in both tails."""
    log_density = -0.5 * arguments.square() - 0.5 * math.log(2.0 * math.pi)
    return signs * torch.exp(log_density - torch.special.log_ndtr(signs * arguments))


def _through_probabilities(gradients: Tensor, arguments: Tensor, rows: Tensor, draw: Draw) -> Tensor:
    latent_gradient = gaussian_kernel(arguments) * gradients / rows[:, -1]
    return carry_to_rows(latent_gradient, draw.factor, -arguments)


ESTIMATORS: dict[str, Estimator] = {
    "straight-through": straight_through,
    "gaussian": gaussian,
    "rao-blackwell": rao_blackwell,
    "score": score,
}
# These differentiate Phi(u), so the signs must stay random given g.
NEEDS_RESIDUAL = frozenset({"gaussian", "rao-blackwell", "score"})
