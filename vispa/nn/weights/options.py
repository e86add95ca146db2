"""Options of a posterior over signs, and where its parameters start."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from solvers import checks
from vispa.nn.weights.autograd import working_dtype
from vispa.nn.weights.baselines import BernoulliWeight, SignWeight, StraightThroughWeight
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.layout import Layout
from vispa.nn.weights.low_rank_weight import LowRankWeight

__all__ = ["PosteriorOptions", "draw_mean", "latent_scale", "published_noise_ratio", "start_noise"]

METHODS = ("vispa", "ste", "bernoulli", "bop")
PROJECTIONS = ("channel", "paper", "published")
COVARIANCES = ("layer", "channel")
CHANNEL_SCALES = ("learned", "mean", "none")
# Radius of projection "channel" over Xavier's standard deviation.
RADIUS_RATIO = 0.25


@dataclass(frozen=True)
class PosteriorOptions:
    """The options of :func:`vispa.binarize` that every layer shares, checked."""

    method: str
    rank: int
    scale: float
    projection: str
    radius: float | None
    covariance: str
    residual: bool
    channel_scale: str

    def __post_init__(self) -> None:
        checks.choice("method", self.method, METHODS)
        checks.choice("projection", self.projection, PROJECTIONS)
        if self.radius is not None:
            checks.scalar("radius", self.radius, positive=True)
            if self.projection == "published":
                raise ValueError(
                    "radius must be None with projection 'published', which moves no row; found "
                    f"{self.radius}: choose projection 'channel' or 'paper'"
                )
        checks.choice("covariance", self.covariance, COVARIANCES)
        checks.choice("channel_scale", self.channel_scale, CHANNEL_SCALES)
        checks.scalar("scale", self.scale, positive=True)
        if not isinstance(self.residual, bool):
            raise TypeError(f"residual must be True or False; found {self.residual!r}")
        if self.method == "vispa" and checks.integer("rank", self.rank, minimum=0) == 0:
            raise ValueError(
                "rank must be at least 1 for method 'vispa'; found 0. Rank 0 without a factor is method "
                "'bernoulli' (sampled) or 'ste' (deterministic)"
            )

    def new_weight(self, mean: Tensor, layout: Layout) -> BinaryWeight:
        """Return the parametrization of one weight, its noise still zero."""
        if self.method == "ste":
            return StraightThroughWeight(mean, layout, channel_scale=self.channel_scale)
        if self.method == "bernoulli":
            return BernoulliWeight(mean, layout, channel_scale=self.channel_scale)
        if self.method == "bop":
            return SignWeight(mean, layout, channel_scale=self.channel_scale)
        return LowRankWeight(
            mean,
            layout,
            rank=self.rank,
            scale=float(self.scale),
            projection=self.projection,
            radius=self._radius(layout),
            covariance=self.covariance,
            residual=self.residual,
            channel_scale=self.channel_scale,
        )

    def _radius(self, layout: Layout) -> float:
        if self.radius is not None:
            return float(self.radius)
        return 1.0 if self.projection == "paper" else RADIUS_RATIO * latent_scale(layout)


def latent_scale(layout: Layout) -> float:
    """Return the standard deviation of Xavier's normal law, by which latent weights are drawn."""
    return math.sqrt(layout.xavier_variance)


def draw_mean(weight: BinaryWeight, mean: Tensor) -> None:
    """Draw the mean, in place, from Xavier's normal law, or the standard one where noise has unit size."""
    std = 1.0 if isinstance(weight, BernoulliWeight) else latent_scale(weight.layout)
    with torch.no_grad():
        nn.init.normal_(mean, std=std)


def published_noise_ratio(weight: LowRankWeight) -> float:
    """Return the ratio of noise to mean at which the published layer starts.

    It draws the mean by Xavier's law and the factor by that for a tensor of shape (K, out_channels, ...).
    """
    layout, rank = weight.layout, weight.rank
    columns = rank if weight.root_residual is None else rank + 1
    fans = (layout.in_channels + layout.out_channels) / (layout.in_channels * (layout.out_channels + rank))
    return math.sqrt(columns * fans / weight.scale)


def start_noise(weight: LowRankWeight, mean: Tensor, noise_ratio: float) -> None:
    """Draw the factor, in place, for a ratio of noise to mean, both root mean squares."""
    columns = weight.rank if weight.root_residual is None else weight.rank + 1
    with torch.no_grad():
        root_mean_square = float(mean.to(working_dtype(mean.dtype)).square().mean().sqrt())
        deviation = noise_ratio * math.sqrt(weight.scale / columns) * root_mean_square
        nn.init.normal_(weight.factor, std=deviation)
        if weight.root_residual is not None:
            weight.root_residual.fill_(deviation)
