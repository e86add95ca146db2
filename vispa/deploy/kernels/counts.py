"""Numbers of differing signs between pixels and 32 output channels, by one of four kernels.

The dtype of the weights chooses. uint32 (blocks, words, 32): a word is 32 signs of a channel; processors with
AVX-512 count its ones in one instruction. int32, the same words: counted byte by byte, on any processor. uint64
(blocks, words, 16), the same memory: products of bytes by tiles of AMX. uint8 (blocks, 8 words, 32): a byte is four
signs, which look up their number of differences from four signs of two pixels at once in a table of sixteen bytes,
one shuffle of AVX2.

Pixels are prepared a stretch at a time, and counted a panel at a time for every block of channels. A stretch is a
panel of one image; the tile kernel's is longer where pixels lie in one line, or goes on in the next image.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from solvers.kernels.compile import kernel
from vispa.deploy.kernels import by_tiles
from vispa.deploy.kernels.bare import bare
from vispa.deploy.kernels.tables import TABLES, table_tile
from vispa.deploy.kernels.words import LANES, NARROW, WIDE, narrow_tile

__all__ = ["LANES", "PANEL", "bare_all", "begin", "choose", "count", "end", "prepare"]

# Pixels of one panel, a multiple of all tiles: their counts, 8 KB, stay in the first cache.
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


def choose(weights, extents):
    """The extent that a call goes through."""


@overload(choose)
def _choose(weights, extents):
    if weights.dtype == types.uint64:
        return lambda weights, extents: by_tiles.choose(extents)
    return lambda weights, extents: extents[0]


def begin(weights, panel, extent):
    """The memory in which pixels are laid out."""


@overload(begin)
def _begin(weights, panel, extent):
    if weights.dtype == types.uint64:
        return lambda weights, panel, extent: by_tiles.begin(weights, extent)
    return lambda weights, panel, extent: panel


def bare_all(memory):
    """The memory without counts of references: it lives until `end`."""


@overload(bare_all)
def _bare_all(memory):
    if isinstance(memory, types.Array):
        return lambda memory: bare(memory)
    return lambda memory: (bare(memory[0]), bare(memory[1]), bare(memory[2]), bare(memory[3]))


def end(weights, extents, extent, memory):
    """Leave the processor as it was before `begin`, and give the memory back."""


@overload(end)
def _end(weights, extents, extent, memory):
    if weights.dtype == types.uint64:
        return lambda weights, extents, extent, memory: by_tiles.finish(extents, extent)
    return lambda weights, extents, extent, memory: None


def prepare(bits, starts, each, run, first, wide, offsets, weights, extent, memory):
    """Lay out what the kernel of the weights needs of some pixels, once for all output channels."""


@overload(prepare)
def _prepare(bits, starts, each, run, first, wide, offsets, weights, extent, memory):
    if weights.dtype == types.uint8:

        def indices(bits, starts, each, run, first, wide, offsets, weights, extent, memory):
            _index_panel(bits[run], starts, first, wide, offsets, memory)

        return indices
    if weights.dtype == types.uint64:

        def spread(bits, starts, each, run, first, wide, offsets, weights, extent, memory):
            by_tiles.spread(bits, starts, each, run, first, wide, offsets, extent, memory)

        return spread
    return lambda bits, starts, each, run, first, wide, offsets, weights, extent, memory: None


def count(bits, starts, each, run, first, place, wide, offsets, weights, block, extent, memory, counts):
    """Fill counts with numbers of signs that differ from a block's 32 channels: of a panel, from `place` on."""


@overload(count, inline="always")
def _count(bits, starts, each, run, first, place, wide, offsets, weights, block, extent, memory, counts):
    if weights.dtype == types.uint8:

        def look_up(
            bits, starts, each, run, first, place, wide, offsets, weights, block, extent, memory, counts
        ):
            for pixel in range(0, wide, WIDE):
                table_tile(memory, pixel // 2, TABLES, weights, block, counts, pixel)

        return look_up
    if weights.dtype == types.uint64:

        def multiply(
            bits, starts, each, run, first, place, wide, offsets, weights, block, extent, memory, counts
        ):
            by_tiles.count_panel(
                bits, starts, each, run, first, place, wide, PANEL, offsets, weights, block, extent, memory, counts
            )  # fmt: skip

        return multiply
    if weights.dtype == types.uint32:

        def in_words(
            bits, starts, each, run, first, place, wide, offsets, weights, block, extent, memory, counts
        ):
            by_tiles.count_words(bits[run], starts, first, wide, offsets, weights, block, counts)

        return in_words

    def in_bytes(
        bits, starts, each, run, first, place, wide, offsets, weights, block, extent, memory, counts
    ):
        for pixel in range(0, wide, NARROW):
            narrow_tile(bits[run], starts, first + pixel, offsets, weights, block, counts, pixel)

    return in_bytes
