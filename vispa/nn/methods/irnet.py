"""IR-Net: standardised rows, a power of two as scale, and a tanh that grows steep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from solvers import checks
from vispa.nn.methods.base import Method, TransformedWeight
from vispa.nn.methods.surrogate import channel_mean, signs, standardised, straight_through
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.layout import Layout
from vispa.nn.weights.noise_scope import Noise

__all__ = ["IRNet", "IRNetWeight", "ede_sharpness", "irnet_weight"]


def irnet_weight(rows: Tensor, sharpness: Tensor, *, published_zero: bool = False) -> Tensor:
    r"""Return ``alpha sgn(v)`` for standardised rows v, differentiated as ``alpha k tanh(t v)``.

    :math:`\alpha = 2^{\mathrm{round} \log_2 \mathrm{mean}_c |v|}` without a gradient, :math:`k = \max(1/t, 1)`.

    Parameters
    ----------
    rows : Tensor of shape (out_channels, ...)
        Latent weights, at least two a row.
    sharpness : Tensor of one element
        t > 0.
    published_zero : bool, default False
        Whether ``sgn(0) = 0``, as published.

    Examples
    --------
    >>> irnet_weight(torch.tensor([[0.1, 0.2, -0.6]]), torch.tensor(0.1)).tolist()
    [[1.0, 1.0, -1.0]]
    """
    values = standardised(rows)
    scale = torch.exp2(torch.log2(channel_mean(values.detach().abs())).round())
    slope = torch.clamp_min(1.0 / sharpness, 1.0)
    return straight_through(
        scale * signs(values, published_zero), scale * slope * torch.tanh(sharpness * values)
    )


def ede_sharpness(progress: float, start: float, end: float) -> float:
    """Return t of the error decay estimator, ``start (end / start)^progress``.

    Examples
    --------
    >>> ede_sharpness(0.5, 0.1, 10.0)
    1.0
    """
    return float(start * (end / start) ** progress)


class IRNetWeight(TransformedWeight):
    """A weight of `IRNet`; ``sharpness`` is t."""

    sharpness: Tensor

    def __init__(self, mean: Tensor, layout: Layout, method: IRNet) -> None:
        super().__init__(mean, layout, channel_scale="none")
        self.register_number("sharpness", method.t_start, mean)

    def binary(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return signs times a power of two."""
        return irnet_weight(rows, self.sharpness, published_zero=self.method.published_zero)

    def anneal(self, mean: Tensor, progress: float) -> None:
        """Set t."""
        self.sharpness.fill_(ede_sharpness(progress, self.method.t_start, self.method.t_end))


@dataclass(frozen=True)
class IRNet(Method):
    """Signs of standardised rows times a power of two, differentiated as a tanh that grows steep.

    Parameters
    ----------
    t_start, t_end : float
        t, from the start of training to its end; 0.1 and 10 as published for real activations and VGG-Small.
    published_zero : bool, default False
        Whether ``sgn(0) = 0``, as published; such a weight is not binary.

    References
    ----------
    Qin et al., Forward and Backward Information Retention for Accurate Binary Neural Networks, CVPR 2020.
    """

    name: ClassVar[str] = "irnet"
    weight_class: ClassVar[type[BinaryWeight]] = IRNetWeight
    least_fan_in: ClassVar[int] = 2

    t_start: float = 0.1
    t_end: float = 10.0
    published_zero: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.scalar("t_start", self.t_start, positive=True)
        checks.scalar("t_end", self.t_end, positive=True)
