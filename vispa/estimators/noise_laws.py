"""Laws of the noise e in w = sgn(mu + e), known in closed form or by their density alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vispa.estimators.kernel_density import KernelDensity

__all__ = [
    "NoiseFunction",
    "NoiseLaw",
    "integrated",
    "logistic",
    "triangular_cumulative",
    "triangular_quantile",
]

NoiseFunction = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class NoiseLaw:
    """A law of the noise e in w = sgn(mu + e).

    Attributes
    ----------
    name : str
        "uniform" on [-1, 1], "triangular" on [-1, 1], "logistic" with scale 1/2 unless it comes from
        `ede_kernel`, standard "gaussian", or "custom" for the noise of a user's kernel.
    density, cumulative, quantile : callable
        f, F and the inverse of F, on tensors.
    """

    name: str
    density: NoiseFunction
    cumulative: NoiseFunction
    quantile: NoiseFunction

    def sample(self, shape: tuple[int, ...], *, generator: torch.Generator | None = None) -> Tensor:
        """Draw float64 noise on the CPU by inversion.

        Examples
        --------
        >>> logistic(2.0).sample((3,), generator=torch.Generator().manual_seed(0)).shape
        torch.Size([3])
        """
        if generator is None:
            generator = torch.Generator()
            generator.seed()
        # Open interval: the quantile of 0 may be infinite.
        uniform = torch.rand(shape, dtype=torch.float64, generator=generator).clamp_min(2.0**-53)
        return self.quantile(uniform)

    def mean_sign(self, mean: Tensor) -> Tensor:
        """E[sgn(mean + e)] = 1 - 2 F(-mean)."""
        return 1.0 - 2.0 * self.cumulative(-mean)


def triangular_cumulative(x: Tensor) -> Tensor:
    """Return F of the triangular law on [-1, 1]."""
    clipped = x.clamp(-1.0, 1.0)
    return 0.5 + clipped - 0.5 * clipped * clipped.abs()


def triangular_quantile(p: Tensor) -> Tensor:
    """Return the inverse of `triangular_cumulative`."""
    tail = torch.minimum(p, 1.0 - p)
    return torch.copysign(1.0 - torch.sqrt(2.0 * tail), p - 0.5)


def logistic(steepness: float) -> NoiseLaw:
    """Return logistic noise of scale 1 / steepness."""
    return NoiseLaw(
        "logistic",
        lambda x: steepness * torch.sigmoid(steepness * x) * torch.sigmoid(-steepness * x),
        lambda x: torch.sigmoid(steepness * x),
        lambda p: torch.logit(p) / steepness,
    )


def integrated(kernel: NoiseFunction) -> NoiseLaw:
    """Return the noise whose density is proportional to ``kernel(-e)``, integrated numerically.

    Raises
    ------
    ValueError, TypeError
        As `KernelDensity`, if there is none.
    """
    density = KernelDensity(lambda x: kernel(-x))
    return NoiseLaw("custom", density, density.cumulative, density.quantile)
