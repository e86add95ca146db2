"""The bias of a layer whose alpha is learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vispa.nn.weights.binary_weight import BinaryWeight

__all__ = ["ScaledBias"]


class ScaledBias(nn.Module):
    """A bias inside the bracket of ``alpha * (layer(inputs) + bias)``: the layer sees ``alpha * bias``.

    Parameters
    ----------
    weights : BinaryWeight
        The weights whose channels, one after another, the bias adds to; each learns its alpha.
    """

    def __init__(self, *weights: BinaryWeight) -> None:
        super().__init__()
        # In a tuple, so that the weights' parameters are not registered a second time under the bias.
        self._scaled_with = weights

    def forward(self, bias: Tensor) -> Tensor:
        """Return ``alpha * bias``."""
        return bias * self._alpha()

    def right_inverse(self, bias: Tensor) -> Tensor:
        """Return what to store so that the layer sees ``bias``."""
        alpha = self._alpha()
        if bool((alpha == 0).any()):
            raise ValueError("the bias cannot be set where a channel's alpha is zero; set alpha first")
        return bias / alpha

    def stored(self, bias: Tensor) -> Tensor:
        """Return what to store so that the layer sees ``bias`` in all channels whose alpha is not zero."""
        alpha = self._alpha()
        return torch.where(alpha == 0, 0.0, bias / alpha)

    def _alpha(self) -> Tensor:
        alphas: list[Tensor] = [weight.alpha for weight in self._scaled_with if weight.alpha is not None]
        return alphas[0] if len(alphas) == 1 else torch.cat(alphas)
