"""Method ``vispa``: correlated Gaussian latents of low rank, sampled in every forward."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from solvers import checks
from vispa.nn.methods.base import Method
from vispa.nn.weights.autograd import CorrelatedLatent, IndependentLatent, working_dtype
from vispa.nn.weights.binary_weight import BinaryWeight, latent_scale
from vispa.nn.weights.layout import Layout
from vispa.nn.weights.noise_scope import Noise
from vispa.nn.weights.projection import (
    channel_squares,
    noise_squares,
    project_channels,
    project_rows,
    row_squares,
)

__all__ = ["LowRankWeight", "Vispa"]

PROJECTIONS = ("channel", "paper", "published")
COVARIANCES = ("layer", "channel")
# Radius of projection "channel" over Xavier's standard deviation.
RADIUS_RATIO = 0.25
# With ours an optimizer moves the noise a tenth as far as with the published one: a gradient of the factor is that
# of the mean times a normal draw, and Adam makes full steps of it (benchmarks/networks/default_start.py).
SCALE, PUBLISHED_SCALE = 1e4, 100.0


class LowRankWeight(BinaryWeight):
    """Method ``vispa``: latents ``mean + r @ factor``, with ``r ~ N(0, I_K / scale)``.

    Parameters
    ----------
    mean : Parameter
        The weight that becomes the mean.
    layout : Layout
        Its rows, one an output channel.
    method : Vispa
        The options.

    Notes
    -----
    The factor has shape (out_channels, K, fan_in): it follows the mean when that is sharded by output
    channel, and it leaves ``channels_last`` to the mean alone. The residual, where there is one, has the
    shape of the mean.
    """

    takes_noise_ratio: ClassVar[bool] = True
    factor: nn.Parameter
    root_residual: nn.Parameter | None

    def __init__(self, mean: Tensor, layout: Layout, method: Vispa) -> None:
        super().__init__(mean, layout, channel_scale=method.channel_scale)
        shape = (layout.out_channels, method.rank, layout.fan_in)
        zeros = torch.zeros(shape, dtype=mean.dtype, device=mean.device)
        self.factor = nn.Parameter(zeros, requires_grad=mean.requires_grad)
        self.root_residual = None
        if method.residual:
            self.root_residual = nn.Parameter(torch.zeros_like(mean), requires_grad=mean.requires_grad)
        self.rank = method.rank
        self.scale = method.scale_of()
        self.projection = method.projection
        self.radius = method.radius_of(layout)
        self.covariance = method.covariance
        self.noise_ratio = method.noise_ratio

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

    def start(self, mean: Tensor) -> None:
        """Draw mean and factor."""
        super().start(mean)
        self.start_noise(mean, self.noise_ratio)

    @torch.no_grad()
    def load(self, mean: Tensor, values: Tensor, noise_ratio: float | None) -> None:
        """Take the means from float weights and draw the factor anew."""
        mean.copy_(values)
        self.take_scales(values)
        self.start_noise(mean, noise_ratio)

    @torch.no_grad()
    def start_noise(self, mean: Tensor, noise_ratio: float | None) -> None:
        """Draw the factor, in place, for a ratio of noise to mean, both root mean squares."""
        # Our S is about the length of steps, not about where they start.
        scale = PUBLISHED_SCALE if self.projection == "channel" else self.scale
        ratio = published_noise_ratio(self, scale) if noise_ratio is None else noise_ratio
        root_mean_square = float(mean.to(working_dtype(mean.dtype)).square().mean().sqrt())
        deviation = ratio * math.sqrt(self.scale / self.columns) * root_mean_square
        nn.init.normal_(self.factor, std=deviation)
        if self.root_residual is not None:
            self.root_residual.fill_(deviation)

    @property
    def columns(self) -> int:
        """Columns of noise: those of the factor, and one where every weight has its own."""
        return self.rank if self.root_residual is None else self.rank + 1

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


def published_noise_ratio(weight: LowRankWeight, scale: float) -> float:
    """Return the ratio of noise to mean at which the published layer with this S starts.

    It draws the mean by Xavier's law and the factor by that for a tensor of shape (K, out_channels, ...).
    """
    layout, rank = weight.layout, weight.rank
    fans = (layout.in_channels + layout.out_channels) / (layout.in_channels * (layout.out_channels + rank))
    return math.sqrt(weight.columns * fans / scale)


@dataclass(frozen=True)
class Vispa(Method):
    """Latents ``x = mean + r @ factor`` with one ``r ~ N(0, I_K / S)`` a forward.

    The gradients are ``grad_mean = G`` and ``grad_factor = sqrt(S) r outer G``, G that of the signs.

    Parameters
    ----------
    rank : int, default 4
        K >= 1, the number of columns of the factor; at most the number of weights of a layer.
    scale : float, optional
        S > 0. It preconditions the factor: in the coordinates ``factor / sqrt(S)`` a step of gradient descent is
        ``learning_rate / sqrt(S)`` times G. By default 1e4 with ``projection="channel"``, 100 with the others,
        as published.
    projection : {"channel", "paper", "published"}
        Where the rows ``(mean_i, factor_i / sqrt(S))`` are kept, now and after every step of an attached
        optimizer. Multiplying a row by a positive number leaves the law of its sign alone (claim G1 of
        theory_checks), not the number of steps that turn it. ``"channel"``, ours, keeps the root mean square of
        a channel's norms at ``radius``: small rows stay the ones that turn easily. ``"paper"`` is Algorithm 1,
        every row on the unit sphere, where steps of usual length turn hardly any sign. ``"published"`` leaves
        rows where they are, as the published code does.
    radius : float, optional
        Of ``projection="channel"``, a quarter of Xavier's standard deviation by default, and of ``"paper"``,
        1 by default: multiplying radius and learning rate by one number leaves the path of the signs alone
        (claim G5), so a smaller radius turns more signs.
    noise_ratio : float, optional
        Root mean square of the noise over that of the mean at the start, positive: a sample then differs
        from ``sgn(mean)`` in a share of about ``arctan(noise_ratio) / pi`` of its signs. By default the
        published initialisation gives ``sqrt(K (in + out) / (S in (out + K)))`` with the layer's numbers of
        channels (``in`` counted in one group): a few per cent. S is 100 in it where ``projection="channel"``,
        whatever ``scale`` is. With ``residual`` read K + 1 for the first K.
    covariance : {"layer", "channel"}
        Whether one ``r`` is drawn for a layer, so that all its weights are correlated, or one for every
        output channel, so that channels are independent.
    residual : bool, default False
        Whether every weight also has noise of its own, ``x_i += root_residual_i eps_i`` with
        ``eps_i ~ N(0, 1 / S)``, learned like the factor and part of the row that is projected.
    channel_scale : {"learned", "mean", "none"}
        ``alpha``: a parameter; ``mean |mean_i|`` over the channel, without a gradient; or 1.

    References
    ----------
    Orecchia et al., NeurIPS 2024, Algorithm 1.
    """

    name: ClassVar[str] = "vispa"
    weight_class: ClassVar[type[BinaryWeight]] = LowRankWeight
    is_distribution: ClassVar[bool] = True

    rank: int = 4
    scale: float | None = None
    projection: str = "channel"
    radius: float | None = None
    noise_ratio: float | None = None
    covariance: str = "layer"
    residual: bool = False
    channel_scale: str = "learned"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("projection", self.projection, PROJECTIONS)
        checks.choice("covariance", self.covariance, COVARIANCES)
        for name in ("scale", "radius", "noise_ratio"):
            if getattr(self, name) is not None:
                checks.scalar(name, getattr(self, name), positive=True)
        if self.radius is not None and self.projection == "published":
            raise ValueError(
                "radius must be None with projection 'published', which moves no row; found "
                f"{self.radius}: choose projection 'channel' or 'paper'"
            )
        if not isinstance(self.residual, bool):
            raise TypeError(f"residual must be True or False; found {self.residual!r}")
        if checks.integer("rank", self.rank, minimum=0) == 0:
            raise ValueError(
                "rank must be at least 1 for method 'vispa'; found 0. Rank 0 without a factor is method "
                "'bernoulli' (sampled) or 'ste' (deterministic)"
            )

    def check_layer(self, label: str, layout: Layout) -> None:
        """Refuse a rank above the number of weights."""
        size = layout.fan_in * layout.out_channels
        if self.rank > size:
            raise ValueError(
                f"rank must be at most the number of weights of a layer, {size} for {label}; found {self.rank}"
            )

    def scale_of(self) -> float:
        """Return S."""
        default = SCALE if self.projection == "channel" else PUBLISHED_SCALE
        return default if self.scale is None else float(self.scale)

    def radius_of(self, layout: Layout) -> float:
        """Return the radius of the rows of one layer."""
        if self.radius is not None:
            return float(self.radius)
        return 1.0 if self.projection == "paper" else RADIUS_RATIO * latent_scale(layout)
