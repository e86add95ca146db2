r"""Straight-through estimators as networks use them.  They are gradients of E[L(w)] only in special cases.

==================  =====================================================================================
deterministic       H = kappa(mean) grad L(sgn(mean)): no noise at all.  Even for independent weights and a
                    quadratic, a sixth of its signs is wrong (claim S10).
through_kernel      H = kappa(x) grad L(w), w = sgn(x): a sample, with the kernel at its latent value.
marginal            H = 2 phi(mean/sigma)/sigma grad L(w): exact for independent weights and multilinear L;
                    otherwise it drops the condition x_i = 0 of the true gradient (claim S6).
at_mean             H = 2 phi(mean/sigma)/sigma grad L(E[w]): the mean-field gradient, for every law the
                    same.
==================  =====================================================================================

Kernels multiply every coordinate by a number that is not negative; the identity is the plain estimator.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vispa.estimators.kernels import KernelFunction, gaussian_kernel, identity_kernel
from vispa.estimators.latent import Draw, Estimator, GradientEstimate, carry_to_rows, latent, signs_of
from vispa.estimators.losses import Loss


def deterministic(
    loss: Loss, rows: Tensor, draw: Draw, *, kernel: KernelFunction = identity_kernel
) -> GradientEstimate:
    """Gradient at sgn(mean); the factor and the root residual get none.

    Examples
    --------
    >>> from vispa.estimators.losses import CallableLoss
    >>> rows, draw = torch.tensor([[0.2, 1.0]]), Draw(torch.zeros(1, 0), torch.zeros(1, 1))
    >>> deterministic(CallableLoss(lambda w: w.sum(dim=1) ** 2), rows, draw).gradient
    tensor([[2., 0.]])
    """
    signs = signs_of(rows[:, 0])[None, :]
    values, gradients = loss.gradients(signs)
    gradient = torch.zeros_like(rows)
    gradient[:, 0] = kernel(rows[:, 0]) * gradients[0]
    return GradientEstimate(signs, values, gradient)


def through_kernel(kernel: KernelFunction) -> Estimator:
    """Straight-through estimator of a sample with a kernel of its latent value, to be called like the others."""

    def estimator(loss: Loss, rows: Tensor, draw: Draw) -> GradientEstimate:
        values = latent(rows, draw)
        signs = signs_of(values)
        losses, gradients = loss.gradients(signs)
        return GradientEstimate(signs, losses, _moved_with_noise(kernel(values) * gradients, rows, draw))

    return estimator


def marginal(loss: Loss, rows: Tensor, draw: Draw) -> GradientEstimate:
    """Gradient at a sample, times the slope of each weight's mean."""
    signs = signs_of(latent(rows, draw))
    values, gradients = loss.gradients(signs)
    return GradientEstimate(signs, values, _moved_with_noise(_slope(rows) * gradients, rows, draw))


def at_mean(loss: Loss, rows: Tensor, draw: Draw) -> GradientEstimate:
    """Gradient at E[w], times the slope of each weight's mean; the factor gets none on average.

    The mean moves with sigma_i = |(z_i, s_i)| too, which the columns of z and s carry: dE[w_i]/dsigma_i is
    -mean_i / sigma_i times dE[w_i]/dmean_i.
    """
    deviation = torch.linalg.vector_norm(rows[:, 1:], dim=1)
    mean = torch.erf(rows[:, 0] / deviation / math.sqrt(2.0))
    _, gradients = loss.gradients(mean[None, :])
    through_mean = _slope(rows) * gradients[0]
    through_deviation = -(rows[:, 0] / deviation.square()) * through_mean
    gradient = torch.cat([through_mean[:, None], through_deviation[:, None] * rows[:, 1:]], dim=1)
    signs = signs_of(latent(rows, draw))
    return GradientEstimate(signs, loss.values(signs), gradient)


def _slope(rows: Tensor) -> Tensor:
    deviation = torch.linalg.vector_norm(rows[:, 1:], dim=1)
    return gaussian_kernel(rows[:, 0] / deviation) / deviation


def _moved_with_noise(latent_gradient: Tensor, rows: Tensor, draw: Draw) -> Tensor:
    own = draw.own if rows.shape[1] == draw.factor.shape[1] + 2 else None
    return carry_to_rows(latent_gradient, draw.factor, own)
