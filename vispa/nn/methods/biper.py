"""BiPer: weights are sin(f W), first as they are, then by their signs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from solvers import checks
from vispa.nn.methods.base import Method, TransformedWeight, checked_share
from vispa.nn.methods.surrogate import signs, straight_through
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.layout import Layout
from vispa.nn.weights.noise_scope import Noise

__all__ = ["BiPer", "BiPerWeight", "biper_penalty", "periodic_sign", "periodic_weight"]


def periodic_weight(rows: Tensor, frequency: float) -> Tensor:
    """Return ``sin(f W)``, the weight of the first stage."""
    return torch.sin(frequency * rows)


def periodic_sign(rows: Tensor, frequency: float, *, published_zero: bool = False) -> Tensor:
    """Return ``sgn(sin(f W))``, differentiated as ``sin(f W)``: the weight of the second stage.

    Examples
    --------
    >>> periodic_sign(torch.tensor([[0.1, 0.2]]), 20.0).tolist()
    [[1.0, -1.0]]
    """
    wave = periodic_weight(rows, frequency)
    return straight_through(signs(wave, published_zero), wave)


def biper_penalty(rows: Tensor, frequency: float, strength: float) -> Tensor:
    """Return ``strength * mean(sin^2(f W))``, one layer's term of the loss, as published."""
    return strength * periodic_weight(rows, frequency).square().mean()


class BiPerWeight(TransformedWeight):
    """A weight of `BiPer`; ``is_binary`` tells the second stage from the first."""

    is_binary: Tensor

    def __init__(self, mean: Tensor, layout: Layout, method: BiPer) -> None:
        super().__init__(mean, layout, channel_scale=method.channel_scale)
        self.register_buffer("is_binary", torch.tensor(method.binary_from == 0, device=mean.device))

    def binary(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return the signs of the waves."""
        return periodic_sign(rows, self.method.frequency, published_zero=self.method.published_zero)

    def relaxed(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return the waves in the first stage, their signs in the second."""
        wave = periodic_weight(rows, self.method.frequency)
        values = torch.where(self.is_binary, signs(wave, self.method.published_zero), wave.detach())
        return straight_through(values, wave)

    def latent_mean(self, values: Tensor) -> Tensor:
        """Return values scaled to half a wave, within which the sign of the sine is theirs."""
        return values * (0.5 * math.pi / (self.method.frequency * values.abs().max()))

    def anneal(self, mean: Tensor, progress: float) -> None:
        """Go over to the second stage when its time has come."""
        self.is_binary.fill_(progress >= self.method.binary_from)

    def penalty(self, mean: Tensor) -> Tensor:
        """Return the mean square of the waves, times the strength."""
        return biper_penalty(self.layout.rows(mean), self.method.frequency, self.method.strength)


@dataclass(frozen=True)
class BiPer(Method):
    """Waves ``sin(f W)`` in a first stage, their signs in a second.

    Parameters
    ----------
    frequency : float, default 20
        f.
    strength : float, default 0.037
        Of the penalty, the mean of ``sin^2(f W)`` of every layer.
    binary_from : float, default 2/3
        Share of training after which weights are binary; the published stages are 600 and 300 epochs, with
        optimizers of their own.
    channel_scale : {"learned", "mean", "none"}
        ``alpha``: a parameter, as published; ``mean |mean_i|`` over the channel, without a gradient; or 1.
    published_zero : bool, default False
        Whether ``sgn(0) = 0``, as published; such a weight is not binary.

    References
    ----------
    Vargas et al., BiPer: Binary Neural Networks using a Periodic Function, CVPR 2024.
    """

    name: ClassVar[str] = "biper"
    weight_class: ClassVar[type[BinaryWeight]] = BiPerWeight

    frequency: float = 20.0
    strength: float = 0.037
    binary_from: float = 2 / 3
    channel_scale: str = "learned"
    published_zero: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.scalar("frequency", self.frequency, positive=True)
        checks.scalar("strength", self.strength, minimum=0.0)
        checked_share("binary_from", self.binary_from)
