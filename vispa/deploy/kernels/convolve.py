"""Packed layers of any geometry: pixels by where they start, signs of a window by where they lie from there."""

from __future__ import annotations

from solvers.kernels.compile import kernel
from vispa.deploy.kernels.bare import bare
from vispa.deploy.kernels.counts import LANES, PANEL, bare_all, begin, choose, count, end, prepare
from vispa.deploy.kernels.extent import ACROSS, LENGTH, RUNS, SIZE, USEFUL
from vispa.deploy.kernels.finish import above
from vispa.deploy.kernels.write import write


@kernel()
def _stretches(extent, groups):
    """How many stretches of pixels there are, those of every group apart."""
    return extent[RUNS] * groups * -(-extent[LENGTH] // extent[SIZE])


@kernel()
def _stretch(number, groups, extent):
    """Run, group, first position and number of positions of a stretch."""
    pieces, size = -(-extent[LENGTH] // extent[SIZE]), extent[SIZE]
    first = number % pieces * size
    return number // (groups * pieces), number // pieces % groups, first, min(size, extent[LENGTH] - first)


@kernel()
def _beginning(run, position, pixels, extent):
    """The column of a position, and the first output pixel from there on: of all images, and of its own."""
    column = position % extent[ACROSS]
    at = run * pixels + position // extent[ACROSS] * extent[USEFUL] + min(column, extent[USEFUL])
    return column, at, at % pixels


@kernel()
def to_sums(bits, starts, offsets, weights, sums, extents, panel, counts):
    """Fill sums (images, pixels, channels) with numbers of differing signs: the integers of all that follows.

    bits is (images, words); starts (pixels and some to fill up the last tile); offsets (groups, words of a window).
    """
    pixels, channels = sums.shape[1:]
    groups = offsets.shape[0]
    blocks, flat = weights.shape[0] // groups, bare(sums.reshape(-1))
    bits, starts, offsets, weights, counts = (
        bare(bits),
        bare(starts),
        bare(offsets),
        bare(weights),
        bare(counts),
    )
    extent = bare(choose(weights, extents))
    owner = begin(weights, panel, extent)
    memory = bare_all(owner)
    for number in range(_stretches(extent, groups)):
        run, group, first, wide = _stretch(number, groups, extent)
        own = offsets[group]
        prepare(bits, starts, pixels, run, first, wide, own, weights, extent, memory)
        for place in range(0, wide, PANEL):
            begun = _beginning(run, first + place, pixels, extent)
            for block in range(group * blocks, (group + 1) * blocks):
                count(
                    bits, starts, pixels, run, first, place, wide, own, weights, block, extent, memory, counts
                )
                column, at, _ = begun
                position, last = 0, min(PANEL, wide - place)
                while position < last:
                    for row in range(position, min(last, position + extent[USEFUL] - column)):
                        for lane in range(min(LANES, channels - block * LANES)):
                            flat[at * channels + block * LANES + lane] = counts[row, lane]
                        at += 1
                    position, column = position + extent[ACROSS] - column, 0
    end(weights, extents, extent, owner)


@kernel()
def to_bits(bits, starts, offsets, weights, classes, limits, flips, outputs, extents, panel, counts):
    """Fill outputs (images, pixels, words) with the signs of what follows, one limit a class and channel."""
    pixels, words = outputs.shape[1:]
    groups = offsets.shape[0]
    blocks, flat = weights.shape[0] // groups, bare(outputs.reshape(-1))
    classes, limits, flips = bare(classes), bare(limits), bare(flips)
    bits, starts, offsets, weights, counts = (
        bare(bits),
        bare(starts),
        bare(offsets),
        bare(weights),
        bare(counts),
    )
    extent = bare(choose(weights, extents))
    owner = begin(weights, panel, extent)
    memory = bare_all(owner)
    for number in range(_stretches(extent, groups)):
        run, group, first, wide = _stretch(number, groups, extent)
        own = offsets[group]
        prepare(bits, starts, pixels, run, first, wide, own, weights, extent, memory)
        for place in range(0, wide, PANEL):
            begun = _beginning(run, first + place, pixels, extent)
            for block in range(group * blocks, (group + 1) * blocks):
                count(
                    bits, starts, pixels, run, first, place, wide, own, weights, block, extent, memory, counts
                )
                column, at, pixel = begun
                position, last, flip = 0, min(PANEL, wide - place), flips[block]
                while position < last:
                    for row in range(position, min(last, position + extent[USEFUL] - column)):
                        limit = (classes[pixel] * words + block) * LANES
                        flat[at * words + block] = above(counts, row, limits, limit) ^ flip
                        at, pixel = at + 1, pixel + 1
                    position, column = position + extent[ACROSS] - column, 0
                    pixel = pixel if pixel < pixels else 0
    end(weights, extents, extent, owner)


@kernel()
def to_floats(
    bits, starts, offsets, weights, classes, bases, numbers, steps, residual, outputs, signs, extents, panel,
    counts, row,
):  # fmt: skip
    """Fill outputs (images, pixels, channels) with floats, and signs (images, pixels, words), unless empty, too."""
    pixels, channels = outputs.shape[1:]
    groups = offsets.shape[0]
    blocks, words = weights.shape[0] // groups, signs.shape[2]
    flat, beside, flat_signs = bare(outputs.reshape(-1)), bare(residual.reshape(-1)), bare(signs.reshape(-1))
    classes, bases, numbers, row = bare(classes), bare(bases), bare(numbers), bare(row)
    bits, starts, offsets, weights, counts = (
        bare(bits),
        bare(starts),
        bare(offsets),
        bare(weights),
        bare(counts),
    )
    extent = bare(choose(weights, extents))
    owner = begin(weights, panel, extent)
    memory = bare_all(owner)
    for number in range(_stretches(extent, groups)):
        run, group, first, wide = _stretch(number, groups, extent)
        own = offsets[group]
        prepare(bits, starts, pixels, run, first, wide, own, weights, extent, memory)
        for place in range(0, wide, PANEL):
            begun = _beginning(run, first + place, pixels, extent)
            for block in range(group * blocks, (group + 1) * blocks):
                count(
                    bits, starts, pixels, run, first, place, wide, own, weights, block, extent, memory, counts
                )
                column, at, pixel = begun
                position, last = 0, min(PANEL, wide - place)
                while position < last:
                    stop = max(position, min(last, position + extent[USEFUL] - column))
                    if stop > position:
                        write(
                            counts, position, stop, classes, pixel - position, bases, numbers, block, steps,
                            beside, flat, at * channels, channels, flat_signs, at * words, row,
                        )  # fmt: skip
                    at, pixel = at + stop - position, pixel + stop - position
                    position, column = position + extent[ACROSS] - column, 0
                    pixel = pixel if pixel < pixels else 0
    end(weights, extents, extent, owner)
