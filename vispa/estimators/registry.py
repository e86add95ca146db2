r"""Gradients of E[L(w)], w = sgn(mean + Z g + s e), from samples.

The parameters are the rows (mean_i, z_i, s_i), s = sqrt(residual), or (mean_i, z_i) where s = 0.  Every
estimator finds a gradient H_i with respect to the latent value x_i and carries it to the row, sample by
sample: H_i (1, g, t_i), where t_i is e_i when x is moved with its noise fixed, and -u_i,
u_i = (mean_i + z_i . g) / s_i, when the probability Phi(u_i) is moved instead.  D_i is half the difference of L
between w_i = +1 and w_i = -1.

==================  =====================================================================================
straight-through    H = grad L(w), the published VISPA estimator.  For a quadratic it follows the
                    semidefinite objective (Bussgang), not E[L(w)].
gaussian            H = 2 phi(u)/s grad L(w).  Unbiased for multilinear L; needs s > 0.
rao-blackwell       H = 2 phi(u)/s grad L(E[w | g]).  The same mean and less variance; L is evaluated
                    inside the cube, and has to be multilinear.
score               H = (L(w) - mean of the other samples) d log q(w | g)/dx.  Unbiased for every loss, no
                    gradient needed, the largest variance; needs s > 0.
local               H = 2 phi(u)/s D(w).  Unbiased for every loss, no gradient needed; 2 n losses a sample;
                    needs s > 0.
conditional         H = 2 phi(mean/sigma)/sigma D(w), w drawn given x_i = 0, for each i.  Unbiased for every
                    loss and also where s = 0; 2 n losses a sample.
==================  =====================================================================================

`vispa.estimators.biased` has the estimators that networks are trained with and that are gradients of nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vispa.estimators.kernels import (
    NoiseLaw,
    bireal_kernel,
    ede_kernel,
    gaussian_kernel,
    hard_tanh_kernel,
    identity_kernel,
    noise_of,
    ste_kernel,
    swish_sign_kernel,
    tanh_kernel,
)
from vispa.estimators.latent import (
    Draw,
    Estimator,
    GradientEstimate,
    carry_to_rows,
    draw_noise,
    inverse_mills,
    latent,
    probability_arguments,
    signs_of,
)
from vispa.estimators.local import conditional, edge_differences, local
from vispa.estimators.losses import Loss

__all__ = [
    "ESTIMATORS",
    "Draw",
    "Estimator",
    "GradientEstimate",
    "GradientEstimator",
    "NoiseLaw",
    "bireal_kernel",
    "carry_to_rows",
    "conditional",
    "draw_noise",
    "ede_kernel",
    "edge_differences",
    "gaussian",
    "gaussian_kernel",
    "hard_tanh_kernel",
    "identity_kernel",
    "inverse_mills",
    "latent",
    "local",
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


def _through_probabilities(gradients: Tensor, arguments: Tensor, rows: Tensor, draw: Draw) -> Tensor:
    latent_gradient = gaussian_kernel(arguments) * gradients / rows[:, -1]
    return carry_to_rows(latent_gradient, draw.factor, -arguments)


@dataclass(frozen=True)
class GradientEstimator:
    """An estimator of a gradient, with what it asks for.

    Attributes
    ----------
    function : callable
        ``function(loss, rows, draw)`` returns a `GradientEstimate`.
    needs_residual : bool
        Whether it differentiates Phi(u), so that the signs must stay random given g: s > 0.
    least_samples : int
        Samples that one estimate needs.
    """

    function: Estimator
    needs_residual: bool = False
    least_samples: int = 1

    def __call__(self, loss: Loss, rows: Tensor, draw: Draw) -> GradientEstimate:
        """Estimate the gradient at ``rows``."""
        return self.function(loss, rows, draw)


ESTIMATORS: dict[str, GradientEstimator] = {
    "straight-through": GradientEstimator(straight_through),
    "gaussian": GradientEstimator(gaussian, needs_residual=True),
    "rao-blackwell": GradientEstimator(rao_blackwell, needs_residual=True),
    "score": GradientEstimator(score, needs_residual=True, least_samples=2),
    "local": GradientEstimator(local, needs_residual=True),
    "conditional": GradientEstimator(conditional),
}
