"""What a training method declares: a name, its options, and the parametrization that they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from solvers import checks
from vispa.nn.weights.binary_weight import CHANNEL_SCALES, BinaryWeight
from vispa.nn.weights.layout import Layout
from vispa.nn.weights.noise_scope import Noise

__all__ = ["Method", "TransformedWeight", "checked_share", "random_signs"]


@dataclass(frozen=True)
class Method:
    """Options of one training method, checked when they are given; ``binarize`` shares them among its layers.

    A further method is a frozen dataclass that derives from this one, names a `BinaryWeight` that replaces the
    hooks in which it differs, and has a line in `vispa.nn.methods.registry.METHODS`.

    Attributes
    ----------
    name : str
        As in ``vispa.binarize(model, method="ste")``.
    weight_class : type
        Called with the mean, its layout and the method.
    is_distribution : bool
        Whether it trains a distribution over networks, from which evaluation draws.
    least_fan_in : int
        Weights that a row must have.
    """

    name: ClassVar[str]
    weight_class: ClassVar[type[BinaryWeight]]
    is_distribution: ClassVar[bool] = False
    least_fan_in: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Check the options that several methods have; a method checks its own, too."""
        if hasattr(self, "channel_scale"):
            checks.choice("channel_scale", self.channel_scale, CHANNEL_SCALES)
        if hasattr(self, "published_zero"):
            checks.boolean("published_zero", self.published_zero)

    def check_layer(self, label: str, layout: Layout) -> None:
        """Raise a ValueError, before anything changes, where a layer does not suit the method."""
        if layout.fan_in < self.least_fan_in:
            raise ValueError(
                f"{label}: method {self.name!r} needs at least {self.least_fan_in} weights an output channel; "
                f"found {layout.fan_in}: name this layer in keep"
            )

    def new_weight(self, mean: Tensor, layout: Layout) -> BinaryWeight:
        """Return the parametrization of one weight, not yet started."""
        weight = self.weight_class(mean, layout, self)  # type: ignore[call-arg, arg-type]
        weight.method = self
        return weight


class TransformedWeight(BinaryWeight):
    """A weight whose signs are those of something worked out from the latent weights.

    A method says in ``binary`` what that is, before a learned scale, and in ``relaxed`` what it puts in its
    place in training, if anything.
    """

    def binary(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return the signs, times the method's own scale if it has one, with the method's gradient."""
        raise NotImplementedError

    def relaxed(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return what takes the place of ``binary`` in training."""
        return self.binary(rows, noise)

    def training_weight(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return what the layer sees in training, in rows."""
        return self.scaled(self.relaxed(rows, noise), rows)

    def hard_weight(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return signs times one scale a channel, in rows."""
        return self.scaled(self.binary(rows, noise), rows)

    @torch.no_grad()
    def positive(self, mean: Tensor) -> Tensor:
        """Say of every weight whether its sign is +1 in the network without noise, in the shape of the mean."""
        return self.layout.weight(self.binary(self.layout.rows(mean), None) >= 0)

    def register_number(self, name: str, value: float, like: Tensor) -> None:
        """Keep a number that is annealed as a buffer, in single precision: what is compiled need not change."""
        self.register_buffer(name, torch.tensor(value, dtype=torch.float32, device=like.device))


def checked_share(name: str, value: float) -> float:
    """Return a share of training, in [0, 1]."""
    value = checks.scalar(name, value, minimum=0.0)
    if value > 1:
        raise ValueError(f"{name} must be a share of training, at most 1; found {value}")
    return value


def random_signs(mean: Tensor, size: float) -> None:
    """Set every entry, in place, to plus or minus ``size`` at random."""
    with torch.no_grad():
        mean.bernoulli_().mul_(2.0 * size).sub_(size)
