"""How the pixels of a layer are gone through: one by one, or in the lines that the tile kernel is fast on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vispa.deploy.geometry import Plan, Window

__all__ = ["extents_of", "pays"]

# Pixels of a panel and of a tile.
PANEL, ROWS = 64, 16
# Words of a line that are bytes at a time: 512 KB of them, which lie in the second cache.
LINE = 16384
# What it takes to copy a step of a tile of pixels, in products of tiles.
COPY = 3
# Pixels, and words of a window, from which on tiles can be faster than words.
MANY, LONG = 7, 16


def pays(plan: Plan, images: int) -> bool:
    """Whether a layer has so many pixels, and so long windows, that tiles can be faster than words."""
    return images * plan.outputs[0] * plan.outputs[1] >= MANY and plan.offsets.shape[1] >= LONG


def extents_of(
    kernel: str, plan: Plan, window: Window, images: int, words: int, blocks: int
) -> NDArray[np.int64]:
    """The numbers of `vispa.deploy.kernels.extent` for images with so many words a pixel, and blocks of channels.

    The first row is the kernel's; of the tile kernel the second is that of counting words, and the third has the
    times of calls, by which a loop finds out what is faster.
    """
    pixels = plan.outputs[0] * plan.outputs[1]
    apart = [images, pixels, PANEL, max(pixels, 1), max(pixels, 1), -1, 0]
    if kernel != "tile":
        return np.array([apart])
    # tiles are the first to be tried
    times = [0, 1, 0, 0, 0, 0, 0]
    return np.array([_in_tiles(plan, window, images, words, blocks), apart, times])


def _in_tiles(plan: Plan, window: Window, images: int, words: int, blocks: int) -> list[int]:
    """How the tile kernel goes through pixels.

    Padded images lie in memory row after row, so that windows of neighbouring pixels begin one step after another,
    through the end of a row into the next if the pixels between are counted as well. Where that costs less, no
    pixels are copied, once for each window that they are in.
    """
    pixels = plan.outputs[0] * plan.outputs[1]
    every = 2 * blocks // window.groups
    length = (plan.outputs[0] - 1) * plan.padded[1] + plan.outputs[1]
    in_line, copied = images * -(-length // ROWS) * every, -(-images * pixels // ROWS) * (every + COPY)
    steps_of_two = words // window.groups % 2 == 0
    if pixels and steps_of_two and window.stride[0] == window.stride[1] and in_line <= copied:
        step = window.stride[0] * words
        size = min(-(-length // PANEL), max(1, LINE // (step * PANEL))) * PANEL
        reach = int(plan.offsets.max()) + 2
        return [images, length, size, plan.padded[1], plan.outputs[1], step, reach]
    return [min(images, 1), images * pixels, PANEL, max(pixels, 1), max(pixels, 1), 0, 0]
