"""Convolutions of floats by floats, for the few that stay real: products added in the order of the taps."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from solvers.kernels.compile import kernel
from vispa.deploy.kernels import instructions as vec
from vispa.deploy.kernels.steps import FLOATS

# Pixels by vectors of 16 channels whose sums stay in registers, by the number of vectors.
FOUR, TWO, ONE = (6, 4), (8, 2), (6, 1)


@intrinsic
def _tile_of_four(
    typing, source, origin, starts, first, last, offsets, inputs, weights, channel, sums, apart
):
    """Fill sums of 6 pixels and 64 channels."""
    kinds = (source, origin, starts, first, last, offsets, inputs, weights, channel, sums, apart)
    return types.void(*kinds), _tile(*FOUR)


@intrinsic
def _tile_of_two(typing, source, origin, starts, first, last, offsets, inputs, weights, channel, sums, apart):
    """Fill sums of 8 pixels and 32 channels."""
    kinds = (source, origin, starts, first, last, offsets, inputs, weights, channel, sums, apart)
    return types.void(*kinds), _tile(*TWO)


@intrinsic
def _tile_of_one(typing, source, origin, starts, first, last, offsets, inputs, weights, channel, sums, apart):
    """Fill sums of 6 pixels and 16 channels."""
    kinds = (source, origin, starts, first, last, offsets, inputs, weights, channel, sums, apart)
    return types.void(*kinds), _tile(*ONE)


@intrinsic
def _tile_apart(typing, source, origin, starts, first, last, offsets, inputs, weights, channel, sums, apart):
    """Fill sums of 6 pixels and 16 channels, each of which has weights for itself alone."""
    kinds = (source, origin, starts, first, last, offsets, inputs, weights, channel, sums, apart)
    return types.void(*kinds), _tile(*ONE, alone=True)


def _tile(pixels, vectors, *, alone=False):
    """Code that adds products of a window, tap by tap, rounded once each; pixels after the last are the last."""

    def generate(context, builder, signature, arguments):
        source, starts, offsets, weights, sums = vec.data_pointers(
            context, builder, signature, arguments, (0, 2, 5, 7, 9)
        )
        _, origin, _, first, last, _, inputs, _, channel, _, apart = arguments
        places = []
        for pixel in range(pixels):
            place = vec.further(builder, first, pixel)
            places.append(builder.select(builder.icmp_signed("<", place, last), place, last))
        own = [
            builder.gep(source, [builder.add(origin, builder.load(builder.gep(starts, [place])))])
            for place in places
        ]
        totals = [vec.sums(builder, FLOATS, vectors) for _ in own]
        taps = vec.length(context, builder, signature, arguments, 5, 0)
        with cgutils.for_range_slice(builder, vec.integer(0), taps, vec.integer(1)) as (tap, _):
            offset = builder.load(builder.gep(offsets, [tap]))
            with cgutils.for_range_slice(builder, vec.integer(0), inputs, vec.integer(1)) as (number, _):
                row = builder.mul(builder.add(builder.mul(tap, inputs), number), apart)
                entry = builder.add(row, channel)
                factors = [
                    vec.load(builder, weights, vec.further(builder, entry, 16 * vector), FLOATS)
                    for vector in range(vectors)
                ]
                for pixel, places_of in zip(own, totals, strict=True):
                    if alone:
                        value = vec.load(builder, pixel, builder.add(offset, channel), FLOATS)
                    else:
                        scalar = builder.load(builder.gep(pixel, [builder.add(offset, number)]))
                        value = vec.splat(builder, scalar, 16)
                    for factor, total in zip(factors, places_of, strict=True):
                        found = vec.call(
                            builder, "llvm.fma.v16f32", FLOATS, value, factor, builder.load(total)
                        )
                        builder.store(found, total)
        for place, places_of in zip(places, totals, strict=True):
            to = builder.add(builder.mul(place, apart), channel)
            for vector, total in enumerate(places_of):
                vec.store(builder, builder.load(total), sums, vec.further(builder, to, 16 * vector))
        return context.get_dummy_value()

    return generate


@kernel()
def convolve_pixels(source, origin, starts, pixels, offsets, inputs, weights, vectors, sums, apart):
    """Fill sums (pixels, channels filled up to vectors) with products of windows, which start in source.

    weights are (taps, inputs, channels), flat; inputs 0 says that each channel has weights for itself alone.
    """
    last, step = pixels - 1, 16 if inputs == 0 else 16 * vectors
    for channel in range(0, apart, step):
        if inputs == 0:
            for first in range(0, pixels, 6):
                _tile_apart(source, origin, starts, first, last, offsets, 1, weights, channel, sums, apart)
        elif vectors == 4:
            for first in range(0, pixels, 6):
                _tile_of_four(
                    source, origin, starts, first, last, offsets, inputs, weights, channel, sums, apart
                )
        elif vectors == 2:
            for first in range(0, pixels, 8):
                _tile_of_two(
                    source, origin, starts, first, last, offsets, inputs, weights, channel, sums, apart
                )
        else:
            for first in range(0, pixels, 6):
                _tile_of_one(
                    source, origin, starts, first, last, offsets, inputs, weights, channel, sums, apart
                )


@kernel()
def padded_rows(values, image, height, width, channels, first, above, left, rows, padded):
    """Fill padded, flat rows of width + 2 left pixels, with those from first - above on; zeros around the image."""
    line, row = (width + 2 * left) * channels, np.uintp(width * channels)
    for number in range(rows):
        y = first - above + number
        # numbers without a sign, which need no look at negative indices
        at = np.uintp(number * line)
        for entry in range(np.uintp(line)):
            padded[at + entry] = np.float32(0.0)
        if 0 <= y < height:
            at += np.uintp(left * channels)
            own = np.uintp((image * height + y) * width * channels)
            for entry in range(row):
                padded[at + entry] = values[own + entry]
