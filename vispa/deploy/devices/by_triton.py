"""Operators of packed layers by Triton's kernels: which tiles, and what each kernel is handed.

They were run in Triton's interpreter and compiled for NVIDIA's processors, but never run or timed on one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from solvers.linalg.rank import power_of_two
from vispa.deploy.geometry import Window

__all__ = ["BITS", "BOTH", "FLOATS", "SUMS", "packed_layer", "real_linear", "sign_words"]

SUMS, BITS, FLOATS, BOTH = range(4)
# Rows, words and channels of a tile of products. Compiled for A100 and H100, its loop issues 1,100 and 1,600
# products a cycle, half of that with tiles of 64; counting words gets 512.
PRODUCT_TILE, PRODUCT_WARPS = (128, 4, 128), 8
# Sums that a tile of words has under way, 32 for each thread of four warps.
UNDER_WAY = 4096
WORD_WARPS, MOST_ROWS = 4, 16
# Rows of float inputs up to which signs are read anew for each: 16 times a bit is half of a float once.
FEW_ROWS = 16
# Rows of floats whose signs a program packs.
PACKED_ROWS = 64


def packed_layer(
    bits: Tensor, weights: Tensor, constants: Tensor | None, flips: Tensor | None, numbers: Tensor | None,
    residual: Tensor | None, outputs: Tensor | None, signs: Tensor | None, size: tuple[int, int], channels: int,
    window: list[int], mode: int, steps: int = 0, products: bool | None = None,
) -> None:  # fmt: skip
    """Fill outputs (rows, channels), and signs (rows, words), of a packed layer; size is of its output images.

    products chooses the kernel; None takes the one that should be fast.
    """
    from vispa.deploy.devices import triton_kernels

    images, height, width, pixel_words = bits.shape
    rows, groups = images * size[0] * size[1], window[14]
    if rows == 0:
        return
    shape = Window.unflatten(window)
    geometry = (*window, shape.stops(0), shape.stops(1), len(shape.intervals(1)))
    padded = weights.shape[0] * 32
    in_group = padded // groups
    if products is None:
        products = _fills_the_device(bits.device, rows, padded)
    tile = PRODUCT_TILE if products else _word_tile(rows, weights.shape[1])
    grid = (-(-rows // tile[0]), -(-in_group // tile[2]), groups)
    # a pointer that a mode does not read is any
    given = [bits if each is None else each for each in (constants, flips, numbers, residual, outputs, signs)]
    with torch.cuda.device_of(bits):
        triton_kernels.packed_layer[grid](
            bits, weights, *given, rows, channels, padded, in_group, height, width, *size, pixel_words,
            pixel_words // groups, GEOMETRY=geometry, TOTAL=weights.shape[1], OUTPUTS=mode, STEPS=steps,
            PRODUCTS=products, ROWS=tile[0], WORDS=tile[1], CHANNELS=tile[2], enable_fp_fusion=False,
            num_warps=PRODUCT_WARPS if products else WORD_WARPS,
        )  # fmt: skip


def _word_tile(rows: int, words: int) -> tuple[int, int, int]:
    """Rows, words and channels: few rows leave room for more words at once, which hides the wait for memory."""
    tall = min(MOST_ROWS, power_of_two(rows))
    return tall, min(UNDER_WAY // (32 * tall), power_of_two(words)), 32


def _fills_the_device(device: torch.device, rows: int, channels: int) -> bool:
    """Whether tiles of products are as many as multiprocessors, so that none of these waits for others."""
    if device.type != "cuda":
        return False
    tiles = -(-rows // PRODUCT_TILE[0]) * -(-channels // PRODUCT_TILE[2])
    return bool(tiles >= torch.cuda.get_device_properties(device).multi_processor_count)


def real_linear(inputs: Tensor, words: Tensor, scale: Tensor, bias: Tensor, outputs: Tensor) -> None:
    """Fill outputs (rows, channels) with scale * (inputs @ signs) + bias, a program for 32 channels of a row."""
    from vispa.deploy.devices import triton_kernels

    rows, channels = outputs.shape
    if rows == 0:
        return
    together = min(4, power_of_two(words.shape[1]))
    with torch.cuda.device_of(inputs):
        triton_kernels.real_row[rows, -(-channels // 32)](
            inputs, words, scale, bias, outputs, inputs.shape[1], channels,
            TOTAL=words.shape[1], WORDS=together, CHANNELS=32, enable_fp_fusion=False,
        )  # fmt: skip


def sign_words(values: Tensor, bits: Tensor, rows: bool) -> None:
    """Fill bits (..., words) with the signs of floats, whose channels are the last axis, of images the second."""
    from vispa.deploy.devices import triton_kernels

    words = bits.shape[-1]
    count = bits.numel() // max(words, 1)
    if count == 0:
        return
    if rows:
        values = values.contiguous()
        channels = values.shape[-1]
        pixels, steps = 1, (channels, 0, 1)
    else:
        last = values.is_contiguous(memory_format=torch.channels_last)
        values = values if last else values.contiguous()
        channels, pixels = values.shape[1], values.shape[2] * values.shape[3]
        steps = (channels * pixels, *((channels, 1) if last else (1, pixels)))
    with torch.cuda.device_of(values):
        triton_kernels.sign_words[-(-count // PACKED_ROWS), words](
            values, bits, count, pixels, channels, words, *steps, ROWS=PACKED_ROWS
        )
