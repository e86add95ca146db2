"""The parametrization behind a binary weight: what all training methods share, and what each may replace.

It owns everything about its weight except the mean, which stays where torch keeps a parametrized parameter
(``layer.parametrizations.weight.original``), so an optimizer made earlier still holds it.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vispa.nn.weights.autograd import ScaledSign, per_channel, working_dtype
from vispa.nn.weights.layout import Layout
from vispa.nn.weights.noise_scope import Noise, ScopedNoise
from vispa.nn.weights.watches import DriftWatch, HandedOut

__all__ = ["CHANNEL_SCALES", "BinaryWeight", "latent_scale"]

CHANNEL_SCALES = ("learned", "mean", "none")


class BinaryWeight(ScopedNoise):
    """A weight ``alpha * sgn(latent)`` whose latent is the mean, or a sample while noise is bound to it.

    A training method replaces what it does otherwise, of ``draw``, ``latent``, ``training_weight``,
    ``hard_weight``, ``positive``, ``start``, ``load``, ``before_step``, ``project``, ``zeros``, ``anneal`` and
    ``penalty``. Tensors named ``rows`` have the output channels first; other tensors the shape of the weight.

    Parameters
    ----------
    mean : Parameter
        The weight that becomes the mean: the latent weight, whatever the method makes of it.
    layout : Layout
        Its rows, one an output channel.
    channel_scale : {"learned", "mean", "none"}
        Where the scale of a channel comes from; ``alpha`` is a parameter where it is learned, else None.
    """

    # The options it was made of; a frozen dataclass of `vispa.nn.methods`.
    method: Any = None
    # An optimizer that moves the mean as published, apart from other parameters; and whether others may, too.
    own_optimizer: ClassVar[str] = ""
    takes_any_optimizer: bool = True
    # Whether `load` takes a noise ratio.
    takes_noise_ratio: ClassVar[bool] = False

    alpha: nn.Parameter | None

    def __init__(self, mean: Tensor, layout: Layout, *, channel_scale: str = "learned") -> None:
        super().__init__()
        self.layout = layout
        self.channel_scale = channel_scale
        self.alpha = None
        if channel_scale == "learned":
            values = torch.ones(layout.out_channels, dtype=mean.dtype, device=mean.device)
            self.alpha = nn.Parameter(values, requires_grad=mean.requires_grad)
        self.is_installed = False
        self.handed_out: HandedOut | None = None
        self.drift = DriftWatch()

    def forward(self, mean: Tensor) -> Tensor:
        """Return the weight that the layer sees, sampled and worked out once in a scope around the layer."""
        if self.depth and self.training and not torch.compiler.is_compiling():
            self.drift.look(self, mean)
        if not self.keeps_reads:
            weight = self.realise(mean, self.current_noise())
            if self.depth == 0 and self.is_installed and not torch.compiler.is_compiling():
                self.handed_out = HandedOut.of(weight)
            return weight
        grad_enabled = torch.is_grad_enabled()
        kept = self.kept.get(grad_enabled)
        if kept is None or kept[0] is not mean:
            kept = mean, self.realise(mean, self.noise)
            self.kept[grad_enabled] = kept
        return kept[1]

    def enter(self) -> None:
        """Look whether what was read since the last forward has been written to."""
        if self.handed_out is not None and not torch.compiler.is_compiling():
            handed_out, self.handed_out = self.handed_out, None
            handed_out.warn_if_written()

    def right_inverse(self, values: Tensor) -> Tensor:
        """Return the mean to store where the weight is assigned, by the rule of :func:`vispa.load_float`.

        A learned alpha becomes ``mean |w|`` of its channel; the noise stays as it is.
        """
        if not self.is_installed:
            return values
        if not bool(torch.isfinite(values).all()):
            raise ValueError("a binary weight must be assigned finite values; found NaN or infinite entries")
        if not bool(values.any()):
            raise ValueError("a binary weight must be assigned a non-zero value; found zeros alone")
        self.take_scales(values)
        mean = self.latent_mean(values.detach().clone())
        self.project(mean)
        return mean

    def take_scales(self, values: Tensor) -> None:
        """Set a learned alpha to what approximates float weights best, ``mean |w|`` of every channel."""
        if self.alpha is not None:
            rows = self.layout.rows(values.detach()).flatten(1)
            with torch.no_grad():
                self.alpha.copy_(rows.abs().to(working_dtype(rows.dtype)).mean(1))

    def latent_mean(self, values: Tensor) -> Tensor:
        """Return the mean that float weights become, before it is projected."""
        return values

    def realise(self, mean: Tensor, noise: Noise | None) -> Tensor:
        """Return the weight at one draw of the noise, at the mean without one: binary in evaluation mode."""
        rows = self.layout.rows(mean)
        weight = self.training_weight(rows, noise) if self.training else self.hard_weight(rows, noise)
        return self.layout.weight(weight)

    def harden(self, mean: Tensor, noise: Noise | None) -> Tensor:
        """Return the binary weight that is deployed, at one draw of the noise, at the mean without one."""
        return self.layout.weight(self.hard_weight(self.layout.rows(mean), noise))

    def training_weight(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return what the layer sees in training, in rows."""
        return self.hard_weight(rows, noise)

    def hard_weight(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return signs times one scale a channel, in rows."""
        latent = rows if noise is None else self.latent(rows, noise)
        weight: Tensor = ScaledSign.apply(latent, self.scales(rows))
        return weight

    def scales(self, rows: Tensor) -> Tensor:
        """Return the scale of every output channel."""
        if self.alpha is not None:
            return self.alpha
        if self.channel_scale == "mean":
            return rows.detach().abs().flatten(1).mean(1)
        return rows.new_ones(rows.shape[0])

    def scaled(self, weight: Tensor, rows: Tensor) -> Tensor:
        """Return a weight times the scale of every output channel, in rows."""
        if self.channel_scale == "none":
            return weight
        return weight * per_channel(self.scales(rows), rows)

    def latent(self, rows: Tensor, noise: Noise) -> Tensor:
        """Return the latent values at one draw of the noise, in rows."""
        raise NotImplementedError

    def follow(self, mean: Tensor) -> None:
        """Project after a step, and note that somebody did."""
        self.project(mean)
        self.drift.projected(mean)

    def strays(self, mean: Tensor) -> str | None:
        """Return in words where the posterior is and should not be, None where it is where `project` keeps it."""
        return None

    @torch.no_grad()
    def positive(self, mean: Tensor) -> Tensor:
        """Say of every weight whether its sign is +1 in the network without noise, in the shape of the mean."""
        return mean >= 0

    @torch.no_grad()
    def start(self, mean: Tensor) -> None:
        """Draw the mean, in place, and what else the method starts from: by Xavier's normal law."""
        nn.init.normal_(mean, std=latent_scale(self.layout))

    @torch.no_grad()
    def load(self, mean: Tensor, values: Tensor, noise_ratio: float | None) -> None:
        """Start, in place, from float weights; a learned alpha becomes the mean magnitude of its channel."""
        mean.copy_(self.latent_mean(values))
        self.take_scales(values)

    def before_step(self, mean: Tensor) -> None:
        """Change the gradient of the mean, or remember it, when an optimizer is about to step."""

    def project(self, mean: Tensor) -> None:
        """Move the posterior, in place, to where the method keeps it after a step."""

    def zeros(self, mean: Tensor) -> str | None:
        """Return in words what ``project`` would meet that is zero and has no projection, if anything."""
        return None

    def anneal(self, mean: Tensor, progress: float) -> None:
        """Set what changes with the share of training that is done, from 0 to 1."""

    def penalty(self, mean: Tensor) -> Tensor | None:
        """Return this weight's term of the loss; None where the method has none."""
        return None

    def extra_repr(self) -> str:
        """Return the options."""
        return "" if self.method is None else repr(self.method)


def latent_scale(layout: Layout) -> float:
    """Return the standard deviation of Xavier's normal law, by which latent weights are drawn."""
    return math.sqrt(layout.xavier_variance)
