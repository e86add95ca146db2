"""What lies between layers, row by row of an image: normalisation, activation, pool, more channels, signs."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from solvers.kernels.compile import kernel
from vispa.deploy.kernels import instructions as vec
from vispa.deploy.kernels.packing import pack_rows
from vispa.deploy.kernels.real_convolution import convolve_pixels, padded_rows
from vispa.deploy.kernels.steps import FLOATS, HALVES, Steps

# How a window of pixels becomes one.
NOTHING, MAXIMUM, MEAN = range(3)
# Entries that are changed at a time.
STRIDE = 32
# Pixels whose sum torch keeps apart in a mean over an image.
BLOCK = 16


@intrinsic
def _change(typing, values, at, count, numbers, begin, steps, changed, to):
    """Fill changed[to : to + count] with what the steps make of values[at : at + count], 32 at a time.

    numbers (7, piece) begin at one of them, and anew at every piece, a multiple of 32.
    """

    def generate(context, builder, signature, arguments):
        values, numbers, changed = vec.data_pointers(context, builder, signature, arguments, (0, 3, 6))
        _, at, count, _, begin, steps, _, to = arguments
        piece = vec.length(context, builder, signature, arguments, 3, 1)
        place = cgutils.alloca_once_value(builder, begin)

        def number(kind, half):
            first = builder.add(builder.mul(vec.integer(kind), piece), builder.load(place))
            return vec.load(builder, numbers, vec.further(builder, first, 16 * half), FLOATS)

        # a residual is part of no run of operations
        after = Steps(builder, steps, number, lambda half: vec.constant(FLOATS, 0.0))
        with cgutils.for_range_slice(builder, vec.integer(0), count, vec.integer(STRIDE)) as (index, _):
            entries = [vec.further(builder, index, 16 * half) for half in HALVES]
            found = [vec.load(builder, values, builder.add(at, entry), FLOATS) for entry in entries]
            for entry, value in zip(entries, after.take(found), strict=True):
                vec.store(builder, value, changed, builder.add(to, entry))
            following = vec.further(builder, builder.load(place), STRIDE)
            done = builder.icmp_signed("==", following, piece)
            builder.store(builder.select(done, vec.integer(0), following), place)
        return context.get_dummy_value()

    return types.void(values, at, count, numbers, begin, steps, changed, to), generate


@intrinsic
def _take_maximum(typing, line, at, first, stop, each, channels, begins, outputs, to):
    """Let pixels first to stop of a line take part in a maximum, which begins with them or in a row above.

    The line begins at an entry, and has `each` entries a pixel.
    """
    kinds = (line, at, first, stop, each, channels, begins, outputs, to)
    return types.void(*kinds), _taking_part(_larger)


@intrinsic
def _take_sum(typing, line, at, first, stop, each, channels, begins, outputs, to):
    """Let pixels of a line take part in a sum, added one after another as torch does."""
    kinds = (line, at, first, stop, each, channels, begins, outputs, to)
    return types.void(*kinds), _taking_part(lambda builder, value, other: builder.fadd(value, other))


def _taking_part(combine):
    """Code that combines pixels, 16 channels at a time and the last ones each alone."""

    def generate(context, builder, signature, arguments):
        line, outputs = vec.data_pointers(context, builder, signature, arguments, (0, 7))
        _, at, first, stop, each, channels, begins, _, to = arguments

        def combined(channel, kind):
            """Code for a vector or one channel."""

            def pixel(index):
                own = builder.add(builder.add(at, builder.mul(index, each)), channel)
                return vec.load(builder, line, own, kind)

            entry = builder.add(to, channel)
            total = cgutils.alloca_once_value(builder, pixel(first))
            start = builder.add(first, builder.zext(begins, vec.INT64))
            with builder.if_then(builder.not_(begins)):
                builder.store(vec.load(builder, outputs, entry, kind), total)
            with cgutils.for_range_slice(builder, start, stop, vec.integer(1)) as (index, _):
                builder.store(combine(builder, builder.load(total), pixel(index)), total)
            vec.store(builder, builder.load(total), outputs, entry)

        whole = builder.and_(channels, vec.integer(-16))
        with cgutils.for_range_slice(builder, vec.integer(0), whole, vec.integer(16)) as (channel, _):
            combined(channel, FLOATS)
        with cgutils.for_range_slice(builder, whole, channels, vec.integer(1)) as (channel, _):
            combined(channel, vec.FLOAT)
        return context.get_dummy_value()

    return generate


def _larger(builder, value, other):
    """The larger of two, as torch pools: a NaN wins, the first of equal ones stays."""
    wins = builder.or_(builder.fcmp_ordered(">", other, value), builder.fcmp_unordered("uno", other, other))
    return builder.select(wins, other, value)


@kernel()
def _change_row(values, at, count, numbers, steps, changed, to, some):
    """Fill changed[to : to + count] with what the steps make of a row, its last entries by way of some others."""
    whole = count // STRIDE * STRIDE
    _change(values, at, whole, numbers, 0, steps, changed, to)
    if whole < count:
        for entry in range(count - whole):
            some[entry] = values[at + whole + entry]
        _change(some, 0, STRIDE, numbers, whole % numbers.shape[1], steps, some, 0)
        for entry in range(count - whole):
            changed[to + whole + entry] = some[entry]


@kernel()
def _pool_row(line, begin, width, each, channels, kind, window, begins, outputs, at, wide, apart):
    """Let a row of width pixels take part in a row of outputs, whose pixels begin at an entry and so far apart."""
    for x in range(wide):
        left = x * window[3] - window[5]
        first, stop = max(left, 0), min(left + window[1], width)
        if kind == MEAN:
            _take_sum(line, begin, first, stop, each, channels, begins, outputs, at + x * apart)
        else:
            _take_maximum(line, begin, first, stop, each, channels, begins, outputs, at + x * apart)


@kernel()
def _divide(outputs, at, wide, apart, channels, size):
    """Divide the channels of a row of outputs by the size of a window."""
    for x in range(wide):
        # numbers without a sign, which need no look at negative indices
        first = np.uintp(at + x * apart)
        for channel in range(np.uintp(channels)):
            outputs[first + channel] /= size


@kernel()
def _follow_row(
    values, at, image, y, shape, each, numbers, steps, kind, window, outputs, sizes, before, signs, line, some
):
    """Let row y of an image, which begins at an entry of values, take its part in the outputs and their signs."""
    _, height, width, channels = shape
    tall, wide, apart = sizes
    words = (apart + 31) // 32
    if kind == NOTHING:
        target = (image * tall + y) * wide
        _change_row(values, at, width * each, numbers, steps, outputs, target * apart, some)
        pack_rows(outputs, target * apart, wide if signs.size else 0, apart, signs, target * words)
        return
    given, begin = values, at
    if steps != 0:
        _change_row(values, at, width * each, numbers, steps, line, 0, some)
        given, begin = line, 0
    first = max(-((window[0] - 1 - y - window[4]) // window[2]), 0)
    for out in range(first, min((y + window[4]) // window[2] + 1, tall)):
        top, target = out * window[2] - window[4], (image * tall + out) * wide
        to, begins = target * apart + before, y == max(top, 0)
        _pool_row(given, begin, width, each, channels, kind, window, begins, outputs, to, wide, apart)
        if y == min(top + window[0], height) - 1:
            if kind == MEAN:
                _divide(outputs, to, wide, apart, channels, np.float32(window[0] * window[1]))
            pack_rows(outputs, target * apart, wide if signs.size else 0, apart, signs, target * words)


@kernel()
def follow(values, shape, numbers, steps, kind, window, outputs, sizes, before, signs):
    """Fill outputs from values, images of (count, height, width, channels) and of sizes (height, width, channels).

    All arrays are flat but numbers (7, piece), which repeat those of the channels; signs are filled unless empty.
    The steps are those of `finish` that need no sums. A window (size, stride, padding, in pairs) is pooled after
    them. Channels begin at `before` among those of the outputs; others stay as they are.
    """
    images, height, width, channels = shape
    row = width * channels
    line, some = np.empty(row, np.float32), np.empty(STRIDE, np.float32)
    for image in range(images):
        for y in range(height):
            at = (image * height + y) * row
            _follow_row(
                values, at, image, y, shape, channels, numbers, steps, kind, window, outputs, sizes, before, signs,
                line, some,
            )  # fmt: skip


@kernel()
def follow_and_average(values, shape, numbers, steps, outputs):
    """Fill outputs (count, channels) with means over whole images of what `follow` makes of their values.

    Sixteen pixels are added one after another, and then their sums, as torch adds them.
    """
    images, height, width, channels = shape
    line, some = np.empty(width * channels, np.float32), np.empty(STRIDE, np.float32)
    part, last = np.empty(channels, np.float32), height * width
    for image in range(images):
        to = image * channels
        outputs[to : to + channels] = 0.0
        for y in range(height):
            at = (image * height + y) * width * channels
            _change_row(values, at, width * channels, numbers, steps, line, 0, some)
            x = 0
            while x < width:
                done = (y * width + x) % BLOCK
                stop = min(width, x + BLOCK - done)
                _take_sum(line, 0, x, stop, channels, channels, done == 0, part, 0)
                x = stop
                if (y * width + x) % BLOCK == 0 or y * width + x == last:
                    for channel in range(channels):
                        outputs[to + channel] += part[channel]
        _divide(outputs, to, 1, channels, channels, np.float32(last))


@kernel()
def convolve_and_follow(
    values, source, layer, starts, offsets, weights, shape, numbers, steps, kind, window, outputs, sizes, before,
    signs,
):  # fmt: skip
    """Fill outputs as `follow` does, from convolutions of values: the shape and steps are of what they make.

    source is (height, width, channels) of the images; layer is (stride, padding above, padding left, rows that a
    window reaches over, rows at once, inputs of a product, vectors, channels filled up). Windows start at starts,
    one a pixel of the rows at once, and offsets lead to their taps; weights are as `convolve_pixels` has them.
    """
    images, height, width, _ = shape
    tall, across, inputs = source
    stride, above, left, reach, together, depth, vectors, each = layer
    pads = above > 0 or left > 0
    line, some = np.empty(width * each, np.float32), np.empty(STRIDE, np.float32)
    sums = np.empty(together * width * each, np.float32)
    whole = ((together - 1) * stride + reach) * (across + 2 * left) * inputs
    padded = np.empty(whole if pads else 0, np.float32)
    for image in range(images):
        for first in range(0, height, together):
            rows = min(together, height - first)
            if pads:
                need = (rows - 1) * stride + reach
                padded_rows(values, image, tall, across, inputs, first * stride, above, left, need, padded)
            begin = 0 if pads else (image * tall + first * stride) * across * inputs
            given = padded if pads else values
            convolve_pixels(given, begin, starts, rows * width, offsets, depth, weights, vectors, sums, each)
            for row in range(rows):
                at, y = row * width * each, first + row
                _follow_row(
                    sums, at, image, y, shape, each, numbers, steps, kind, window, outputs, sizes, before, signs,
                    line, some,
                )  # fmt: skip
