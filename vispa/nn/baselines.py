"""The parametrizations without a factor: straight-through, independent signs, signs alone."""

from __future__ import annotations

import torch
from torch import Tensor

from vispa.nn.functions import sign, working_dtype
from vispa.nn.scopes import Noise
from vispa.nn.weights import BinaryWeight

__all__ = ["BernoulliWeight", "SignWeight", "StraightThroughWeight"]


class StraightThroughWeight(BinaryWeight):
    """Method ``ste``: ``sgn(mean)``, the identity as gradient of the sign, the mean clipped to [-1, 1]."""

    def project(self, mean: Tensor) -> None:
        """Clip the mean to [-1, 1], in place: the box that means fill exactly (claim G3 of theory_checks)."""
        with torch.no_grad():
            mean.clamp_(-1.0, 1.0)


class SignWeight(BinaryWeight):
    """Method ``bop``: nothing latent, the parameter holds the signs themselves and an optimizer flips them."""

    def project(self, mean: Tensor) -> None:
        """Replace the parameter, in place, by its signs."""
        with torch.no_grad():
            mean.copy_(sign(mean))


class BernoulliWeight(StraightThroughWeight):
    """Method ``bernoulli``: independent latents ``N(mean, 1 - mean^2)``, the corner K = 0 of the family."""

    def draw(self) -> Noise:
        """Draw one standard normal a weight, in rows."""
        mean = self.mean
        shape = (self.layout.out_channels, self.layout.fan_in)
        return torch.randn(shape, dtype=working_dtype(mean.dtype), device=mean.device)

    def latent(self, rows: Tensor, noise: Noise) -> Tensor:
        """Return ``mean + sqrt(1 - mean^2) * noise``, differentiated with respect to its first term alone."""
        assert isinstance(noise, Tensor)
        latent = rows.to(noise.dtype)
        deviation = (1.0 - latent.detach().square()).clamp_min(0.0).sqrt()
        return latent + deviation * noise.view(rows.shape)
