"""Modules between packed layers: signs of floats as bits, and pools of bits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vispa.deploy import operators as _operators  # noqa: F401  defines torch.ops.vispa
from vispa.deploy.torch_layers import pair

__all__ = ["PackSigns", "PoolBits", "check_channels"]


class PackSigns(nn.Module):
    """The signs of a float tensor as bits: int32 (images, height, width, words); 1 is negative.

    With ``rows`` the last axis is packed instead of the second. Zero and -0.0 are +1. A NaN, for which a bit has no
    room, is -1. With ``channels`` there must be so many of them: layers of a few more have as many words.
    """

    def __init__(self, *, rows: bool = False, channels: int | None = None) -> None:
        super().__init__()
        self.rows, self.channels = rows, channels

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the bits."""
        if self.channels is not None:
            check_channels(inputs, self.channels, rows=self.rows)
        bits: Tensor = torch.ops.vispa.pack_signs(inputs, self.rows)
        return bits


def check_channels(inputs: Tensor, channels: int, *, rows: bool) -> None:
    """Raise ValueError unless floats have the channels of a layer, along the last axis of rows or of an image."""
    least, axis = (1, -1) if rows else (4, 1)
    if inputs.ndim < least or inputs.shape[axis] != channels:
        expected = f"(..., {channels})" if rows else f"(images, {channels}, height, width)"
        raise ValueError(f"inputs must be {expected}; found shape {tuple(inputs.shape)}")


class PoolBits(nn.Module):
    """Maxima of signs that are bits, as `torch.nn.MaxPool2d` takes them of floats."""

    def __init__(self, pool: nn.MaxPool2d, flips: Tensor) -> None:
        super().__init__()
        stride = pool.kernel_size if pool.stride is None else pool.stride
        self.window = [*pair(pool.kernel_size), *pair(stride), *pair(pool.padding)]
        self.ceil_mode = pool.ceil_mode
        self.flips: Tensor
        self.register_buffer("flips", flips)

    def forward(self, bits: Tensor) -> Tensor:
        """Return the pooled bits."""
        pooled: Tensor = torch.ops.vispa.pool_bits(bits, self.flips, self.window, self.ceil_mode)
        return pooled
