"""What lies between layers, row by row of an image: normalisation, activation, pool, more channels, signs."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from solvers.kernels.compile import kernel
from vispa.deploy.kernels import instructions as vec
from vispa.deploy.kernels.packing import pack_channels_last
from vispa.deploy.kernels.steps import (
    CLAMP,
    FACTOR,
    FUSED,
    LOWER,
    NORM,
    OFFSET,
    PRELU,
    RECTIFY,
    SLOPE,
    UPPER,
)

# How a window of pixels becomes one.
NOTHING, MAXIMUM, MEAN = range(3)


@intrinsic
def _multiply_add(typing, value, factor, offset):
    """A product and a sum, rounded once."""

    def generate(context, builder, signature, arguments):
        return vec.call(builder, "llvm.fma.f32", ir.FloatType(), *arguments)

    return types.float32(types.float32, types.float32, types.float32), generate


@kernel()
def _larger(value, other):
    """The larger of two, as torch pools: a NaN wins, the first of equal ones stays."""
    return other if other > value or other != other else value


@kernel()
def _change(values, numbers, steps, changed):
    """Fill changed with values after a layer's steps; numbers repeats those of its channels, entry by entry."""
    count = values.shape[0]
    for at in range(count):
        changed[at] = values[at]
    if steps & RECTIFY:
        for at in range(count):
            changed[at] = np.float32(0.0) if changed[at] < np.float32(0.0) else changed[at]
    if steps & FUSED:
        for at in range(count):
            changed[at] = _multiply_add(changed[at], numbers[FACTOR, at], numbers[OFFSET, at])
    elif steps & NORM:
        for at in range(count):
            changed[at] = changed[at] * numbers[FACTOR, at] + numbers[OFFSET, at]
    if steps & CLAMP:
        for at in range(count):
            value, lower, upper = changed[at], numbers[LOWER, at], numbers[UPPER, at]
            value = lower if value < lower else value
            changed[at] = upper if value > upper else value
    if steps & PRELU:
        for at in range(count):
            value = changed[at]
            changed[at] = value if value > np.float32(0.0) else value * numbers[SLOPE, at]


@kernel()
def _changed_row(row, numbers, steps, line):
    """Fill line with what the steps make of a row, in pieces that stay in the first cache."""
    piece = numbers.shape[1]
    for first in range(0, row.shape[0], piece):
        last = min(first + piece, row.shape[0])
        _change(row[first:last], numbers, steps, line[first:last])


@kernel()
def _largest_across(line, channels, window, across):
    """Fill across (pixels * channels) with maxima of neighbouring pixels of a line."""
    width = line.shape[0] // channels
    for x in range(across.shape[0] // channels):
        left = x * window[3] - window[5]
        first, last = max(left, 0), min(left + window[1], width)
        own = across[x * channels : (x + 1) * channels]
        one = line[first * channels : (first + 1) * channels]
        for channel in range(channels):
            own[channel] = one[channel]
        for other in range(first + 1, last):
            one = line[other * channels : (other + 1) * channels]
            for channel in range(channels):
                own[channel] = _larger(own[channel], one[channel])


@kernel()
def _add_across(line, channels, window, total):
    """Add neighbouring pixels of a line to total (pixels * channels), one after another as torch does."""
    for x in range(total.shape[0] // channels):
        own = total[x * channels : (x + 1) * channels]
        for other in range(x * window[3], x * window[3] + window[1]):
            one = line[other * channels : (other + 1) * channels]
            for channel in range(channels):
                own[channel] += one[channel]


@kernel()
def _write(line, channels, before, outputs, signs):
    """Copy a line of pixels into outputs (width, channels and more), so many of which lie before; signs of all."""
    flat, wide = outputs.reshape(-1), outputs.shape[1]
    if wide == channels:
        flat[:] = line
    else:
        for x in range(outputs.shape[0]):
            for channel in range(channels):
                flat[x * wide + before + channel] = line[x * channels + channel]
    if signs.size > 0:
        pack_channels_last(outputs, signs)


@kernel()
def _take_part(line, across, channels, window, kind, top, y, total):
    """Let row y of an image, changed, take part in a row of outputs whose window begins at top."""
    if kind == MEAN:
        if y == top:
            total[:] = np.float32(0.0)
        _add_across(line, channels, window, total)
        if y == top + window[0] - 1:
            size = np.float32(window[0] * window[1])
            for at in range(total.shape[0]):
                total[at] /= size
    elif y == max(top, 0):
        total[:] = across
    else:
        for at in range(total.shape[0]):
            total[at] = _larger(total[at], across[at])


@kernel()
def follow(values, numbers, steps, kind, window, before, outputs, signs):
    """Fill outputs (images, height, width, channels) from values (same axes), and signs unless empty.

    The steps are those of `finish` that need no sums, the numbers (7, piece) repeat those of the channels. A window
    (size, stride, padding, in pairs) is pooled after them. Channels begin at `before`; others stay as they are.
    """
    images, height, width, channels = values.shape
    tall, wide = outputs.shape[1:3]
    line, across = np.empty(width * channels, np.float32), np.empty(wide * channels, np.float32)
    # rows of outputs that are begun and not yet done
    rows = np.empty(((window[0] - 1) // window[2] + 1, wide * channels), np.float32)
    for image in range(images):
        for y in range(height):
            _changed_row(values[image, y].reshape(-1), numbers, steps, line)
            if kind == NOTHING:
                _write(line, channels, before, outputs[image, y], signs[image, y * wide : (y + 1) * wide])
                continue
            if kind == MAXIMUM:
                _largest_across(line, channels, window, across)
            first = max(-((window[0] - 1 - y - window[4]) // window[2]), 0)
            for target in range(first, min((y + window[4]) // window[2] + 1, tall)):
                total, top = rows[target % rows.shape[0]], target * window[2] - window[4]
                _take_part(line, across, channels, window, kind, top, y, total)
                if y == min(top + window[0], height) - 1:
                    own = signs[image, target * wide : (target + 1) * wide]
                    _write(total, channels, before, outputs[image, target], own)
