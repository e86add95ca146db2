"""Signs of floats as bits, 32 channels a word, channels last; borders, and pools of bits."""

from __future__ import annotations

import numpy as np

from solvers.kernels.compile import kernel
from vispa.deploy.kernels.finish import negative_bits


@kernel()
def pack_rows(values, at, rows, channels, bits, to):
    """Fill bits with the signs of rows of channels, which begin at some entries: 1 for what is not >= 0."""
    whole, words = channels // 32, (channels + 31) // 32
    for row in range(rows):
        own = at + row * channels
        for word in range(whole):
            bits[to + row * words + word] = negative_bits(values, own + 32 * word)
        if whole < words:
            last = np.uint32(0)
            for channel in range(32 * whole, channels):
                if not values[own + channel] >= 0.0:
                    last |= np.uint32(1) << np.uint32(channel - 32 * whole)
            bits[to + row * words + whole] = last


@kernel()
def pack_channels_last(values, bits):
    """Fill bits (rows, words) from values (rows, channels): bit 1 for what is not >= 0, zeros after the last."""
    pack_rows(values.reshape(-1), 0, values.shape[0], values.shape[1], bits.reshape(-1), 0)


@kernel()
def pack_channels_first(values, bits):
    """Fill bits (images, pixels, words) from values (images, channels, pixels)."""
    images, channels, pixels = values.shape
    line = np.empty(pixels, np.uint32)
    for image in range(images):
        for word in range(bits.shape[2]):
            line[:] = np.uint32(0)
            for channel in range(32 * word, min(32 * word + 32, channels)):
                bit = np.uint32(1) << np.uint32(channel - 32 * word)
                own = values[image, channel]
                for pixel in range(pixels):
                    line[pixel] |= np.uint32(0) if own[pixel] >= 0.0 else bit
            for pixel in range(pixels):
                bits[image, pixel, word] = line[pixel]


@kernel()
def surround(bits, above, left, padded):
    """Copy bits (images, height, width, words) into the middle of padded, whose border stays as it is."""
    images, height, width, words = bits.shape
    row, line = width * words, padded.shape[2] * words
    source, target = bits.reshape(-1), padded.reshape(-1)
    for image in range(images):
        for y in range(height):
            # numbers without a sign, which need no look at negative indices
            at = np.uintp((image * height + y) * row)
            to = np.uintp((image * padded.shape[1] + above + y) * line + left * words)
            for word in range(np.uintp(row)):
                target[to + word] = source[at + word]


@kernel()
def pool(bits, size, stride, before, flips, pooled):
    """Fill pooled (images, height, width, words) with maxima of signs: negative where all in a window are.

    size, stride and before (padding, which is no sign) are pairs. Channels in flips are negated before and after.
    """
    images, height, width, words = bits.shape
    for image in range(images):
        for y in range(pooled.shape[1]):
            top = y * stride[0] - before[0]
            for x in range(pooled.shape[2]):
                left = x * stride[1] - before[1]
                for word in range(words):
                    found = np.uint32(0xFFFFFFFF)
                    for row in range(max(top, 0), min(top + size[0], height)):
                        for column in range(max(left, 0), min(left + size[1], width)):
                            found &= bits[image, row, column, word] ^ flips[word]
                    pooled[image, y, x, word] = found ^ flips[word]
