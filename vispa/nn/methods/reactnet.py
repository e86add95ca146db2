"""ReActNet (and AdamBNN, Bi-Real): a scale without a gradient, and a clipped identity that it does not multiply."""

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

__all__ = ["HardBinaryWeight", "ReActNet", "hard_binary_weight"]


def hard_binary_weight(rows: Tensor, *, published_zero: bool = False) -> Tensor:
    """Return ``mean_c |W| sgn(W)``, differentiated as ``clamp(W, -1, 1)``.

    Examples
    --------
    >>> rows = torch.tensor([[0.5, -2.0]], requires_grad=True)
    >>> weight = hard_binary_weight(rows)
    >>> weight.sum().backward()
    >>> weight.tolist(), rows.grad.tolist()
    ([[1.25, -1.25]], [[1.0, 0.0]])
    """
    scale = channel_mean(rows.detach().abs())
    return straight_through(scale * signs(rows, published_zero), torch.clamp(rows, -1.0, 1.0))


class HardBinaryWeight(TransformedWeight):
    """A weight of `ReActNet`."""

    def __init__(self, mean: Tensor, layout: Layout, method: ReActNet) -> None:
        super().__init__(mean, layout, channel_scale="none")

    def binary(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return signs times the mean magnitude of their channel."""
        return hard_binary_weight(rows, published_zero=self.method.published_zero)


@dataclass(frozen=True)
class ReActNet(Method):
    """Signs times the mean magnitude of their channel, differentiated as the clipped latent weight.

    The weights of ReActNet, AdamBNN and Bi-Real Net; they are not projected.

    Parameters
    ----------
    published_zero : bool, default False
        Whether ``sgn(0) = 0``, as published; such a weight is not binary.

    References
    ----------
    Liu et al., ReActNet: Towards Precise Binary Neural Network with Generalized Activation Functions, ECCV 2020.
    """

    name: ClassVar[str] = "reactnet"
    weight_class: ClassVar[type[BinaryWeight]] = HardBinaryWeight

    published_zero: bool = False
