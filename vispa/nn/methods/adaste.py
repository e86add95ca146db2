"""AdaSTE: weights between the latent and its sign, and a gradient scaled by whether it agrees with the latent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import Function

from solvers import checks
from vispa.nn.methods.base import Method, TransformedWeight, checked_share, random_signs
from vispa.nn.methods.surrogate import signs, straight_through
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.layout import Layout
from vispa.nn.weights.noise_scope import Noise

__all__ = ["AdaSTE", "AdaSTEWeight", "adaste_scale", "adaste_weight"]

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


class AdaSTEWeight(TransformedWeight):
    """A weight of `AdaSTE`; ``beta`` draws weights to their signs."""

    own_optimizer: ClassVar[str] = "vispa.BayesBiNN"
    beta: Tensor

    def __init__(self, mean: Tensor, layout: Layout, method: AdaSTE) -> None:
        super().__init__(mean, layout, channel_scale=method.channel_scale)
        self.register_number("beta", method.start_beta, mean)

    def binary(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return the signs."""
        return straight_through(signs(rows, self.method.published_zero), rows)

    def relaxed(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return weights between the latent ones and their signs."""
        zero = self.method.published_zero
        return adaste_weight(rows, self.method.alpha, self.beta, published_zero=zero)

    def start(self, mean: Tensor) -> None:
        """Draw latent weights of one size, their signs at random, or by Xavier's law."""
        if self.method.initial_size is None:
            super().start(mean)
        else:
            random_signs(mean, self.method.initial_size)

    def anneal(self, mean: Tensor, progress: float) -> None:
        """Set beta."""
        ratio = 1.0 / (self.method.alpha * self.method.start_beta)
        share = min(1.0, progress / self.method.binary_from)
        self.beta.fill_(self.method.start_beta * ratio**share)


@dataclass(frozen=True)
class AdaSTE(Method):
    """Weights between latent ones and their signs, and a gradient scaled by whether it agrees with the latent.

    The published steps are those of :class:`vispa.BayesBiNN` with the square of its ``train_set_size``; any
    optimizer will do.

    Parameters
    ----------
    alpha : float, default 0.01
        Positive; weights are signs when beta is ``1 / alpha``.
    start_beta : float, default 0.01
        beta at the start; it is multiplied by as much in every step.
    binary_from : float, default 0.27
        Share of training after which beta is ``1 / alpha``; 189 of 700 epochs, as published for CIFAR-10.
    initial_size : float, optional
        Size of all latent weights at the start: 10, as published; None draws them by Xavier's law.
    channel_scale : {"learned", "mean", "none"}
        ``alpha`` of the channel: a parameter; ``mean |mean_i|``, without a gradient; or 1, as published.
    published_zero : bool, default False
        Whether ``sgn(0) = 0``, as published; such a weight is not binary.

    Notes
    -----
    The published loop also runs a second forward at the signs after every backward, which moves the statistics
    of BatchNorm: estimate them anew with ``vispa.harden(model, batch_norm=True, ...)`` instead.

    References
    ----------
    Le, Hoier, Lin and Zach, AdaSTE: An Adaptive Straight-Through Estimator to Train Binary Neural Networks,
    CVPR 2022.
    """

    name: ClassVar[str] = "adaste"
    weight_class: ClassVar[type[BinaryWeight]] = AdaSTEWeight

    alpha: float = 0.01
    start_beta: float = 0.01
    binary_from: float = 0.27
    initial_size: float | None = 10.0
    channel_scale: str = "none"
    published_zero: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("alpha", "start_beta"):
            checks.scalar(name, getattr(self, name), positive=True)
        if checked_share("binary_from", self.binary_from) == 0:
            raise ValueError("binary_from must be positive; found 0")
        if self.initial_size is not None:
            checks.scalar("initial_size", self.initial_size, positive=True)
