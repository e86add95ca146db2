"""ReBNN: a learned scale of a channel, and a penalty that keeps latent weights near their binary ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from solvers import checks
from vispa.nn.methods.base import Method, TransformedWeight
from vispa.nn.methods.surrogate import signs, straight_through
from vispa.nn.weights.autograd import per_channel
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.layout import Layout
from vispa.nn.weights.noise_scope import Noise

__all__ = ["ReBNN", "ReBNNWeight", "rebnn_penalty", "rebnn_weight"]

# The binary weight before its scale, as published.
STEP = 0.02


def rebnn_weight(rows: Tensor, scale: Tensor, *, published_zero: bool = False) -> Tensor:
    """Return ``s b`` with ``b = 0.02 sgn(W)``, differentiated as ``s W``, in s too; ``s = |scale|`` of a row.

    Examples
    --------
    >>> import torch
    >>> rebnn_weight(torch.tensor([[0.5, -2.0]]), torch.tensor([[1.0]])).tolist()
    [[0.019999..., -0.019999...]]
    """
    size = scale.abs()
    return straight_through(size * STEP * signs(rows, published_zero), size * rows)


def rebnn_penalty(rows: Tensor, scale: Tensor, strength: float, *, published_zero: bool = False) -> Tensor:
    """Return ``strength / 2 |W - s b|^2``, b constant: its gradient is what the published backward adds.

    Examples
    --------
    >>> import torch
    >>> float(rebnn_penalty(torch.tensor([[0.02, -2.02]]), torch.tensor([[1.0]]), 0.5))
    1.0
    """
    distance = rows - scale.abs() * STEP * signs(rows, published_zero)
    return 0.5 * strength * distance.square().sum()


class ReBNNWeight(TransformedWeight):
    """A weight of `ReBNN`; ``magnitude`` is the learned scale of every channel over 0.02."""

    magnitude: nn.Parameter

    def __init__(self, mean: Tensor, layout: Layout, method: ReBNN) -> None:
        super().__init__(mean, layout, channel_scale="none")
        ones = torch.ones(layout.out_channels, dtype=mean.dtype, device=mean.device)
        self.magnitude = nn.Parameter(ones, requires_grad=mean.requires_grad)

    def binary(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return signs times the learned scale of their channel."""
        scale = per_channel(self.magnitude, rows)
        return rebnn_weight(rows, scale, published_zero=self.method.published_zero)

    @torch.no_grad()
    def start(self, mean: Tensor) -> None:
        """Draw the mean by Xavier's law and the scales from the standard normal one, as published."""
        super().start(mean)
        nn.init.normal_(self.magnitude)

    @torch.no_grad()
    def load(self, mean: Tensor, values: Tensor, noise_ratio: float | None) -> None:
        """Take the means from float weights, and the scales from the mean magnitudes of their channels."""
        super().load(mean, values, noise_ratio)
        self.magnitude.copy_(self.layout.rows(values).flatten(1).abs().mean(1) / STEP)

    def penalty(self, mean: Tensor) -> Tensor:
        """Return half the squared distance of latent weights from their binary ones, times the strength."""
        rows = self.layout.rows(mean)
        scale = per_channel(self.magnitude, rows)
        return rebnn_penalty(rows, scale, self.method.strength, published_zero=self.method.published_zero)


@dataclass(frozen=True)
class ReBNN(Method):
    """Signs times a learned scale, and a penalty that keeps latent weights near their binary ones.

    Parameters
    ----------
    strength : float, default 2e-4
        Of the penalty. The published code means to adapt it between 1e-5 and 2e-4, and its clamps, composed,
        give 2e-4 always.
    published_zero : bool, default False
        Whether ``sgn(0) = 0``, as published; such a weight is not binary.

    References
    ----------
    Xu et al., Resilient Binary Neural Network, AAAI 2023.
    """

    name: ClassVar[str] = "rebnn"
    weight_class: ClassVar[type[BinaryWeight]] = ReBNNWeight

    strength: float = 2e-4
    published_zero: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.scalar("strength", self.strength, minimum=0.0)
