"""The parametrizations without a factor: straight-through, independent signs, signs alone."""

from __future__ import annotations

import torch
from torch import Tensor

from vispa.nn.weights.autograd import sign, working_dtype
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.layout import Layout
from vispa.nn.weights.noise_scope import Noise

__all__ = ["BernoulliWeight", "SignWeight", "StraightThroughWeight"]


class StraightThroughWeight(BinaryWeight):
    """Method ``ste``: ``sgn(mean)``, the identity as gradient of the sign, the mean clipped to [-1, 1]."""

    def project(self, mean: Tensor) -> None:
        """Clip the mean to [-1, 1], in place: the box that means fill exactly (claim G3 of theory_checks)."""
        with torch.no_grad():
            mean.clamp_(-1.0, 1.0)


class SignWeight(BinaryWeight):
    """Method ``bop``: nothing latent, the parameter holds the signs themselves and an optimizer flips them."""

    def strays(self, mean: Tensor) -> str | None:
        """Say where the parameter is not made of signs."""
        distance = float((mean.detach().abs() - 1.0).abs().max())
        if distance == 0.0:
            return None
        return f"its signs are off +1 and -1 by up to {distance:.2g}: flip them with vispa.Bop"

    def project(self, mean: Tensor) -> None:
        """Replace the parameter, in place, by its signs."""
        with torch.no_grad():
            mean.copy_(sign(mean))


class BernoulliWeight(StraightThroughWeight):
    """Method ``bernoulli``: independent latents ``N(mean, 1 - mean^2)``, the corner K = 0 of the family."""

    like_mean: Tensor

    def __init__(self, mean: Tensor, layout: Layout, *, channel_scale: str = "learned") -> None:
        super().__init__(mean, layout, channel_scale=channel_scale)
        # Empty: it follows the layer's dtype and device. A reference to where the mean is kept would be a
        # cycle, and copies that are dropped would wait for the collector.
        self.register_buffer("like_mean", mean.detach().new_empty(0), persistent=False)

    def strays(self, mean: Tensor) -> str | None:
        """Say where means are outside the box, in which alone their noise has a variance."""
        largest = float(mean.detach().abs().max())
        return None if largest <= 1.01 else f"its means reach {largest:.2g}, outside [-1, 1]"

    def latent_mean(self, values: Tensor) -> Tensor:
        """Return values of root mean square one, so that small weights are the uncertain ones."""
        return values / values.to(working_dtype(values.dtype)).square().mean().sqrt().to(values.dtype)

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
