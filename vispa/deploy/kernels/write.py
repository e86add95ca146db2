"""Floats of a panel of pixels and a block of channels, and their signs, from counts of differing signs."""

from __future__ import annotations

import numpy as np

from solvers.kernels.compile import kernel
from vispa.deploy.kernels.finish import LANES, finish, negative_bits
from vispa.deploy.kernels.steps import RESIDUAL


@kernel()
def write(
    counts, place, stop, classes, first, bases, numbers, block, steps, beside, outputs, at, channels, signs, word,
    row,
):  # fmt: skip
    """Fill outputs of counts[place : stop], pixels of one image, and signs unless empty.

    outputs, beside (the residual) and signs are flat. The first pixel has the class classes[first + place], outputs
    from `at` on (the first channel of all) and signs from `word` on; row holds 64 floats.
    """
    channel, words = block * LANES, (channels + LANES - 1) // LANES
    left, at = channels - channel, at + channel
    if left >= LANES:
        finish(
            counts, place, stop, classes, first, bases, numbers, channel, steps, beside, at, outputs, at, channels
        )  # fmt: skip
        for pixel in range(stop - place if signs.size > 0 else 0):
            signs[word + pixel * words + block] = negative_bits(outputs, at + pixel * channels)
        return
    # the last channels, fewer than a word: through a row of their own
    mask = (np.uint32(1) << np.uint32(left)) - np.uint32(1)
    for pixel in range(place, stop):
        for lane in range(left if steps & RESIDUAL else 0):
            row[LANES + lane] = beside[at + lane]
        finish(
            counts, pixel, pixel + 1, classes, first, bases, numbers, channel, steps, row, LANES, row, 0, 0
        )
        for lane in range(left):
            outputs[at + lane] = row[lane]
        if signs.size > 0:
            signs[word + (pixel - place) * words + block] = negative_bits(row, 0) & mask
        at += channels
