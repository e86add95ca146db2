"""The parametrizations behind a binary weight, one class a method.

Each owns everything about its posterior except the mean, which stays where torch keeps a parametrized
parameter (``layer.parametrizations.weight.original``), so an optimizer made earlier still holds it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vispa.nn.functions import CorrelatedLatent, ScaledSign, working_dtype

__all__ = ["BernoulliWeight", "BinaryWeight", "LowRankWeight", "ScaledBias", "StraightThroughWeight"]


class BinaryWeight(nn.Module):
    """A weight ``alpha * sgn(latent)`` whose latent is the mean, or a sample while noise is bound to it.

    Noise belongs to a scope, the forward of one module: it is drawn when the forward starts and dropped
    when it ends, so that every read of the weight in between, and the recomputation of gradient
    checkpointing, see one and the same weight. Outside a scope the weight is ``alpha * sgn(mean)``.

    Parameters
    ----------
    mean : Parameter
        The weight that becomes the mean, of shape (out_channels, ...).
    """

    alpha: nn.Parameter

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        fan_in = mean[0].numel()
        self.alpha = nn.Parameter(
            torch.full((mean.shape[0],), fan_in**-0.5, dtype=mean.dtype, device=mean.device),
            requires_grad=mean.requires_grad,
        )
        self.shape = tuple(mean.shape)
        self.noise: Tensor | None = None
        self.sample_in_evaluation = False
        self.handles: tuple[RemovableHandle, ...] = ()

    def forward(self, mean: Tensor) -> Tensor:
        """Return the weight that the layer sees."""
        noise = self.noise
        if torch.compiler.is_compiling() and self._samples(self):
            # A checkpointed region inside a compiled one may not write attributes, so the hooks stand aside.
            noise = self.draw()
        return self.realise(mean, noise)

    def realise(self, mean: Tensor, noise: Tensor | None) -> Tensor:
        """Return the weight at one draw of the noise, at the mean without one."""
        latent = mean if noise is None else self.latent(mean, noise)
        weight: Tensor = ScaledSign.apply(latent, self.alpha)
        return weight

    def draw(self) -> Tensor | None:
        """Draw fresh noise from torch's default generator; None where the method has no noise."""
        return None

    def latent(self, mean: Tensor, noise: Tensor) -> Tensor:
        """Return the latent Gaussian at one draw of the noise."""
        raise NotImplementedError

    def project(self, mean: Tensor) -> None:
        """Move mean and factor, in place, to where the method keeps them after a step."""

    def has_zero_row(self, mean: Tensor) -> bool:
        """Say whether some weight has no projection: its mean and its row of the factor are all zero."""
        return False

    def bind_noise(self, scope: nn.Module, inputs: object) -> None:
        """Forward pre-hook of the scope."""
        if not torch.compiler.is_compiling() and self._samples(scope):
            self.noise = self.draw()

    def release_noise(self, scope: nn.Module, inputs: object, output: object) -> None:
        """Forward hook of the scope, called after failures too."""
        if not torch.compiler.is_compiling():
            self.noise = None

    def open_scope(self, scope: nn.Module) -> None:
        """Let every forward of ``scope`` draw its own noise."""
        self.handles += (
            scope.register_forward_pre_hook(self.bind_noise),
            scope.register_forward_hook(self.release_noise, always_call=True),
        )

    def close_scopes(self) -> None:
        """Remove the hooks."""
        for handle in self.handles:
            handle.remove()
        self.handles = ()

    def _samples(self, scope: nn.Module) -> bool:
        return scope.training or self.sample_in_evaluation


class StraightThroughWeight(BinaryWeight):
    """Method ``ste``: ``sgn(mean)``, the identity as gradient of the sign, the mean clipped to [-1, 1]."""

    def project(self, mean: Tensor) -> None:
        """Clip the mean to [-1, 1], in place: the box that means fill exactly (claim G3 of theory_checks)."""
        with torch.no_grad():
            mean.clamp_(-1.0, 1.0)


class BernoulliWeight(StraightThroughWeight):
    """Method ``bernoulli``: independent latents ``N(mean, 1 - mean^2)``, the corner K = 0 of the family."""

    def draw(self) -> Tensor:
        """Draw one standard normal a weight."""
        return torch.randn(self.shape, dtype=working_dtype(self.alpha.dtype), device=self.alpha.device)

    def latent(self, mean: Tensor, noise: Tensor) -> Tensor:
        """Return ``mean + sqrt(1 - mean^2) * noise``, differentiated with respect to its first term alone."""
        latent = mean.to(noise.dtype)
        deviation = (1.0 - latent.detach().square()).clamp_min(0.0).sqrt()
        return latent + deviation * noise


class LowRankWeight(BinaryWeight):
    """Method ``vispa``: latents ``mean + r @ factor``, with ``r ~ N(0, I_K / scale)`` shared by the layer.

    Parameters
    ----------
    mean : Parameter
        The weight that becomes the mean, of shape (out_channels, ...).
    rank : int
        K, the width of the factor, at least 1.
    scale : float
        S: one over the variance of r, and the preconditioner of the factor.
    normalise : bool
        Whether ``project`` moves every row ``(mean_i, factor_i / sqrt(scale))`` to the unit sphere.

    Notes
    -----
    The factor has shape (out_channels, K, fan_in): it follows the mean when that is sharded by output
    channel, and it leaves ``channels_last`` to the mean alone.
    """

    factor: nn.Parameter

    def __init__(self, mean: Tensor, *, rank: int, scale: float, normalise: bool) -> None:
        super().__init__(mean)
        out_channels, fan_in = mean.shape[0], mean[0].numel()
        self.factor = nn.Parameter(
            torch.zeros(out_channels, rank, fan_in, dtype=mean.dtype, device=mean.device),
            requires_grad=mean.requires_grad,
        )
        self.rank = rank
        self.scale = scale
        self.normalise = normalise

    def draw(self) -> Tensor:
        """Draw ``r ~ N(0, I_K / scale)``."""
        noise = torch.randn(self.rank, dtype=working_dtype(self.factor.dtype), device=self.factor.device)
        return noise / math.sqrt(self.scale)

    def latent(self, mean: Tensor, noise: Tensor) -> Tensor:
        """Return ``mean + r @ factor``."""
        latent: Tensor = CorrelatedLatent.apply(mean, self.factor, noise, self.scale)
        return latent

    def project(self, mean: Tensor) -> None:
        """Divide mean and factor, in place, by the norms of the rows ``(mean_i, factor_i / sqrt(scale))``."""
        if not self.normalise:
            return
        with torch.no_grad():
            # A zero row divides by one: it stays where it is until a step moves it.
            squares = self._row_squares(mean)
            inverse = squares.masked_fill_(squares == 0, 1.0).rsqrt_()
            mean.mul_(inverse.view(mean.shape))
            self.factor.mul_(inverse.unsqueeze(1))

    def has_zero_row(self, mean: Tensor) -> bool:
        """Say whether ``project`` would meet a row of zeros."""
        with torch.no_grad():
            return self.normalise and bool((self._row_squares(mean) == 0).any())

    def extra_repr(self) -> str:
        """Return the options."""
        projection = "paper" if self.normalise else "published"
        return f"rank={self.rank}, scale={self.scale:g}, projection={projection!r}"

    def _row_squares(self, mean: Tensor) -> Tensor:
        """Return ``mean_i^2 + |factor_i|^2 / scale``, of shape (out_channels, fan_in)."""
        dtype = working_dtype(mean.dtype)
        squares = mean.to(dtype).square().reshape(self.factor.shape[0], self.factor.shape[2])
        # One fused pass a column: a norm over the middle axis is two orders of magnitude slower.
        for k in range(self.rank):
            column = self.factor[:, k].to(dtype)
            squares.addcmul_(column, column, value=1.0 / self.scale)
        return squares


class ScaledBias(nn.Module):
    """A bias inside the bracket of ``alpha * (layer(inputs) + bias)``: the layer sees ``alpha * bias``."""

    def __init__(self, weight: BinaryWeight) -> None:
        super().__init__()
        # In a tuple, so that the weight's parameters are not registered a second time under the bias.
        self._scaled_with = (weight,)

    def forward(self, bias: Tensor) -> Tensor:
        """Return ``alpha * bias``."""
        return bias * self._scaled_with[0].alpha

    def right_inverse(self, bias: Tensor) -> Tensor:
        """Return what to store so that the layer sees ``bias``."""
        alpha = self._scaled_with[0].alpha
        if bool((alpha == 0).any()):
            raise ValueError("the bias cannot be set where a channel's alpha is zero; set alpha first")
        return bias / alpha
