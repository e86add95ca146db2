"""AdaSTE: weights between the latent and its sign, and a gradient scaled by whether it agrees with the latent."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from vispa.nn.methods.surrogate import signs

__all__ = ["adaste_scale", "adaste_weight"]

# Smaller gradients count as neither for nor against a latent weight, as published.
NEGLIGIBLE = 1e-3
LARGEST_SCALE = 0.5


def relaxed_weight(theta: Tensor, alpha: float, beta: Tensor, *, published_zero: bool = False) -> Tensor:
    """Return ``clip((theta + beta (1 + alpha) sgn theta) / (1 + beta), -1, 1)``, without a gradient."""
    latent = theta.detach()
    moved = latent + beta * (1.0 + alpha) * signs(latent, published_zero)
    return (moved / (1.0 + beta)).clamp(-1.0, 1.0)


def adaste_scale(theta: Tensor, gradient: Tensor, alpha: float, beta: Tensor) -> Tensor:
    """Return what multiplies the gradient of the weight; not odd in theta and gradient, as published.

    Examples
    --------
    >>> adaste_scale(torch.tensor([2.0, 2.0]), torch.tensor([1.0, -1.0]), 0.01, torch.tensor(100.0))
    tensor([0.5000, 0.0000])
    """
    size = theta.abs()
    up, down = gradient > NEGLIGIBLE, gradient < -NEGLIGIBLE
    aligned = ((theta > 0) & up) | ((theta < 0) & down)
    opposed = ((theta > 0) & down) | ((theta < 0) & up)
    product = alpha * beta
    safe = torch.where(size > 0, size, 1.0)
    outer = size > torch.clamp_min(1.0 - product, 1e-6)
    inner = (size > 1e-6) & (size < 1.0 - product)
    out = ((1.0 + 2.0 * beta + product) / ((1.0 + beta) * safe)).clamp(0.0, LARGEST_SCALE)
    within = ((2.0 * beta * (1.0 + alpha) - theta) / ((1.0 + beta) * safe)).clamp(0.0, LARGEST_SCALE)
    soft = torch.where(outer & opposed, 0.0, (1.0 / (1.0 + beta)).to(theta.dtype))
    soft = torch.where(outer & aligned, out, soft)
    soft = torch.where(inner & aligned, within, soft)
    sure = size > NEGLIGIBLE
    hard = torch.where(sure & opposed, 0.0, torch.ones_like(theta))
    hard = torch.where(sure & aligned, (1.0 / safe).clamp(0.0, LARGEST_SCALE), hard)
    return torch.where(product < 1.0, soft, hard)


class _AdaptiveGradient(Function):
    """The weight as value; the backward multiplies by `adaste_scale`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(theta: Tensor, beta: Tensor, alpha: float, published_zero: bool) -> Tensor:
        """Compute the value; see the class."""
        return relaxed_weight(theta, alpha, beta, published_zero=published_zero)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float, bool], output: Tensor) -> None:
        """Keep what the backward needs."""
        theta, beta, ctx.alpha, _ = inputs
        ctx.save_for_backward(theta, beta)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        """Return one gradient an input; see the class."""
        theta, beta = ctx.saved_tensors
        return adaste_scale(theta, grad, ctx.alpha, beta) * grad, None, None, None


def adaste_weight(theta: Tensor, alpha: float, beta: Tensor, *, published_zero: bool = False) -> Tensor:
    """Return ``clip((theta + beta (1 + alpha) sgn theta) / (1 + beta), -1, 1)`` with its adaptive gradient.

    Parameters
    ----------
    theta : Tensor
        Latent weights.
    alpha : float
        Positive.
    beta : Tensor of one element
        Grows in training; from ``1 / alpha`` on the weights are signs.
    published_zero : bool, default False
        Whether ``sgn(0) = 0``, as published.

    Examples
    --------
    >>> theta = torch.tensor([2.0, -0.25], requires_grad=True)
    >>> weight = adaste_weight(theta, 0.01, torch.tensor(100.0))
    >>> weight.sum().backward()
    >>> weight.tolist(), theta.grad.tolist()
    ([1.0, -1.0], [0.5, 0.0])
    """
    weight: Tensor = _AdaptiveGradient.apply(theta, beta, alpha, published_zero)
    return weight
