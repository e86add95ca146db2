"""The low-rank parametrization: a Gaussian whose covariance is a factor times its transpose."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from vispa.nn.weights.autograd import CorrelatedLatent, IndependentLatent, working_dtype
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.layout import Layout
from vispa.nn.weights.noise_scope import Noise
from vispa.nn.weights.projection import (
    channel_squares,
    noise_squares,
    project_channels,
    project_rows,
    row_squares,
)

__all__ = ["LowRankWeight"]


class LowRankWeight(BinaryWeight):
    """Method ``vispa``: latents ``mean + r @ factor``, with ``r ~ N(0, I_K / scale)``.

    Parameters
    ----------
    mean : Parameter
        The weight that becomes the mean.
    layout : Layout
        Its rows, one an output channel.
    rank : int
        K, the width of the factor, at least 1.
    scale : float
        S: one over the variance of r, and the preconditioner of the factor.
    projection : {"channel", "paper", "published"}
        Where ``project`` keeps the rows ``(mean_i, factor_i / sqrt(scale))``: the root mean square of their
        norms at ``radius`` in every output channel, every norm at ``radius``, or where they are.
    radius : float
        Not read by ``"published"``.
    covariance : {"layer", "channel"}
        Whether one r is drawn for the layer or one for every output channel.
    residual : bool
        Whether every weight has noise of its own too, of standard deviation
        ``|root_residual_i| / sqrt(scale)``; the row then holds that as its last entry.
    channel_scale : {"learned", "mean", "none"}
        As in BinaryWeight.

    Notes
    -----
    The factor has shape (out_channels, K, fan_in): it follows the mean when that is sharded by output
    channel, and it leaves ``channels_last`` to the mean alone. The residual, where there is one, has the
    shape of the mean.
    """

    factor: nn.Parameter
    root_residual: nn.Parameter | None

    def __init__(
        self,
        mean: Tensor,
        layout: Layout,
        *,
        rank: int,
        scale: float,
        projection: str,
        radius: float,
        covariance: str = "layer",
        residual: bool = False,
        channel_scale: str = "learned",
    ) -> None:
        super().__init__(mean, layout, channel_scale=channel_scale)
        shape = (layout.out_channels, rank, layout.fan_in)
        zeros = torch.zeros(shape, dtype=mean.dtype, device=mean.device)
        self.factor = nn.Parameter(zeros, requires_grad=mean.requires_grad)
        self.root_residual = None
        if residual:
            self.root_residual = nn.Parameter(torch.zeros_like(mean), requires_grad=mean.requires_grad)
        self.rank = rank
        self.scale = scale
        self.projection = projection
        self.radius = radius
        self.covariance = covariance

    def draw(self) -> Noise:
        """Draw ``r ~ N(0, I_K / scale)``, one or one a channel, and as much for every weight's own noise."""
        options: Any = {"dtype": working_dtype(self.factor.dtype), "device": self.factor.device}
        layout = self.layout
        shape = (self.rank,) if self.covariance == "layer" else (layout.out_channels, self.rank)
        deviation = 1.0 / math.sqrt(self.scale)
        shared = torch.randn(shape, **options) * deviation
        if self.root_residual is None:
            return shared
        return shared, torch.randn((layout.out_channels, layout.fan_in), **options) * deviation

    def latent(self, rows: Tensor, noise: Noise) -> Tensor:
        """Return ``mean + r @ factor``, and the weights' own noise where there is some."""
        shared, own = (noise, None) if isinstance(noise, Tensor) else noise
        latent: Tensor = CorrelatedLatent.apply(rows, self.factor, shared, self.scale)
        if self.root_residual is not None and own is not None:
            root = self.layout.rows(self.root_residual)
            latent = IndependentLatent.apply(latent, root, own.view(rows.shape), self.scale)
        return latent

    def latent_mean(self, values: Tensor) -> Tensor:
        """Return values scaled to the size that the mean has beside the noise, which stays as it is."""
        with torch.no_grad():
            noise = float(noise_squares(self.factor, self.root_residual, self.scale).mean())
            target = self.layout.xavier_variance
            if self.projection != "published":
                target = max(self.radius**2 - noise, 0.01 * self.radius**2)
            mean_square = float(values.to(working_dtype(values.dtype)).square().mean())
            return values * math.sqrt(target / mean_square)

    def strays(self, mean: Tensor) -> str | None:
        """Say where rows are off the sphere that the projection keeps them on."""
        if self.projection == "published":
            return None
        squares_of = channel_squares if self.projection == "channel" else row_squares
        with torch.no_grad():
            rows, residual = self._rows(mean)
            ratios = squares_of(rows, self.factor, residual, self.scale).sqrt() / self.radius
        distance = float((ratios - 1.0).abs().max())
        # Half precision rounds a radius by less than a hundredth.
        return (
            None
            if distance <= 0.01
            else f"its rows are off their sphere by up to {distance:.2g} of the radius"
        )

    def project(self, mean: Tensor) -> None:
        """Multiply the rows ``(mean_i, factor_i, root_residual_i)`` as the projection asks, in place.

        Positive factors change the law of no sign (claim G1 of theory_checks), only the length of later steps.
        """
        if self.projection == "published":
            return
        project = project_channels if self.projection == "channel" else project_rows
        with torch.no_grad():
            rows, residual = self._rows(mean)
            project(rows, self.factor, residual, self.scale, self.radius)
            if self.layout.transposed_groups:
                mean.copy_(self.layout.weight(rows))
                if self.root_residual is not None and residual is not None:
                    self.root_residual.copy_(self.layout.weight(residual))

    def zeros(self, mean: Tensor) -> str | None:
        """Return in words what ``project`` would meet that is zero and has no projection, if anything."""
        if self.projection == "published":
            return None
        squares_of = channel_squares if self.projection == "channel" else row_squares
        with torch.no_grad():
            rows, residual = self._rows(mean)
            if not bool((squares_of(rows, self.factor, residual, self.scale) == 0).any()):
                return None
        if self.projection == "channel":
            return "all weights of an output channel have a zero mean and a zero row in their factor"
        return "a weight has a zero mean and a zero row in its factor"

    def extra_repr(self) -> str:
        """Return the options."""
        radius = "" if self.projection == "published" else f", radius={self.radius:g}"
        return (
            f"rank={self.rank}, scale={self.scale:g}, projection={self.projection!r}{radius}, "
            f"covariance={self.covariance!r}, residual={self.root_residual is not None}, "
            f"channel_scale={self.channel_scale!r}"
        )

    def _rows(self, mean: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return mean and residual with the output channels first."""
        residual = self.root_residual
        return self.layout.rows(mean), None if residual is None else self.layout.rows(residual)
