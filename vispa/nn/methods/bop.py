"""Method ``bop``: nothing latent, the parameter holds the signs themselves and an optimizer flips them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vispa.nn.methods.base import Method
from vispa.nn.weights.autograd import sign
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.layout import Layout

__all__ = ["Bop", "SignWeight"]


class SignWeight(BinaryWeight):
    """A parameter of signs, with the identity as gradient."""

    own_optimizer: ClassVar[str] = "vispa.Bop"
    takes_any_optimizer = False

    def __init__(self, mean: Tensor, layout: Layout, method: Bop) -> None:
        super().__init__(mean, layout, channel_scale=method.channel_scale)

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


@dataclass(frozen=True)
class Bop(Method):
    """No latent weights: the parameters are the signs, for :class:`vispa.Bop` or :class:`vispa.Bop2ndOrder`.

    See :func:`vispa.split_parameters`.

    Parameters
    ----------
    channel_scale : {"learned", "mean", "none"}
        ``alpha``: a parameter; ``mean |mean_i|`` over the channel, which is 1; or 1.
    """

    name: ClassVar[str] = "bop"
    weight_class: ClassVar[type[BinaryWeight]] = SignWeight

    channel_scale: str = "learned"
