"""Packed layers as operators of torch: seen by torch.export and torch.compile, run by compiled loops on a CPU.

Bits are int32 tensors, channels last, 32 signs a word, 1 for negative: (images, height, width, words). Floats that
come out are (images, channels, height, width) in channels-last memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.library import Library

from vispa.deploy.calls import Call, packer, pool_bits, words_for
from vispa.deploy.geometry import Window, pooled_size
from vispa.deploy.real_products import RealProducts

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
LIBRARY.define("real_linear(Tensor inputs, Tensor words, Tensor scale, Tensor bias, str kernel) -> Tensor")
LIBRARY.define("pool_bits(Tensor bits, Tensor flips, int[] window, bool ceil_mode) -> Tensor")


def _pack_signs(values: Tensor, rows: bool) -> Tensor:
    if not rows and values.ndim != 4:
        raise ValueError(
            f"inputs must be (images, channels, height, width); found shape {tuple(values.shape)}"
        )
    bits = _fake_pack_signs(values, rows)
    packer(bits, rows)(values)
    return bits


def _packed_to_bits(
    bits: Tensor, weights: Tensor, limits: Tensor, flips: Tensor, window: list[int], kernel: str
) -> Tensor:
    call = Call(bits.contiguous(), weights, window, kernel)
    outputs = call.empty(limits.shape[1] // 32, torch.int32)
    call.run(call.to_bits(limits, flips, outputs))
    return call.last(outputs)


def _packed_to_floats(
    bits: Tensor, weights: Tensor, bases: Tensor, numbers: Tensor, steps: int, residual: Tensor | None,
    channels: int, window: list[int], kernel: str,
) -> Tensor:  # fmt: skip
    call = Call(bits.contiguous(), weights, window, kernel)
    outputs = call.empty(channels, torch.float32)
    call.run(call.to_floats(bases, numbers, steps, call.beside(residual, channels), outputs, None))
    return call.first(outputs)


def _packed_to_both(
    bits: Tensor, weights: Tensor, bases: Tensor, numbers: Tensor, steps: int, residual: Tensor | None,
    channels: int, window: list[int], kernel: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    call = Call(bits.contiguous(), weights, window, kernel)
    outputs, signs = call.empty(channels, torch.float32), call.empty(words_for(channels), torch.int32)
    call.run(call.to_floats(bases, numbers, steps, call.beside(residual, channels), outputs, signs))
    return call.first(outputs), call.last(signs)


def _packed_sums(bits: Tensor, weights: Tensor, channels: int, window: list[int], kernel: str) -> Tensor:
    call = Call(bits.contiguous(), weights, window, kernel)
    sums = call.empty(channels, torch.int32)
    call.run(call.to_sums(sums))
    return call.first(sums)


def _real_linear(inputs: Tensor, words: Tensor, scale: Tensor, bias: Tensor, kernel: str) -> Tensor:
    return RealProducts()(inputs, words, scale, bias, kernel)


def _pool_bits(bits: Tensor, flips: Tensor, window: list[int], ceil_mode: bool) -> Tensor:
    pooled = _fake_pool(bits, flips, window, ceil_mode)
    function, arguments = pool_bits(bits.contiguous(), flips, window, pooled)
    function(*arguments)
    return pooled


def _fake_size(bits: Tensor, window: list[int]) -> tuple[int, int]:
    return Window.unflatten(window).outputs(bits.shape[1], bits.shape[2])


def _off_the_processor(name: str) -> Callable[..., Any]:
    """The operator on another device, imported when it is called."""

    def run(*arguments: Any) -> Any:
        from vispa.deploy.devices import operators

        return getattr(operators, name)(*arguments)

    return run


@torch.library.register_fake("vispa::pack_signs", lib=LIBRARY)
def _fake_pack_signs(values: Tensor, rows: bool) -> Tensor:
    shape = values.shape
    words = words_for(shape[-1 if rows else 1])
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
    signs = bits.new_empty((bits.shape[0], *_fake_size(bits, window), words_for(channels)))
    return _fake_floats(*arguments), signs


torch.library.register_fake("vispa::packed_to_floats", _fake_floats, lib=LIBRARY)
torch.library.register_fake("vispa::packed_to_both", _fake_both, lib=LIBRARY)


@torch.library.register_fake("vispa::packed_sums", lib=LIBRARY)
def _fake_sums(bits: Tensor, weights: Tensor, channels: int, window: list[int], kernel: str) -> Tensor:
    return bits.new_empty((bits.shape[0], *_fake_size(bits, window), channels)).permute(0, 3, 1, 2)


@torch.library.register_fake("vispa::real_linear", lib=LIBRARY)
def _fake_real(inputs: Tensor, words: Tensor, scale: Tensor, bias: Tensor, kernel: str) -> Tensor:
    return inputs.new_empty((inputs.shape[0], scale.shape[0]))


@torch.library.register_fake("vispa::pool_bits", lib=LIBRARY)
def _fake_pool(bits: Tensor, flips: Tensor, window: list[int], ceil_mode: bool) -> Tensor:
    size = pooled_size((bits.shape[1], bits.shape[2]), window, ceil_mode)
    return bits.new_empty((bits.shape[0], *size, bits.shape[3]))


for _name, _function in {
    "pack_signs": _pack_signs,
    "packed_to_bits": _packed_to_bits,
    "packed_to_floats": _packed_to_floats,
    "packed_to_both": _packed_to_both,
    "packed_sums": _packed_sums,
    "pool_bits": _pool_bits,
    "real_linear": _real_linear,
}.items():
    LIBRARY.impl(_name, _function, "CPU")
    for _device in ("CUDA", "MPS", "XPU"):
        LIBRARY.impl(_name, _off_the_processor(_name), _device)
