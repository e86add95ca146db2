"""What the compiled loops of one call take: arrays that share memory with tensors, borders, scratch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vispa.deploy.geometry import Plan, Window, plan
from vispa.deploy.layout import KERNELS

__all__ = ["Call", "Work", "pack_signs", "pool_bits", "unsigned", "words_for"]

# A compiled loop and its arrays; calling it again does the same on what they hold then.
Work = tuple[Callable[..., None], tuple[Any, ...]]

_NOTHING = np.zeros((1, 1, 1), dtype=np.float32)
_NO_BITS = np.zeros((0, 0, 0), dtype=np.uint32)


def unsigned(tensor: Tensor) -> Any:
    """The words of an int32 tensor as an array in the same memory."""
    return tensor.detach().numpy().view(np.uint32)


def words_for(channels: int) -> int:
    """Number of words of 32 signs."""
    return -(-channels // 32)


def pack_signs(values: Tensor, bits: Tensor, rows: bool) -> None:
    """Fill bits with the signs of floats: of rows, or of images in any order of memory.

    Raises
    ------
    TypeError, ValueError
        If the floats are not float32, or the images have other than four axes.
    """
    from vispa.deploy.kernels.packing import pack_channels_first, pack_channels_last

    values = values.detach()
    if values.dtype != torch.float32:
        raise TypeError(f"inputs of packed layers must be float32; found {values.dtype}")
    flat = unsigned(bits)
    if rows:
        count, channels = bits.numel() // max(bits.shape[-1], 1), values.shape[-1]
        pack_channels_last(
            values.contiguous().numpy().reshape(count, channels), flat.reshape(count, flat.shape[-1])
        )
        return
    images, channels, height, width = values.shape
    if values.is_contiguous(memory_format=torch.channels_last):
        pixels = values.permute(0, 2, 3, 1).numpy().reshape(images * height * width, channels)
        pack_channels_last(pixels, flat.reshape(len(pixels), flat.shape[3]))
    else:
        planes = values.contiguous().numpy().reshape(images, channels, height * width)
        pack_channels_first(planes, flat.reshape(images, height * width, flat.shape[3]))


def pool_bits(bits: Tensor, flips: Tensor, window: list[int], pooled: Tensor) -> Work:
    """The work that fills pooled bits."""
    from vispa.deploy.kernels.packing import pool

    size, stride, padding = (tuple(window[first : first + 2]) for first in (0, 2, 4))
    return pool, (unsigned(bits), size, stride, padding, unsigned(flips), unsigned(pooled))


class Call:
    """A packed layer on bits of one size: the plan, the bits with their border, scratch memory.

    Parameters
    ----------
    bits : Tensor (images, height, width, words), int32, contiguous
    weights : Tensor
        In the layout of the kernel.
    numbers : list of int
        Of `Window.flat`.
    kernel : str
    """

    def __init__(self, bits: Tensor, weights: Tensor, numbers: list[int], kernel: str) -> None:
        self.images, height, width, words = bits.shape
        window = Window.unflatten(numbers)
        self.plan: Plan = plan(window, height, width, words)
        self.pixels = self.plan.outputs[0] * self.plan.outputs[1]
        self.border: Work | None = None
        source = unsigned(bits)
        if self.plan.padded != (height, width):
            from vispa.deploy.kernels.packing import surround

            padded = np.empty((self.images, *self.plan.padded, words), dtype=np.uint32)
            above, left = window.zeros[0] + window.ones[0], window.zeros[2] + window.ones[2]
            self.border = surround, (source, above, left, padded)
            source = padded
        flat = source.reshape(self.images, self.plan.padded[0] * self.plan.padded[1] * words)
        self.layer = (flat, self.plan.starts, self.plan.offsets, weights.numpy().view(KERNELS[kernel]))
        panel = np.zeros((32, weights.shape[1] if kernel == "table" else 4), dtype=np.uint8)
        self.scratch = (panel, np.empty((64, 32), dtype=np.int32))

    def empty(self, channels: int, dtype: torch.dtype) -> Tensor:
        """A tensor for outputs (images, pixels, channels)."""
        return torch.empty((self.images, self.pixels, channels), dtype=dtype)

    def last(self, outputs: Tensor) -> Tensor:
        """Outputs as images with their channels last, in the same memory."""
        return outputs.view(self.images, *self.plan.outputs, outputs.shape[2])

    def first(self, outputs: Tensor) -> Tensor:
        """Outputs as images whose channels are the second axis, in the same memory."""
        return self.last(outputs).permute(0, 3, 1, 2)

    def run(self, work: Work) -> None:
        """Make the border, then do the work."""
        if self.border is not None:
            function, arguments = self.border
            function(*arguments)
        function, arguments = work
        function(*arguments)

    def to_sums(self, sums: Tensor) -> Work:
        """The work that fills sums with counts."""
        from vispa.deploy.kernels.convolve import to_sums

        return to_sums, (*self.layer, sums.numpy(), *self.scratch)

    def to_bits(self, limits: Tensor, flips: Tensor, outputs: Tensor) -> Work:
        """The work that fills outputs with bits."""
        from vispa.deploy.kernels.convolve import to_bits

        arrays = (self.plan.classes, limits.numpy().reshape(-1), unsigned(flips), unsigned(outputs))
        return to_bits, (*self.layer, *arrays, *self.scratch)

    def to_floats(
        self, bases: Tensor, numbers: Tensor, steps: int, beside: Any, outputs: Tensor, signs: Tensor | None
    ) -> Work:
        """The work that fills outputs with floats, and signs with theirs."""
        from vispa.deploy.kernels.convolve import to_floats

        bits = _NO_BITS if signs is None else unsigned(signs)
        arrays = (self.plan.classes, bases.numpy().reshape(-1), numbers.numpy(), steps, beside)
        row = np.zeros(64, dtype=np.float32)
        return to_floats, (*self.layer, *arrays, outputs.numpy(), bits, *self.scratch, row)

    def beside(self, residual: Tensor | None, channels: int) -> Any:
        """A residual as an array (images, pixels, channels); not a copy where its channels are last."""
        if residual is None:
            return _NOTHING
        image = residual.detach().expand(self.images, channels, *self.plan.outputs)
        return image.permute(0, 2, 3, 1).contiguous().numpy().reshape(self.images, self.pixels, channels)
