"""The operators ``torch.ops.vispa`` on tensors that are on no processor, by Triton or by torch's own operations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vispa.deploy.devices import by_triton, unpacked
from vispa.deploy.devices.by_triton import BITS, BOTH, FLOATS, SUMS
from vispa.deploy.geometry import Window, pooled_size
from vispa.deploy.layout import kernel_on

__all__ = [
    "pack_signs",
    "packed_sums",
    "packed_to_bits",
    "packed_to_both",
    "packed_to_floats",
    "pool_bits",
    "real_linear",
]


def pack_signs(values: Tensor, rows: bool) -> Tensor:
    """Signs of floats as bits, channels last."""
    if not rows and values.ndim != 4:
        raise ValueError(
            f"inputs must be (images, channels, height, width); found shape {tuple(values.shape)}"
        )
    if values.dtype != torch.float32:
        raise TypeError(f"inputs of packed layers must be float32; found {values.dtype}")
    shape = values.shape if rows else values.permute(0, 2, 3, 1).shape
    bits = torch.empty((*shape[:-1], -(-shape[-1] // 32)), dtype=torch.int32, device=values.device)
    home = by_triton if kernel_on(values.device, "") == "triton" else unpacked
    home.sign_words(values.detach(), bits, rows)
    return bits


def packed_to_bits(
    bits: Tensor, weights: Tensor, limits: Tensor, flips: Tensor, window: list[int], kernel: str
) -> Tensor:
    """Bits of a packed layer's outputs."""
    size = Window.unflatten(window).outputs_of(bits.shape[1], bits.shape[2])
    signs = bits.new_empty((bits.shape[0], *size, limits.shape[1] // 32))
    _home(kernel).packed_layer(
        bits.contiguous(),
        weights,
        limits,
        flips,
        None,
        None,
        None,
        signs,
        size,
        limits.shape[1],
        window,
        BITS,
    )
    return signs


def packed_to_floats(
    bits: Tensor, weights: Tensor, bases: Tensor, numbers: Tensor, steps: int, residual: Tensor | None,
    channels: int, window: list[int], kernel: str,
) -> Tensor:  # fmt: skip
    """Floats of a packed layer."""
    return _floats(bits, weights, bases, numbers, steps, residual, channels, window, kernel, FLOATS)[0]


def packed_to_both(
    bits: Tensor, weights: Tensor, bases: Tensor, numbers: Tensor, steps: int, residual: Tensor | None,
    channels: int, window: list[int], kernel: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Floats of a packed layer, and the bits of their signs."""
    return _floats(bits, weights, bases, numbers, steps, residual, channels, window, kernel, BOTH)


def packed_sums(bits: Tensor, weights: Tensor, channels: int, window: list[int], kernel: str) -> Tensor:
    """Numbers of differing signs."""
    size = Window.unflatten(window).outputs_of(bits.shape[1], bits.shape[2])
    sums = bits.new_empty((bits.shape[0], *size, channels))
    _home(kernel).packed_layer(
        bits.contiguous(), weights, None, None, None, None, sums, None, size, channels, window, SUMS
    )
    return sums.permute(0, 3, 1, 2)


def real_linear(inputs: Tensor, words: Tensor, scale: Tensor, bias: Tensor, kernel: str) -> Tensor:
    """Floats of a linear layer of float inputs and binary weights."""
    if inputs.dtype != torch.float32 or -(-inputs.shape[1] // 32) != words.shape[1]:
        raise TypeError(
            f"inputs must be float32 rows for {words.shape[1]} words of signs; found {inputs.dtype} "
            f"{tuple(inputs.shape)}"
        )
    outputs = inputs.new_empty((len(inputs), len(scale)))
    # a kernel reads all signs again for every row, so that many are better served by a product of matrices
    home = by_triton if kernel == "triton" and len(inputs) <= by_triton.FEW_ROWS else unpacked
    home.real_linear(inputs.detach().contiguous(), words, scale, bias, outputs)
    return outputs


def pool_bits(bits: Tensor, flips: Tensor, window: list[int], ceil_mode: bool) -> Tensor:
    """Maxima of signs that are bits: negative where all in a window are."""
    height, width = pooled_size((bits.shape[1], bits.shape[2]), window, ceil_mode)
    down, across, stride_y, stride_x, above, left = window
    below = max(0, (height - 1) * stride_y + down - above - bits.shape[1])
    right = max(0, (width - 1) * stride_x + across - left - bits.shape[2])
    # all bits set: what lies outside is no maximum
    image = functional.pad(bits ^ flips, (0, 0, left, right, above, below), value=-1)
    found = torch.full_like(image[:, :1, :1], -1).expand(-1, height, width, -1)
    for y in range(down):
        for x in range(across):
            rows = image[:, y : y + (height - 1) * stride_y + 1 : stride_y]
            found = found & rows[:, :, x : x + (width - 1) * stride_x + 1 : stride_x]
    return found ^ flips


def _floats(
    bits: Tensor, weights: Tensor, bases: Tensor, numbers: Tensor, steps: int, residual: Tensor | None,
    channels: int, window: list[int], kernel: str, mode: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    size = Window.unflatten(window).outputs_of(bits.shape[1], bits.shape[2])
    images = bits.shape[0]
    outputs = bits.new_empty((images, *size, channels), dtype=torch.float32)
    signs = bits.new_empty((images, *size, -(-channels // 32)))
    if residual is not None:
        residual = residual.detach().expand(images, channels, *size).permute(0, 2, 3, 1).contiguous()
    _home(kernel).packed_layer(
        bits.contiguous(),
        weights,
        bases,
        None,
        numbers,
        residual,
        outputs,
        signs,
        size,
        channels,
        window,
        mode,
        steps,
    )
    return outputs.permute(0, 3, 1, 2), signs


def _home(kernel: str) -> Any:
    return by_triton if kernel == "triton" else unpacked
