"""Numbers of differing signs between pixels and 32 output channels, by one of three kernels.

The dtype of the weights chooses. uint32 (blocks, words, 32): a word is 32 signs of a channel; processors with
AVX-512 count its ones in one instruction. int32, the same words: counted byte by byte, on any processor. uint8
(blocks, 8 words, 32): a byte is four signs, which look up their number of differences from four signs of two
pixels at once in a table of sixteen bytes, one shuffle of AVX2.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from solvers.kernels.compile import kernel
from vispa.deploy.kernels.tables import TABLES, table_tile
from vispa.deploy.kernels.words import LANES, NARROW, WIDE, narrow_tile, single_tile, wide_tile

__all__ = ["LANES", "PANEL", "count", "prepare"]

# From so many pixels on a wide tile, some of it wasted, is faster than one pixel after another.
FEW = 4
# Pixels of one panel, a multiple of both tiles: their counts, 8 KB, stay in the first cache.
PANEL = 64


@kernel()
def _index_panel(bits, starts, first, pixels, offsets, panel):
    """Bytes that choose tables: four signs of an even pixel low, of the odd one after it high."""
    low, high = np.uint32(0x0F0F0F0F), np.uint32(0xF0F0F0F0)
    four = np.uint32(4)
    halves = panel.view(np.uint32)
    for pair in range((pixels + 1) // 2):
        even, odd = starts[first + 2 * pair], starts[first + 2 * pair + 1]
        for word in range(offsets.shape[0]):
            a, b = np.uint32(bits[even + offsets[word]]), np.uint32(bits[odd + offsets[word]])
            halves[pair, 2 * word] = (a & low) | ((b & low) << four)
            halves[pair, 2 * word + 1] = ((a >> four) & low) | (b & high)


def prepare(bits, starts, first, pixels, offsets, weights, panel):
    """Lay out what the kernel of the weights needs of some pixels, once for all output channels."""


@overload(prepare)
def _prepare(bits, starts, first, pixels, offsets, weights, panel):
    if weights.dtype == types.uint8:

        def indices(bits, starts, first, pixels, offsets, weights, panel):
            _index_panel(bits, starts, first, pixels, offsets, panel)

        return indices
    return lambda bits, starts, first, pixels, offsets, weights, panel: None


def count(bits, starts, first, pixels, offsets, weights, block, panel, counts):
    """Fill counts[: pixels] with numbers of differing signs from the 32 channels of a block."""


@overload(count)
def _count(bits, starts, first, pixels, offsets, weights, block, panel, counts):
    if weights.dtype == types.uint8:

        def by_tables(bits, starts, first, pixels, offsets, weights, block, panel, counts):
            for pixel in range(0, pixels, WIDE):
                table_tile(panel, pixel // 2, TABLES, weights, block, counts, pixel)

        return by_tables
    if weights.dtype == types.uint32:

        def by_words(bits, starts, first, pixels, offsets, weights, block, panel, counts):
            pixel = 0
            while pixels - pixel >= FEW:
                wide_tile(bits, starts, first + pixel, offsets, weights, block, counts, pixel)
                pixel += WIDE
            for last in range(pixel, pixels):
                single_tile(bits, starts, first + last, offsets, weights, block, counts, last)

        return by_words

    def by_bytes(bits, starts, first, pixels, offsets, weights, block, panel, counts):
        for pixel in range(0, pixels, NARROW):
            narrow_tile(bits, starts, first + pixel, offsets, weights, block, counts, pixel)

    return by_bytes
