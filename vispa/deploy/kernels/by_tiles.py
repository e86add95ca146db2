"""The steps of the tile kernel: its memory, pixels as bytes, and panels of counts."""

from __future__ import annotations

import numpy as np

from solvers.kernels.compile import kernel
from vispa.deploy.kernels.extent import BEGAN, BY_TILES, BY_WORDS, CALLS, REACH, SIZE, STEP, TIMES
from vispa.deploy.kernels.tiles import (
    KEPT,
    ROWS,
    TILE,
    WIDTH,
    clock,
    configure,
    leave,
    multiply_one,
    multiply_two,
    negative_signs,
    spread_line,
    spread_pairs,
    spread_words,
)
from vispa.deploy.kernels.words import WIDE, single_tile, wide_tile

__all__ = ["begin", "choose", "count_panel", "finish", "spread"]

# Fewer pixels than this are counted faster one after another than by a tile of their own.
FEW = 7
# From so many pixels on eight at once, some of them wasted, are faster than one after another.
WORTH_WASTE = 4
# The configuration and the tiles of channels come before those of pixels.
BEFORE = 1 + 2 * KEPT
# Bytes of a word whose signs are bytes.
SPREAD = 32
# The slower way is tried again in one call of so many: what is faster changes with what else the core does.
AGAIN = 64
# Times below this were not taken, but say which way is the first to be tried.
GUESS = 2


@kernel()
def _in_tiles(pixels):
    """How many of some pixels are counted by tiles; the rest one by one."""
    rest = pixels % ROWS
    return pixels if rest >= FEW else pixels - rest


@kernel()
def choose(extents):
    """The extent of the way that was faster of late: what else a machine does can make tiles three times slower."""
    times = extents[TIMES]
    times[CALLS] += 1
    slower = times[CALLS] % AGAIN == 0
    tiles = (times[BY_TILES] <= times[BY_WORDS]) != slower
    times[BEGAN] = clock()
    return extents[BY_TILES if tiles else BY_WORDS]


@kernel()
def finish(extents, extent):
    """Write down how long a call took, and leave the processor as it was before `begin`."""
    if extent[STEP] >= 0:
        leave()
    times, way = extents[TIMES], BY_TILES if extent[STEP] >= 0 else BY_WORDS
    taken = clock() - times[BEGAN]
    # a call that was interrupted is no reason to change
    times[way] = taken if times[way] < GUESS else min(taken, times[way] + times[way] // 4)


@kernel()
def begin(weights, extent):
    """Tiles, in use from here on; numbers of negative signs; where signs of a step are; the weights in words."""
    steps, words = (weights.shape[1] + 1) // 2, weights.view(np.uint32)
    if extent[STEP] < 0:
        return np.empty((0, TILE), np.uint8), np.empty((0, 32), np.int32), np.empty(0, np.int64), words
    most = -(-extent[SIZE] // ROWS)
    if extent[STEP] > 0:
        pixels = -(-(SPREAD * (most * ROWS * extent[STEP] + extent[REACH])) // TILE)
    else:
        pixels = most * steps
    memory = np.empty(TILE * (BEFORE + pixels + 1), np.uint8)
    first = -memory.ctypes.data % WIDTH
    tiles = memory[first : first + TILE * (BEFORE + pixels)].reshape(BEFORE + pixels, TILE)
    tiles[0, :WIDTH] = 0
    tiles[0, 0] = 1
    for name in range(8):
        # bytes of a row, rows
        tiles[0, 16 + 2 * name] = WIDTH
        tiles[0, 48 + name] = ROWS
    negative = np.empty((weights.shape[0], 32), np.int32)
    for block in range(weights.shape[0]):
        negative_signs(weights, block, negative)
    configure(tiles)
    return tiles, negative, np.empty(steps, np.int64), words


@kernel()
def spread(bits, starts, each, run, first, pixels, offsets, extent, memory):
    """Write the signs of some pixels as bytes: as a line where they lie in one, or as tiles."""
    tiles, steps = memory[0], memory[2]
    if extent[STEP] == 0:
        _spread_tiles(bits, starts, each, first, pixels, offsets, tiles, steps)
    if extent[STEP] <= 0:
        return
    word, flat = first * extent[STEP], bits.reshape(-1)
    last = min(word + -(-pixels // ROWS) * ROWS * extent[STEP] + extent[REACH], bits.shape[1])
    for place in range(0, last - word, 2):
        spread_line(flat, run * bits.shape[1] + word + place, tiles, TILE * BEFORE + SPREAD * place)
    for step in range(steps.shape[0]):
        steps[step] = SPREAD * offsets[2 * step]


@kernel()
def _spread_tiles(bits, starts, each, first, pixels, offsets, tiles, steps):
    """Write a tile for every 16 pixels and 64 signs; the pixels of all images are numbered in one row."""
    image, pixel, flat = first // each, first % each, bits.reshape(-1)
    whole = offsets.shape[0] // 2
    adjacent = True
    for step in range(steps.shape[0]):
        steps[step] = TILE * step
        adjacent &= step >= whole or offsets[2 * step + 1] == offsets[2 * step] + 1
    begins = np.zeros(ROWS, np.int64)
    for place in range(0, _in_tiles(pixels), ROWS):
        for row in range(min(ROWS, pixels - place)):
            begins[row] = image * bits.shape[1] + starts[pixel]
            pixel += 1
            if pixel == each:
                image, pixel = image + 1, 0
        tile = BEFORE + steps.shape[0] * (place // ROWS)
        for step in range(whole):
            if adjacent:
                spread_pairs(flat, begins, offsets[2 * step], tiles, tile + step)
            else:
                spread_words(flat, begins, offsets[2 * step], offsets[2 * step + 1], tiles, tile + step)
        if whole < steps.shape[0]:
            spread_words(flat, begins, offsets[2 * whole], -1, tiles, tile + whole)


@kernel()
def count_panel(
    bits, starts, each, run, first, place, pixels, panel, offsets, weights, block, extent, memory, counts
):
    """Fill counts with those of a panel, from its pixel `place` on, of some pixels that were spread."""
    wide = min(panel, pixels - place)
    if extent[STEP] < 0:
        count_words(bits[run], starts, first + place, wide, offsets, memory[3], block, counts)
        return
    tiles, negative, steps, words = memory
    if extent[STEP] > 0:
        tiled, stride = wide, SPREAD * extent[STEP]
        beyond = stride * ROWS
    else:
        tiled, stride, beyond = max(0, min(wide, _in_tiles(pixels) - place)), WIDTH, TILE * steps.shape[0]
    for row in range(0, tiled, 2 * ROWS):
        at = TILE * BEFORE + (place + row) // ROWS * beyond
        if row + ROWS < tiled:
            multiply_two(weights, block, negative, steps, tiles, at, at + beyond, stride, counts, row)
        else:
            multiply_one(weights, block, negative, steps, tiles, at, at, stride, counts, row)
    for row in range(tiled, wide):
        pixel = first + place + row
        single_tile(bits[pixel // each], starts, pixel % each, offsets, words, block, counts, row)


@kernel()
def count_words(bits, starts, first, pixels, offsets, weights, block, counts):
    """Fill counts of some pixels of one image, signs counted in words of 32."""
    pixel = 0
    while pixels - pixel >= WORTH_WASTE:
        wide_tile(bits, starts, first + pixel, offsets, weights, block, counts, pixel)
        pixel += WIDE
    for last in range(pixel, pixels):
        single_tile(bits, starts, first + last, offsets, weights, block, counts, last)
