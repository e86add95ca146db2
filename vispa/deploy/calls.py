"""What the compiled loops of one call take: arrays that share memory with tensors, borders, scratch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vispa.deploy.geometry import Plan, Window, plan
from vispa.deploy.layout import KERNELS, runs_here
from vispa.deploy.stretches import extents_of, pays

__all__ = ["Call", "Work", "flat_of", "floats_of", "packer", "pool_bits", "unsigned", "words_for"]

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


def packer(bits: Tensor, rows: bool) -> Callable[[Tensor], None]:
    """The function that fills bits with the signs of floats: of rows, or of images in any order of memory.

    It raises TypeError for floats that are not float32. What does not change from call to call is done once, here.
    """
    from vispa.deploy.kernels.packing import pack_channels_first, pack_channels_last

    words = bits.shape[-1]
    flat = unsigned(bits).reshape(bits.numel() // max(words, 1), words)
    pixels = len(flat)
    if rows:
        return lambda values: pack_channels_last(floats_of(values).reshape(pixels, values.shape[-1]), flat)
    images = flat.reshape(bits.shape[0], pixels // max(bits.shape[0], 1), words)

    def pack(values: Tensor) -> None:
        array = _array_of(values)
        channels, last = array.shape[1], array.transpose(0, 2, 3, 1)
        if last.flags.c_contiguous:
            pack_channels_last(last.reshape(pixels, channels), flat)
        else:
            pack_channels_first(floats_of(values).reshape(len(images), channels, images.shape[1]), images)

    return pack


def _array_of(values: Tensor) -> Any:
    """Floats as an array in the same memory, by one call of torch: each costs as much as a small image."""
    if values.dtype != torch.float32:
        raise TypeError(f"inputs of packed layers must be float32; found {values.dtype}")
    return (values.detach() if values.requires_grad else values).numpy()


def floats_of(values: Tensor) -> Any:
    """Floats as an array, in the same memory where they lie one after another."""
    array = _array_of(values)
    return array if array.flags.c_contiguous else values.detach().contiguous().numpy()


def flat_of(values: Tensor) -> Any:
    """Floats of rows, or of images with their channels last, one after another; a copy if they lie otherwise."""
    array = _array_of(values)
    if array.ndim == 4:
        array = array.transpose(0, 2, 3, 1)
        if not array.flags.c_contiguous:
            array = values.detach().permute(0, 2, 3, 1).contiguous().numpy()
    return np.ascontiguousarray(array).reshape(-1)


def pool_bits(bits: Tensor, flips: Tensor, window: list[int], pooled: Tensor) -> Work:
    """The work that fills pooled bits."""
    from vispa.deploy.kernels.packing import pool

    size, stride, padding = (tuple(window[first : first + 2]) for first in (0, 2, 4))
    return pool, (unsigned(bits), size, stride, padding, unsigned(flips), unsigned(pooled))


def _lines(count: int) -> Any:
    """Memory for so many int32 that begins with a line of the cache."""
    line = 64
    memory = np.empty(4 * count + line, dtype=np.uint8)
    return memory[-memory.ctypes.data % line :][: 4 * count].view(np.int32)


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

            # zeros around the image, signs of +1, which nothing writes again
            padded = np.zeros((self.images, *self.plan.padded, words), dtype=np.uint32)
            above, left = window.zeros[0] + window.ones[0], window.zeros[2] + window.ones[2]
            self.border = surround, (source, above, left, padded)
            source = padded
        flat = source.reshape(self.images, self.plan.padded[0] * self.plan.padded[1] * words)
        if kernel == "tile" and not (runs_here(kernel) and pays(self.plan, self.images)):
            # the layer was made elsewhere, or has too little to do; its words are the same
            kernel = "vector"
        self.layer = (flat, self.plan.starts, self.plan.offsets, weights.numpy().view(KERNELS[kernel]))
        panel = np.zeros((32, weights.shape[1] if kernel == "table" else 4), dtype=np.uint8)
        extents = extents_of(kernel, self.plan, window, self.images, words, weights.shape[0])
        self.scratch = (extents, panel, _lines(64 * 32).reshape(64, 32))

    def empty(self, channels: int, dtype: torch.dtype) -> Tensor:
        """A tensor for outputs (images, pixels, channels)."""
        return torch.empty((self.images, self.pixels, channels), dtype=dtype, device="cpu")

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
        return self.into(bases, numbers, steps, signs)(beside, outputs.numpy())

    def into(
        self, bases: Tensor, numbers: Tensor, steps: int, signs: Tensor | None
    ) -> Callable[[Any, Any], Work]:
        """The function from arrays of a residual and of outputs, new each time, to the work that fills these."""
        from vispa.deploy.kernels.convolve import to_floats

        bits = _NO_BITS if signs is None else unsigned(signs)
        before = (*self.layer, self.plan.classes, bases.numpy().reshape(-1), numbers.numpy(), steps)
        after = (bits, *self.scratch, np.zeros(64, dtype=np.float32))
        return lambda beside, outputs: (to_floats, (*before, beside, outputs, *after))

    def beside(self, residual: Tensor | None, channels: int) -> Any:
        """A residual as an array (images, pixels, channels); not a copy where its channels are last."""
        if residual is None:
            return _NOTHING
        image = residual.detach().expand(self.images, channels, *self.plan.outputs)
        return image.permute(0, 2, 3, 1).contiguous().numpy().reshape(self.images, self.pixels, channels)
