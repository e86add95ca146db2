"""Differing signs of some pixels and 32 channels, counted in words of bits: the tiles of two of the kernels."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vispa.deploy.kernels import instructions as vec

# Output channels of one block: one word of bits; a vector of 16 words holds half of them.
LANES, HALF = 32, 16
# Pixels that share a load of weights: as many as keep their sums in the registers.
WIDE, NARROW = 8, 2
# Words after which bytes that grow by at most eight a word are emptied.
FULL_BYTES = 31

WORDS = ir.VectorType(vec.INT32, HALF)


@intrinsic
def wide_tile(typing, bits, starts, first, offsets, weights, block, counts, place):
    """Fill counts[place : place + 8] for eight pixels, words of 32 bits in lanes of 32 bits."""
    return types.void(bits, starts, first, offsets, weights, block, counts, place), _in_words(WIDE)


@intrinsic
def single_tile(typing, bits, starts, first, offsets, weights, block, counts, place):
    """Fill counts[place] for one pixel, as the wide tile does."""
    return types.void(bits, starts, first, offsets, weights, block, counts, place), _in_words(1)


@intrinsic
def narrow_tile(typing, bits, starts, first, offsets, weights, block, counts, place):
    """Fill counts[place : place + 2] for two pixels, words of 32 bits in lanes of eight bits."""
    return types.void(bits, starts, first, offsets, weights, block, counts, place), _in_bytes(NARROW)


def _in_words(pixels):
    """Code that sums ones in lanes of 32 bits, which never overflow."""

    def generate(context, builder, signature, arguments):
        tile = _Tile(context, builder, signature, arguments, pixels, WORDS)
        tile.add_words(vec.integer(0), tile.words)
        for pixel, half, total in tile.totals():
            vec.store(builder, builder.load(total), tile.counts, tile.target(pixel, half))
        return context.get_dummy_value()

    return generate


def _in_bytes(pixels):
    """Code that sums ones in bytes, which are emptied into the counts before they overflow."""

    def generate(context, builder, signature, arguments):
        tile = _Tile(context, builder, signature, arguments, pixels, ir.VectorType(vec.INT8, 4 * HALF))
        for pixel, half, _ in tile.totals():
            vec.store(builder, vec.constant(WORDS, 0), tile.counts, tile.target(pixel, half))
        with vec.pieces(builder, tile.words, FULL_BYTES) as (start, stop):
            tile.add_words(start, stop)
            tile.empty_bytes()
        return context.get_dummy_value()

    return generate


class _Tile:
    """Some pixels by the 32 channels of a block: where their words lie, and a vector of sums a half of each."""

    def __init__(self, context, builder, signature, arguments, pixels, lanes):
        self.builder, self.lanes, self.pixels = builder, lanes, pixels
        bits, starts, self.offsets, weights, self.counts = vec.data_pointers(
            context, builder, signature, arguments, (0, 1, 3, 4, 6)
        )
        self.words = vec.length(context, builder, signature, arguments, 3, 0)
        first, block, self.place = arguments[2], arguments[5], arguments[7]
        self.sources = [
            builder.gep(bits, [builder.load(builder.gep(starts, [vec.further(builder, first, pixel)]))])
            for pixel in range(pixels)
        ]
        self.own = builder.gep(weights, [builder.mul(builder.mul(block, self.words), vec.integer(LANES))])
        self.sums = vec.sums(builder, lanes, 2 * pixels)

    def totals(self):
        """Pixels, halves and their sums."""
        return [(place // 2, place % 2, total) for place, total in enumerate(self.sums)]

    def add_words(self, start, stop):
        """Code that xors words of the window with those of the channels, and adds the ones."""
        builder = self.builder
        with cgutils.for_range_slice(builder, start, stop, vec.integer(1)) as (word, _):
            offset = builder.load(builder.gep(self.offsets, [word]))
            at = builder.mul(word, vec.integer(LANES))
            signs = [
                vec.load(builder, self.own, vec.further(builder, at, HALF * half), WORDS) for half in (0, 1)
            ]
            for pixel, source in enumerate(self.sources):
                value = vec.splat(builder, builder.load(builder.gep(source, [offset])), HALF)
                for half in (0, 1):
                    differing = builder.bitcast(builder.xor(value, signs[half]), self.lanes)
                    vec.grow(builder, self.sums[2 * pixel + half], vec.ones_in(builder, differing))

    def empty_bytes(self):
        """Code that adds sums of bytes to the counts, and sets them to zero."""
        builder = self.builder
        for pixel, half, total in self.totals():
            grown = builder.add(
                vec.load(builder, self.counts, self.target(pixel, half), WORDS),
                _sum_of_bytes(builder, builder.load(total)),
            )
            vec.store(builder, grown, self.counts, self.target(pixel, half))
            builder.store(vec.constant(self.lanes, 0), total)

    def target(self, pixel, half):
        """The entry of the counts at which half a pixel's begin."""
        row = self.builder.mul(vec.further(self.builder, self.place, pixel), vec.integer(LANES))
        return vec.further(self.builder, row, HALF * half)


def _sum_of_bytes(builder, vector):
    """Sums of four neighbouring bytes, as 16 integers."""
    words = builder.bitcast(vector, WORDS)
    pair = vec.constant(words.type, 0x00FF00FF)
    eight, sixteen = vec.constant(words.type, 8), vec.constant(words.type, 16)
    pairs = builder.add(builder.and_(words, pair), builder.and_(builder.lshr(words, eight), pair))
    return builder.add(builder.and_(pairs, vec.constant(words.type, 0xFFFF)), builder.lshr(pairs, sixteen))
