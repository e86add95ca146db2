"""Method ``bernoulli``: independent Gaussian latents, the corner K = 0 of the family."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from vispa.nn.methods.base import Method
from vispa.nn.weights.autograd import working_dtype
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.layout import Layout
from vispa.nn.weights.noise_scope import Noise

__all__ = ["Bernoulli", "BernoulliWeight"]


class BernoulliWeight(BinaryWeight):
    """Signs of latents ``N(mean, 1 - mean^2)``, the identity as gradient, the mean clipped to [-1, 1]."""

    takes_noise_ratio: ClassVar[bool] = True
    like_mean: Tensor

    def __init__(self, mean: Tensor, layout: Layout, method: Bernoulli) -> None:
        super().__init__(mean, layout, channel_scale=method.channel_scale)
        # Empty: it follows the layer's dtype and device. A reference to where the mean is kept would be a
        # cycle, and copies that are dropped would wait for the collector.
        self.register_buffer("like_mean", mean.detach().new_empty(0), persistent=False)

    def draw(self) -> Noise:
        """Draw one standard normal a weight, in rows."""
        shape = (self.layout.out_channels, self.layout.fan_in)
        return torch.randn(shape, dtype=working_dtype(self.like_mean.dtype), device=self.like_mean.device)

    def latent(self, rows: Tensor, noise: Noise) -> Tensor:
        """Return ``mean + sqrt(1 - mean^2) * noise``, differentiated with respect to its first term alone."""
        assert isinstance(noise, Tensor)
        latent = rows.to(noise.dtype)
        deviation = (1.0 - latent.detach().square()).clamp_min(0.0).sqrt()
        return latent + deviation * noise.view(rows.shape)

    @torch.no_grad()
    def start(self, mean: Tensor) -> None:
        """Draw the mean from the standard normal law, since the noise is of unit size."""
        nn.init.normal_(mean)

    @torch.no_grad()
    def load(self, mean: Tensor, values: Tensor, noise_ratio: float | None) -> None:
        """Take the means from float weights, scaled so that the noise has its ratio to them."""
        super().load(mean, values, noise_ratio)
        if noise_ratio is not None:
            mean.div_(math.sqrt(1.0 + noise_ratio**2))

    def latent_mean(self, values: Tensor) -> Tensor:
        """Return values of root mean square one, so that small weights are the uncertain ones."""
        return values / values.to(working_dtype(values.dtype)).square().mean().sqrt().to(values.dtype)

    def strays(self, mean: Tensor) -> str | None:
        """Say where means are outside the box, in which alone their noise has a variance."""
        largest = float(mean.detach().abs().max())
        return None if largest <= 1.01 else f"its means reach {largest:.2g}, outside [-1, 1]"

    def project(self, mean: Tensor) -> None:
        """Clip the mean to [-1, 1], in place."""
        with torch.no_grad():
            mean.clamp_(-1.0, 1.0)


@dataclass(frozen=True)
class Bernoulli(Method):
    """Independent ``x ~ N(mean, 1 - mean^2)``, identity gradient, means clipped to [-1, 1] after every step.

    Parameters
    ----------
    channel_scale : {"learned", "mean", "none"}
        ``alpha``: a parameter; ``mean |mean_i|`` over the channel, without a gradient; or 1.
    """

    name: ClassVar[str] = "bernoulli"
    weight_class: ClassVar[type[BinaryWeight]] = BernoulliWeight
    is_distribution: ClassVar[bool] = True

    channel_scale: str = "learned"
