"""Triton kernels of packed layers: signs by signs, signs by floats, signs of floats.

Words of a layer's weights lie as `vispa.deploy.layout.words_of` has them: (blocks, words, 32), a channel a lane. A
convolution is an implicit product of matrices: no window is laid out in memory, and what lies outside an image is
read as bits 0, signs of +1; bases and limits of the pixel's class take back what zeros must not have added.

Two ways to count differing signs. In words: exclusive or and the number of ones, 32 products in two instructions;
a multiprocessor of NVIDIA's counts the ones of 16 words a cycle, 512 products. As products: bits unpacked to bytes
for the tensor cores, which multiply 2048 a cycle and more; each bit costs some instructions to unpack, which pays
where a tile of outputs is large enough to share them.
"""

from __future__ import annotations

import triton
import triton.language as tl

SUMS, BITS, FLOATS, BOTH = (tl.constexpr(number) for number in range(4))
# Steps of an epilogue, as `vispa.deploy.epilogue` numbers them.
BIAS, NORM, FUSED, RESIDUAL = tl.constexpr(1), tl.constexpr(2), tl.constexpr(4), tl.constexpr(8)
CLAMP, PRELU, RECTIFY = tl.constexpr(16), tl.constexpr(32), tl.constexpr(64)


@triton.jit
def ones_in(words):
    """Number of one bits of each word, in the form that LLVM knows and makes one instruction of."""
    value = words.to(tl.uint32, bitcast=True)
    value = value - ((value >> 1) & 0x55555555)
    value = (value & 0x33333333) + ((value >> 2) & 0x33333333)
    value = (value + (value >> 4)) & 0x0F0F0F0F
    return ((value * 0x01010101) >> 24).to(tl.int32)


@triton.jit
def window_words(
    bits,
    place,
    y,
    x,
    live,
    word,
    height,
    width,
    pixel_words,
    own,
    GEOMETRY: tl.constexpr,
    TOTAL: tl.constexpr,
):
    """Words of the windows of some pixels, (pixels, words); zeros outside the image and beyond the window.

    place is each image's first word of the group, y and x where the windows begin.
    """
    tap = word // own
    down = y[:, None] + (tap // GEOMETRY[1] * GEOMETRY[4])[None, :]
    right = x[:, None] + (tap % GEOMETRY[1] * GEOMETRY[5])[None, :]
    inside = (down >= 0) & (down < height) & (right >= 0) & (right < width) & (word < TOTAL)[None, :]
    at = place[:, None] + (down * width + right) * pixel_words + (word % own)[None, :]
    return tl.load(bits + at, mask=inside & live[:, None], other=0)


@triton.jit
def axis_class(first, size, kernel, dilation, stops):
    """The class of a pixel along an axis: which of its taps lie inside, as `Window.intervals` numbers them.

    first is the place of the first tap, size the number of entries that are not zeros, stops that of last taps.
    """
    # divisions round towards zero here, so both are of what is not negative
    start = tl.minimum((tl.maximum(-first, 0) + dilation - 1) // dilation, kernel)
    stop = tl.minimum((tl.maximum(size - first, 0) + dilation - 1) // dilation, kernel)
    return start * stops + kernel - tl.maximum(stop, start)


@triton.jit
def differing_words(
    bits, theirs, place, y, x, live, height, width, pixel_words, own,
    GEOMETRY: tl.constexpr, TOTAL: tl.constexpr, ROWS: tl.constexpr, WORDS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Numbers of differing signs (rows, channels), by exclusive or and the number of ones."""
    differing = tl.zeros((ROWS, WORDS, CHANNELS), tl.int32)
    for start in range(0, TOTAL, WORDS):
        word = start + tl.arange(0, WORDS)
        left = window_words(bits, place, y, x, live, word, height, width, pixel_words, own, GEOMETRY, TOTAL)
        right = tl.load(theirs[None, :] + word[:, None] * 32, mask=(word < TOTAL)[:, None], other=0)
        differing += ones_in(left[:, :, None] ^ right[None, :, :])
    return tl.sum(differing, axis=1)


@triton.jit
def differing_products(
    bits, theirs, place, y, x, live, height, width, pixel_words, own,
    GEOMETRY: tl.constexpr, TOTAL: tl.constexpr, ROWS: tl.constexpr, WORDS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Numbers of differing signs (rows, channels): ones of both, less twice the ones that they share."""
    shared = tl.zeros((ROWS, CHANNELS), tl.int32)
    of_rows, of_channels = tl.zeros((ROWS,), tl.int32), tl.zeros((CHANNELS,), tl.int32)
    bit = tl.arange(0, 32)
    for start in range(0, TOTAL, WORDS):
        word = start + tl.arange(0, WORDS)
        left = window_words(bits, place, y, x, live, word, height, width, pixel_words, own, GEOMETRY, TOTAL)
        right = tl.load(theirs[None, :] + word[:, None] * 32, mask=(word < TOTAL)[:, None], other=0)
        of_rows += tl.sum(ones_in(left), axis=1)
        of_channels += tl.sum(ones_in(right), axis=0)
        first = tl.reshape(((left[:, :, None] >> bit[None, None, :]) & 1).to(tl.int8), (ROWS, WORDS * 32))
        second = ((right[:, None, :] >> bit[None, :, None]) & 1).to(tl.int8)
        shared = tl.dot(first, tl.reshape(second, (WORDS * 32, CHANNELS)), shared, out_dtype=tl.int32)
    return of_rows[:, None] + of_channels[None, :] - 2 * shared


@triton.jit
def finished(sums, numbers, channel, padded, residual, at, mask, STEPS: tl.constexpr):
    """Sums of products as floats: scaled, shifted, rectified, normalised, added to, clamped, as STEPS says."""
    own = numbers + channel
    value = sums.to(tl.float32) * tl.load(own)[None, :]
    if BIAS & STEPS:
        value = value + tl.load(own + padded)[None, :]
    if RECTIFY & STEPS:
        value = tl.where(value < 0.0, 0.0, value)
    if NORM & STEPS:
        factor, offset = tl.load(own + 2 * padded)[None, :], tl.load(own + 3 * padded)[None, :]
        if FUSED & STEPS:
            value = tl.fma(value, tl.broadcast_to(factor, value.shape), tl.broadcast_to(offset, value.shape))
        else:
            value = value * factor + offset
    if RESIDUAL & STEPS:
        value = value + tl.load(residual + at, mask=mask, other=0.0)
    if CLAMP & STEPS:
        lower, upper = tl.load(own + 4 * padded)[None, :], tl.load(own + 5 * padded)[None, :]
        value = tl.where(value < lower, lower, value)
        value = tl.where(value > upper, upper, value)
    if PRELU & STEPS:
        value = tl.where(value > 0.0, value, value * tl.load(own + 6 * padded)[None, :])
    return value


@triton.jit
def store_words(
    negative, flips, signs, row, live, first, last, padded,
    OUTPUTS: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Write bits (rows, channels from first on) as words, turned where a sign falls as its sum grows."""
    lane = tl.arange(0, 32)
    shaped = tl.reshape(negative.to(tl.int32), (ROWS, CHANNELS // 32, 32))
    found = tl.sum(shaped << lane[None, None, :], axis=2)
    block = first // 32 + tl.arange(0, CHANNELS // 32)
    within = block < last // 32
    if OUTPUTS == BITS:
        found = found ^ tl.load(flips + block, mask=within, other=0)[None, :]
    place = signs + row[:, None] * (padded // 32) + block[None, :]
    tl.store(place, found, mask=live[:, None] & within[None, :])


@triton.jit
def packed_layer(
    bits, weights, constants, flips, numbers, residual, outputs, signs,
    rows, channels, padded, group_channels, height, width, out_height, out_width, pixel_words, own,
    GEOMETRY: tl.constexpr, TOTAL: tl.constexpr, OUTPUTS: tl.constexpr, STEPS: tl.constexpr, PRODUCTS: tl.constexpr,
    ROWS: tl.constexpr, WORDS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """One tile of a packed layer's outputs: rows are pixels of all images; the last axis of the grid is the group.

    constants is limits for BITS, bases for floats, both (classes, padded channels). GEOMETRY is `Window.flat`, the
    number of last taps along both axes, and that of classes along a row; TOTAL the words of a window.
    """
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    live, group = row < rows, tl.program_id(2)
    channel = group * group_channels + tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    held = channel < (group + 1) * group_channels
    # lanes that are not held read the first channel's numbers, and write nothing
    channel = tl.where(held, channel, 0)
    pixel = (row % (out_height * out_width)).to(tl.int32)
    y = pixel // out_width * GEOMETRY[2] - GEOMETRY[6]
    x = pixel % out_width * GEOMETRY[3] - GEOMETRY[8]
    place = row // (out_height * out_width) * (height * width * pixel_words) + group * own
    theirs = weights + (channel // 32).to(tl.int64) * (TOTAL * 32) + channel % 32
    y_bits, x_bits = y - GEOMETRY[10], x - GEOMETRY[12]
    if PRODUCTS:
        counts = differing_products(
            bits, theirs, place, y_bits, x_bits, live, height, width, pixel_words, own,
            GEOMETRY, TOTAL, ROWS, WORDS, CHANNELS,
        )  # fmt: skip
    else:
        counts = differing_words(
            bits, theirs, place, y_bits, x_bits, live, height, width, pixel_words, own,
            GEOMETRY, TOTAL, ROWS, WORDS, CHANNELS,
        )  # fmt: skip
    at = row[:, None] * channels + channel[None, :]
    mask = live[:, None] & (held & (channel < channels))[None, :]
    if OUTPUTS == SUMS:
        tl.store(outputs + at, counts, mask=mask)
    else:
        down = axis_class(y, height + GEOMETRY[10] + GEOMETRY[11], GEOMETRY[0], GEOMETRY[4], GEOMETRY[15])
        right = axis_class(x, width + GEOMETRY[12] + GEOMETRY[13], GEOMETRY[1], GEOMETRY[5], GEOMETRY[16])
        start = (down * GEOMETRY[17] + right) * padded
        own_constants = tl.load(constants + start[:, None] + channel[None, :])
        if OUTPUTS == BITS:
            negative = (counts > own_constants) & mask
        else:
            sums = own_constants - 2 * counts
            value = finished(sums, numbers, channel, padded, residual, at, mask, STEPS)
            tl.store(outputs + at, value, mask=mask)
            negative = ((value >= 0.0) == 0) & mask
        if OUTPUTS != FLOATS:
            first = group * group_channels + tl.program_id(1) * CHANNELS
            last = (group + 1) * group_channels
            store_words(negative, flips, signs, row, live, first, last, padded, OUTPUTS, ROWS, CHANNELS)


@triton.jit
def real_row(
    inputs,
    weights,
    scale,
    bias,
    outputs,
    count,
    channels,
    TOTAL: tl.constexpr,
    WORDS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """One row of floats by some channels of signs, a bit turning the sign of a float: sums in float32."""
    row = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    held = channel < channels
    theirs = weights + (channel // 32).to(tl.int64) * (TOTAL * 32) + channel % 32
    bit = tl.arange(0, 32)
    totals = tl.zeros((WORDS, 32, CHANNELS), tl.float32)
    for start in range(0, TOTAL, WORDS):
        word = start + tl.arange(0, WORDS)
        right = tl.load(
            theirs[None, :] + word[:, None] * 32, mask=(word < TOTAL)[:, None] & held[None, :], other=0
        )
        place = word[:, None] * 32 + bit[None, :]
        value = tl.load(inputs + row * count + place, mask=place < count, other=0.0).to(
            tl.int32, bitcast=True
        )
        turned = (right[:, None, :] << (31 - bit)[None, :, None]) & -2147483648
        totals += (value[:, :, None] ^ turned).to(tl.float32, bitcast=True)
    sums = tl.sum(tl.reshape(totals, (WORDS * 32, CHANNELS)), axis=0)
    value = sums * tl.load(scale + channel, mask=held, other=0.0) + tl.load(
        bias + channel, mask=held, other=0.0
    )
    tl.store(outputs + row * channels + channel, value, mask=held)


@triton.jit
def sign_words(
    values, bits, rows, pixels, channels, words, image_step, pixel_step, channel_step, ROWS: tl.constexpr
):
    """Signs of 32 channels of some pixels as one word each: 1 for what is not >= 0."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    word, lane = tl.program_id(1), tl.arange(0, 32)
    channel = word * 32 + lane
    place = row // pixels * image_step + row % pixels * pixel_step
    mask = (row < rows)[:, None] & (channel < channels)[None, :]
    value = tl.load(
        values + place[:, None] + channel[None, :].to(tl.int64) * channel_step, mask=mask, other=0.0
    )
    negative = ((value >= 0.0) == 0).to(tl.int32)
    tl.store(bits + row * words + word, tl.sum(negative << lane[None, :], axis=1), mask=row < rows)
