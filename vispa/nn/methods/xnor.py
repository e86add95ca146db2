"""XNOR-Net: the mean magnitude of a channel as its scale, differentiated, over centred and clamped weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vispa.nn.methods.base import Method, TransformedWeight
from vispa.nn.methods.surrogate import channel_mean, signs, straight_through
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.layout import Layout
from vispa.nn.weights.noise_scope import Noise

__all__ = ["XNOR", "XNORWeight", "centred_and_clamped", "xnor_weight"]


def centred_and_clamped(rows: Tensor) -> Tensor:
    """Return rows less their mean over input channels, clamped to [-1, 1]: where every step keeps them.

    Examples
    --------
    >>> import torch
    >>> centred_and_clamped(torch.tensor([[3.0, 0.0, 0.0]])).tolist()
    [[1.0, -1.0, -1.0]]
    """
    return (rows - rows.mean(dim=1, keepdim=True)).clamp(-1.0, 1.0)


def xnor_weight(rows: Tensor, *, published_zero: bool = False) -> Tensor:
    r"""Return ``alpha_c sgn(W)``, ``alpha_c = mean_c |W|``, with the gradient of the PyTorch port.

    It is that of ``alpha_c clamp(W)``, alpha differentiated too, times :math:`(1 - 1/C_{in}) n` for a row of n
    weights and :math:`C_{in}` input channels.

    Examples
    --------
    >>> import torch
    >>> xnor_weight(torch.tensor([[0.5, -0.25, -0.25, 1.0]])).tolist()
    [[0.5, -0.5, -0.5, 0.5]]
    """
    scale = channel_mean(rows.abs())
    weight = scale * straight_through(signs(rows, published_zero), rows.clamp(-1.0, 1.0))
    factor = (1.0 - 1.0 / rows.shape[1]) * rows[0].numel()
    return straight_through(weight, factor * weight)


class XNORWeight(TransformedWeight):
    """A weight of `XNOR`."""

    def __init__(self, mean: Tensor, layout: Layout, method: XNOR) -> None:
        super().__init__(mean, layout, channel_scale="none")

    def binary(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return signs times the mean magnitude of their channel."""
        return xnor_weight(rows, published_zero=self.method.published_zero)

    @torch.no_grad()
    def project(self, mean: Tensor) -> None:
        """Centre over input channels and clamp, in place."""
        mean.copy_(self.layout.weight(centred_and_clamped(self.layout.rows(mean))))


@dataclass(frozen=True)
class XNOR(Method):
    """Signs times the mean magnitude of their channel, latent weights centred and clamped after every step.

    Parameters
    ----------
    published_zero : bool, default False
        Whether ``sgn(0) = 0``, as published; such a weight is not binary.

    Notes
    -----
    Two published codes differ in the gradient; this is that of the PyTorch port, which multiplies it by the
    number of weights of a row: divide the learning rate of SGD by as much.

    References
    ----------
    Rastegari et al., XNOR-Net: ImageNet Classification Using Binary Convolutional Neural Networks, ECCV 2016.
    """

    name: ClassVar[str] = "xnor"
    weight_class: ClassVar[type[BinaryWeight]] = XNORWeight

    published_zero: bool = False

    def check_layer(self, label: str, layout: Layout) -> None:
        """Refuse a single input channel, which centring would leave at zero."""
        if layout.in_channels < 2:
            raise ValueError(
                f"{label}: method 'xnor' centres over input channels and needs at least 2 of them; found "
                f"{layout.in_channels}: name this layer in keep"
            )
