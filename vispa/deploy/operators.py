"""Packed layers as operators of torch: seen by torch.export and torch.compile, run by compiled loops on a CPU.

Bits are int32 tensors, channels last, 32 signs a word, 1 for negative: (images, height, width, words). Floats that
come out are (images, channels, height, width) in channels-last memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.library import Library

from vispa.deploy.geometry import Plan, Window, plan
from vispa.deploy.layout import KERNELS

__all__ = ["LIBRARY"]

# Definitions live as long as this object does.
LIBRARY = Library("vispa", "DEF")
LIBRARY.define("pack_signs(Tensor values, bool rows) -> Tensor")
LIBRARY.define(
    "packed_to_bits(Tensor bits, Tensor weights, Tensor limits, Tensor flips, int[] window, str kernel) -> Tensor"
)
LIBRARY.define(
    "packed_to_floats(Tensor bits, Tensor weights, Tensor bases, Tensor numbers, int steps, Tensor? residual, "
    "int channels, int[] window, str kernel) -> Tensor"
)
LIBRARY.define(
    "packed_to_both(Tensor bits, Tensor weights, Tensor bases, Tensor numbers, int steps, Tensor? residual, "
    "int channels, int[] window, str kernel) -> (Tensor, Tensor)"
)
LIBRARY.define("packed_sums(Tensor bits, Tensor weights, int channels, int[] window, str kernel) -> Tensor")
LIBRARY.define("pool_bits(Tensor bits, Tensor flips, int[] window, bool ceil_mode) -> Tensor")
_NOTHING = np.zeros((1, 1, 1), dtype=np.float32)
_NO_BITS = np.zeros((0, 0, 0), dtype=np.uint32)


def _unsigned(tensor: Tensor) -> Any:
    return tensor.detach().numpy().view(np.uint32)


def _words(channels: int) -> int:
    return -(-channels // 32)


def _pack_signs(values: Tensor, rows: bool) -> Tensor:
    from vispa.deploy.kernels.packing import pack_channels_first, pack_channels_last

    values = values.detach()
    if values.dtype != torch.float32:
        raise TypeError(f"inputs of packed layers must be float32; found {values.dtype}")
    if rows:
        channels = values.shape[-1]
        bits = torch.empty((*values.shape[:-1], _words(channels)), dtype=torch.int32)
        count = bits.numel() // max(_words(channels), 1)
        pack_channels_last(
            values.contiguous().numpy().reshape(count, channels),
            _unsigned(bits).reshape(count, _words(channels)),
        )
        return bits
    if values.ndim != 4:
        raise ValueError(
            f"inputs must be (images, channels, height, width); found shape {tuple(values.shape)}"
        )
    images, channels, height, width = values.shape
    bits = torch.empty((images, height, width, _words(channels)), dtype=torch.int32)
    flat = _unsigned(bits)
    if values.is_contiguous(memory_format=torch.channels_last):
        pixels = values.permute(0, 2, 3, 1).numpy().reshape(images * height * width, channels)
        pack_channels_last(pixels, flat.reshape(len(pixels), flat.shape[3]))
    else:
        planes = values.contiguous().numpy().reshape(images, channels, height * width)
        pack_channels_first(planes, flat.reshape(images, height * width, flat.shape[3]))
    return bits


class _Call:
    """Everything that the kernels of one call share: the bits with their border, the plan, scratch memory."""

    def __init__(self, bits: Tensor, weights: Tensor, numbers: list[int], kernel: str) -> None:
        self.images, self.height, self.width, words = bits.shape
        window = Window.unflatten(numbers)
        self.plan: Plan = plan(window, self.height, self.width, words)
        source = _unsigned(bits.contiguous())
        if self.plan.padded != (self.height, self.width):
            from vispa.deploy.kernels.packing import surround

            padded = np.empty((self.images, *self.plan.padded, words), dtype=np.uint32)
            above, left = window.zeros[0] + window.ones[0], window.zeros[2] + window.ones[2]
            surround(source, above, left, padded)
            source = padded
        self.bits = source.reshape(self.images, self.plan.padded[0] * self.plan.padded[1] * words)
        self.weights = weights.numpy().view(KERNELS[kernel])
        self.panel = np.zeros((32, self.weights.shape[1] if kernel == "table" else 4), dtype=np.uint8)
        self.counts = np.empty((64, 32), dtype=np.int32)
        self.pixels = self.plan.outputs[0] * self.plan.outputs[1]

    def shaped(self, flat: Tensor) -> Tensor:
        """Outputs (images, pixels, channels) as images with their channels first, in the same memory."""
        return flat.view(self.images, *self.plan.outputs, flat.shape[2]).permute(0, 3, 1, 2)


def _packed_to_bits(
    bits: Tensor, weights: Tensor, limits: Tensor, flips: Tensor, window: list[int], kernel: str
) -> Tensor:
    from vispa.deploy.kernels.convolve import to_bits

    call = _Call(bits, weights, window, kernel)
    outputs = torch.empty((call.images, call.pixels, limits.shape[1] // 32), dtype=torch.int32)
    to_bits(
        call.bits, call.plan.starts, call.plan.offsets, call.weights, call.plan.classes,
        limits.numpy().reshape(-1), _unsigned(flips), _unsigned(outputs), call.panel, call.counts,
    )  # fmt: skip
    return outputs.view(call.images, *call.plan.outputs, outputs.shape[2])


def _packed_to_floats(
    bits: Tensor, weights: Tensor, bases: Tensor, numbers: Tensor, steps: int, residual: Tensor | None,
    channels: int, window: list[int], kernel: str,
) -> Tensor:  # fmt: skip
    call = _Call(bits, weights, window, kernel)
    return _floats(call, bases, numbers, steps, residual, channels, _NO_BITS)


def _packed_to_both(
    bits: Tensor, weights: Tensor, bases: Tensor, numbers: Tensor, steps: int, residual: Tensor | None,
    channels: int, window: list[int], kernel: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    call = _Call(bits, weights, window, kernel)
    signs = torch.empty((call.images, call.pixels, _words(channels)), dtype=torch.int32)
    floats = _floats(call, bases, numbers, steps, residual, channels, _unsigned(signs))
    return floats, signs.view(call.images, *call.plan.outputs, signs.shape[2])


def _floats(
    call: _Call,
    bases: Tensor,
    numbers: Tensor,
    steps: int,
    residual: Tensor | None,
    channels: int,
    signs: Any,
) -> Tensor:
    from vispa.deploy.kernels.convolve import to_floats

    outputs = torch.empty((call.images, call.pixels, channels), dtype=torch.float32)
    beside = _NOTHING
    if residual is not None:
        image = residual.detach().expand(call.images, channels, *call.plan.outputs)
        beside = image.permute(0, 2, 3, 1).contiguous().numpy().reshape(outputs.shape)
    to_floats(
        call.bits, call.plan.starts, call.plan.offsets, call.weights, call.plan.classes,
        bases.numpy().reshape(-1), numbers.numpy(), steps, beside, outputs.numpy(), signs, call.panel,
        call.counts, np.zeros(64, dtype=np.float32),
    )  # fmt: skip
    return call.shaped(outputs)


def _packed_sums(bits: Tensor, weights: Tensor, channels: int, window: list[int], kernel: str) -> Tensor:
    from vispa.deploy.kernels.convolve import to_sums

    call = _Call(bits, weights, window, kernel)
    sums = torch.empty((call.images, call.pixels, channels), dtype=torch.int32)
    to_sums(
        call.bits, call.plan.starts, call.plan.offsets, call.weights, sums.numpy(), call.panel, call.counts
    )
    return call.shaped(sums)


def _pool_bits(bits: Tensor, flips: Tensor, window: list[int], ceil_mode: bool) -> Tensor:
    from vispa.deploy.kernels.packing import pool

    size, stride, padding = window[:2], window[2:4], window[4:6]
    images, height, width, words = bits.shape
    outputs = _pooled_size((height, width), window, ceil_mode)
    pooled = torch.empty((images, *outputs, words), dtype=torch.int32)
    pool(
        _unsigned(bits.contiguous()),
        tuple(size),
        tuple(stride),
        tuple(padding),
        _unsigned(flips),
        _unsigned(pooled),
    )
    return pooled


def _pooled_size(size: tuple[int, int], window: list[int], ceil_mode: bool) -> tuple[int, int]:
    found = []
    for axis in (0, 1):
        kernel, stride, padding = window[axis], window[2 + axis], window[4 + axis]
        room = size[axis] + 2 * padding - kernel
        count = -(-room // stride) + 1 if ceil_mode else room // stride + 1
        # as torch: no window begins in the padding after the last entry
        if ceil_mode and (count - 1) * stride >= size[axis] + padding:
            count -= 1
        found.append(count)
    return found[0], found[1]


def _fake_size(bits: Tensor, window: list[int]) -> tuple[int, int]:
    return Window.unflatten(window).outputs(bits.shape[1], bits.shape[2])


@torch.library.register_fake("vispa::pack_signs", lib=LIBRARY)
def _fake_pack_signs(values: Tensor, rows: bool) -> Tensor:
    shape = values.shape
    words = _words(shape[-1 if rows else 1])
    sizes = (*shape[:-1], words) if rows else (shape[0], shape[2], shape[3], words)
    return values.new_empty(sizes, dtype=torch.int32)


@torch.library.register_fake("vispa::packed_to_bits", lib=LIBRARY)
def _fake_to_bits(
    bits: Tensor, weights: Tensor, limits: Tensor, flips: Tensor, window: list[int], kernel: str
) -> Tensor:
    return bits.new_empty((bits.shape[0], *_fake_size(bits, window), limits.shape[1] // 32))


def _fake_floats(
    bits: Tensor, weights: Tensor, bases: Tensor, numbers: Tensor, steps: int, residual: Tensor | None,
    channels: int, window: list[int], kernel: str,
) -> Tensor:  # fmt: skip
    size = (bits.shape[0], *_fake_size(bits, window), channels)
    return bits.new_empty(size, dtype=torch.float32).permute(0, 3, 1, 2)


def _fake_both(*arguments: Any) -> tuple[Tensor, Tensor]:
    bits, channels, window = arguments[0], arguments[6], arguments[7]
    signs = bits.new_empty((bits.shape[0], *_fake_size(bits, window), _words(channels)))
    return _fake_floats(*arguments), signs


torch.library.register_fake("vispa::packed_to_floats", _fake_floats, lib=LIBRARY)
torch.library.register_fake("vispa::packed_to_both", _fake_both, lib=LIBRARY)


@torch.library.register_fake("vispa::packed_sums", lib=LIBRARY)
def _fake_sums(bits: Tensor, weights: Tensor, channels: int, window: list[int], kernel: str) -> Tensor:
    return bits.new_empty((bits.shape[0], *_fake_size(bits, window), channels)).permute(0, 3, 1, 2)


@torch.library.register_fake("vispa::pool_bits", lib=LIBRARY)
def _fake_pool(bits: Tensor, flips: Tensor, window: list[int], ceil_mode: bool) -> Tensor:
    size = _pooled_size((bits.shape[1], bits.shape[2]), window, ceil_mode)
    return bits.new_empty((bits.shape[0], *size, bits.shape[3]))


for _name, _function in {
    "pack_signs": _pack_signs,
    "packed_to_bits": _packed_to_bits,
    "packed_to_floats": _packed_to_floats,
    "packed_to_both": _packed_to_both,
    "packed_sums": _packed_sums,
    "pool_bits": _pool_bits,
}.items():
    LIBRARY.impl(_name, _function, "CPU")
