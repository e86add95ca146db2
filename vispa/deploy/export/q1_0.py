"""Blocks of 128 signs with one scale: the type Q1_0 of llama.cpp, 9/8 bits a weight."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK", "objection", "to_blocks"]

# Signs of a block, and its bytes: a float16 scale, then the signs, the first in the lowest bit, 1 for positive.
BLOCK, BYTES = 128, 18
# Half the spacing of float16 around a number, of the number; a scale rounded further is below its normal range.
HALF_SPACING = 2.0**-11


def objection(weight: NDArray[np.float32]) -> str:
    """Why a matrix cannot be blocks of Q1_0, in words; empty where it can.

    Examples
    --------
    >>> objection(np.ones((2, 256), dtype=np.float32))
    ''
    >>> objection(np.ones((2, 100), dtype=np.float32))
    'its rows of 100 are no blocks of 128'
    """
    if weight.ndim != 2 or weight.size == 0:
        return "it is no matrix"
    if weight.shape[1] % BLOCK:
        return f"its rows of {weight.shape[1]} are no blocks of {BLOCK}"
    sizes = np.abs(weight).reshape(len(weight), -1, BLOCK)
    scales = sizes[:, :, :1]
    # NaN differs from itself; infinity fails the next test
    if not (sizes == scales).all():
        return f"a block of {BLOCK} has more than one absolute value"
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = scales.astype(np.float16).astype(np.float64)
    exact = scales.astype(np.float64)
    if not np.isfinite(rounded).all() or (np.abs(rounded - exact) > HALF_SPACING * exact).any():
        return f"float16 has no room for its scales, {exact.min():.3g} to {exact.max():.3g}"
    return ""


def to_blocks(weight: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The bytes (rows, 18 a block) of a matrix without `objection`; scales are rounded to float16.

    Examples
    --------
    >>> row = np.where(np.arange(128) < 3, 0.5, -0.5).astype(np.float32)
    >>> to_blocks(row[None])[0, :4].tolist()  # 0.5 as float16, then eight signs a byte
    [0, 56, 7, 0]
    """
    blocks = weight.reshape(-1, BLOCK)
    scales = np.abs(blocks[:, :1]).astype("<f2")
    signs = np.packbits(~np.signbit(blocks), axis=1, bitorder="little")
    joined = np.concatenate([scales.view(np.uint8), signs], axis=1)
    return joined.reshape(len(weight), weight.shape[1] // BLOCK * BYTES)
