"""Packed layers of any geometry: pixels by where they start, signs of a window by where they lie from there."""

from __future__ import annotations

from solvers.kernels.compile import kernel
from vispa.deploy.kernels.counts import LANES, PANEL, count, prepare
from vispa.deploy.kernels.finish import above
from vispa.deploy.kernels.write import write


@kernel()
def to_sums(bits, starts, offsets, weights, sums, panel, counts):
    """Fill sums (images, pixels, channels) with numbers of differing signs: the integers of all that follows.

    bits is (images, words); starts (pixels and some to fill up the last tile); offsets (groups, words of a window).
    """
    images, pixels, channels = sums.shape
    blocks = weights.shape[0] // offsets.shape[0]
    for image in range(images):
        for group in range(offsets.shape[0]):
            for first in range(0, pixels, PANEL):
                wide = min(PANEL, pixels - first)
                prepare(bits[image], starts, first, wide, offsets[group], weights, panel)
                for block in range(group * blocks, (group + 1) * blocks):
                    count(bits[image], starts, first, wide, offsets[group], weights, block, panel, counts)
                    for pixel in range(wide):
                        for lane in range(min(LANES, channels - block * LANES)):
                            sums[image, first + pixel, block * LANES + lane] = counts[pixel, lane]


@kernel()
def to_bits(bits, starts, offsets, weights, classes, limits, flips, outputs, panel, counts):
    """Fill outputs (images, pixels, words) with the signs of what follows, one limit a class and channel."""
    images, pixels, words = outputs.shape
    blocks = weights.shape[0] // offsets.shape[0]
    row = words * LANES
    for image in range(images):
        for group in range(offsets.shape[0]):
            for first in range(0, pixels, PANEL):
                wide = min(PANEL, pixels - first)
                prepare(bits[image], starts, first, wide, offsets[group], weights, panel)
                for block in range(group * blocks, (group + 1) * blocks):
                    count(bits[image], starts, first, wide, offsets[group], weights, block, panel, counts)
                    for pixel in range(wide):
                        limit = classes[first + pixel] * row + block * LANES
                        word = above(counts, pixel, limits, limit)
                        outputs[image, first + pixel, block] = word ^ flips[block]


@kernel()
def to_floats(
    bits,
    starts,
    offsets,
    weights,
    classes,
    bases,
    numbers,
    steps,
    residual,
    outputs,
    signs,
    panel,
    counts,
    row,
):
    """Fill outputs (images, pixels, channels) with floats, and signs (images, pixels, words), unless empty, too."""
    images, pixels, channels = outputs.shape
    blocks = weights.shape[0] // offsets.shape[0]
    flat, beside, flat_signs = outputs.reshape(-1), residual.reshape(-1), signs.reshape(-1)
    for image in range(images):
        for group in range(offsets.shape[0]):
            for first in range(0, pixels, PANEL):
                wide = min(PANEL, pixels - first)
                prepare(bits[image], starts, first, wide, offsets[group], weights, panel)
                for block in range(group * blocks, (group + 1) * blocks):
                    count(bits[image], starts, first, wide, offsets[group], weights, block, panel, counts)
                    at = image * pixels + first
                    write(
                        counts, 0, wide, classes, first, bases, numbers, block, steps, beside, flat, at * channels,
                        channels, flat_signs, at * signs.shape[2], row,
                    )  # fmt: skip
