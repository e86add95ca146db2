"""Numbers of differing signs as products of matrices of bytes: what the tile kernel is made of.

A sign of a pixel becomes a byte, 1 where it is negative or else 0, a sign of a channel -1 where it is negative or
else 1. Products of a pixel and a channel, summed, and the channel's number of negative signs, are the number of
signs that differ. AMX has eight tiles of 16 rows of 64 bytes: four for sums, two for pixels, two for channels.
Bytes of channels are made while the products before them are under way, and stay in the first cache.
"""

from __future__ import annotations

import itertools

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vispa.deploy.kernels import instructions as vec

# Bytes of a tile, its rows, and the bytes of one.
TILE, ROWS, WIDTH = 1024, 16, 64
# Tiles of channels are made so many steps before they are used, in four parts; a power of two of steps is kept.
AHEAD, PARTS, KEPT = 2, 4, 4

WORDS, BYTES = ir.VectorType(vec.INT32, 16), ir.VectorType(vec.INT8, 64)


@intrinsic
def clock(typing):
    """The time, in cycles of a steady clock."""

    def generate(context, builder, signature, arguments):
        return vec.call(builder, "llvm.readcyclecounter", vec.INT64)

    return types.int64(), generate


@intrinsic
def configure(typing, tiles):
    """Begin to use tiles, as the first of the tiles says."""

    def generate(context, builder, signature, arguments):
        _call(builder, "llvm.x86.ldtilecfg", _bytes(context, builder, signature, arguments, 0))
        return context.get_dummy_value()

    return types.void(tiles), generate


@intrinsic
def leave(typing):
    """End the use of tiles, so that the system has none to save."""

    def generate(context, builder, signature, arguments):
        _call(builder, "llvm.x86.tilerelease")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def spread_line(typing, bits, at, tiles, place):
    """Write 64 bytes of tiles, from byte `place` on: signs of bits[at] and the word after it."""

    def generate(context, builder, signature, arguments):
        (bits,) = vec.data_pointers(context, builder, signature, arguments, (0,))
        pointer = builder.bitcast(builder.gep(bits, [arguments[1]]), vec.INT64.as_pointer())
        tiles = _bytes(context, builder, signature, arguments, 2)
        vec.store(builder, _negative(builder, builder.load(pointer, align=4)), tiles, arguments[3])
        return context.get_dummy_value()

    return types.void(bits, at, tiles, place), generate


@intrinsic
def spread_pairs(typing, bits, begins, offset, tiles, tile):
    """Write a tile of pixels: signs of bits[begin + offset] and the word after it."""

    def words(builder, bits, begin, arguments):
        pointer = builder.gep(bits, [builder.add(begin, arguments[2])])
        return builder.load(builder.bitcast(pointer, vec.INT64.as_pointer()), align=4)

    return types.void(bits, begins, offset, tiles, tile), _spread(words, 3)


@intrinsic
def spread_words(typing, bits, begins, offset, other, tiles, tile):
    """Write a tile of pixels: signs of bits[begin + offset] and bits[begin + other], or 0 if other < 0."""

    def words(builder, bits, begin, arguments):
        low = builder.load(builder.gep(bits, [builder.add(begin, arguments[2])]))
        place = builder.add(begin, arguments[3])
        there = builder.icmp_signed(">=", arguments[3], vec.integer(0))
        high = builder.load(builder.gep(bits, [builder.select(there, place, begin)]))
        high = builder.select(there, high, vec.constant(high.type, 0))
        return builder.or_(
            builder.zext(low, vec.INT64), builder.shl(builder.zext(high, vec.INT64), vec.integer(32))
        )

    return types.void(bits, begins, offset, other, tiles, tile), _spread(words, 4)


def _spread(words, place):
    """Code that writes 16 rows of 64 bytes: 1 for every bit that is 1."""

    def generate(context, builder, signature, arguments):
        bits, begins = vec.data_pointers(context, builder, signature, arguments, (0, 1))
        tiles = _bytes(context, builder, signature, arguments, place)
        at = builder.mul(arguments[place + 1], vec.integer(TILE))
        for row in range(ROWS):
            begin = builder.load(builder.gep(begins, [vec.integer(row)]))
            signs = _negative(builder, words(builder, bits, begin, arguments))
            vec.store(builder, signs, tiles, vec.further(builder, at, WIDTH * row))
        return context.get_dummy_value()

    return generate


def _negative(builder, signs):
    """The bits of a word of 64 as bytes."""
    both = builder.bitcast(vec.splat(builder, signs, 8), BYTES)
    return builder.and_(_bits(builder, both, range(64)), vec.constant(BYTES, 1))


def _bits(builder, signs, places):
    """Bytes whose lowest bits are those at some places of every word of 64 bits, eight bytes a word."""
    chosen = ir.Constant(BYTES, list(places))
    return vec.call(builder, "llvm.x86.avx512.pmultishift.qb.512", BYTES, chosen, signs)


@intrinsic
def negative_signs(typing, weights, block, negative):
    """Fill negative[block], of 32, with the numbers of negative signs of a block of channels."""

    def generate(context, builder, signature, arguments):
        own, words = _channels(context, builder, signature, arguments, 0)
        (negative,) = vec.data_pointers(context, builder, signature, arguments, (2,))
        totals = vec.sums(builder, WORDS, 2)
        with cgutils.for_range_slice(builder, vec.integer(0), words, vec.integer(1)) as (word, _):
            for half, total in enumerate(totals):
                at = vec.further(builder, builder.mul(word, vec.integer(32)), 16 * half)
                vec.grow(builder, total, vec.ones_in(builder, vec.load(builder, own, at, WORDS)))
        for half, total in enumerate(totals):
            at = vec.further(builder, builder.mul(arguments[1], vec.integer(32)), 16 * half)
            vec.store(builder, builder.load(total), negative, at)
        return context.get_dummy_value()

    return types.void(weights, block, negative), generate


def _channels(context, builder, signature, arguments, place):
    """A pointer to the words of a block of channels, and their number."""
    words = vec.length(context, builder, signature, arguments, place, 1)
    (weights,) = vec.data_pointers(context, builder, signature, arguments, (place,))
    weights = builder.bitcast(weights, vec.INT32.as_pointer())
    return builder.gep(
        weights, [builder.mul(builder.mul(arguments[place + 1], words), vec.integer(32))]
    ), words


@intrinsic
def multiply_two(typing, weights, block, negative, steps, tiles, first, second, stride, counts, place):
    """Fill counts[place : place + 32] for two tiles of pixels, whose rows begin at bytes `first` and `second`.

    Rows are `stride` bytes apart, and their 64 signs of a step are steps[step] bytes on.
    """
    arguments = (weights, block, negative, steps, tiles, first, second, stride, counts, place)
    return types.void(*arguments), _products(2)


@intrinsic
def multiply_one(typing, weights, block, negative, steps, tiles, first, second, stride, counts, place):
    """Fill counts[place : place + 16] for one tile of pixels; `second` is not used."""
    arguments = (weights, block, negative, steps, tiles, first, second, stride, counts, place)
    return types.void(*arguments), _products(1)


def _products(pixels):
    def generate(context, builder, signature, arguments):
        product = _Product(context, builder, signature, arguments, pixels)
        product.begin()
        for step, part in itertools.product(range(AHEAD), range(PARTS)):
            product.unfold(vec.integer(step), part)
        with cgutils.for_range(builder, product.length) as loop:
            loads = product.loads(loop.index)
            later = vec.further(builder, loop.index, AHEAD)
            # stores and loads by turns: the products of the step before, too, go on meanwhile
            for part in range(PARTS):
                next(loads, None)
                product.unfold(later, part)
            product.multiply()
        product.store()
        return context.get_dummy_value()

    return generate


class _Product:
    """Tiles of pixels by the two halves of 32 channels, a step of 64 signs after another."""

    def __init__(self, context, builder, signature, arguments, pixels):
        self.builder = builder
        self.own, self.words = _channels(context, builder, signature, arguments, 0)
        self.tiles, self.negative, self.counts = (
            _bytes(context, builder, signature, arguments, place) for place in (4, 2, 8)
        )
        (self.steps,) = vec.data_pointers(context, builder, signature, arguments, (3,))
        self.length = vec.length(context, builder, signature, arguments, 3, 0)
        _, self.block, _, _, _, *self.firsts, self.stride, _, self.place = arguments
        self.firsts = self.firsts[:pixels]
        self.pairs = [(pixel, half) for pixel in range(pixels) for half in (0, 1)]

    def begin(self):
        """Code that sets sums to numbers of negative signs, the same in all 16 rows."""
        row = self.builder.mul(self.block, vec.integer(2 * WIDTH))
        for pixel, half in self.pairs:
            at = vec.further(self.builder, row, WIDTH * half)
            _load(self.builder, 2 * pixel + half, self.negative, at, vec.integer(0))

    def loads(self, step):
        """Code that loads the tiles of a step, one at a time."""
        builder = self.builder
        on = builder.load(builder.gep(self.steps, [step]))
        for half, first in itertools.zip_longest((0, 1), self.firsts):
            yield _load(builder, 6 + half, self.tiles, self.entry(step, half), vec.integer(WIDTH))
            if first is not None:
                yield _load(builder, 4 + half, self.tiles, builder.add(first, on), self.stride)

    def multiply(self):
        """Code that adds the products of a step."""
        for pixel, half in self.pairs:
            names = [vec.constant(vec.INT8, name) for name in (2 * pixel + half, 4 + pixel, 6 + half)]
            _call(self.builder, "llvm.x86.tdpbssd", *names)

    def unfold(self, step, part):
        """Code that makes half of a tile of channels of a step, one of four; beyond the last anything will do."""
        builder = self.builder
        last = builder.sub(self.words, vec.integer(1))
        place, half = divmod(part, 2)
        word = vec.further(builder, builder.mul(step, vec.integer(2)), place)
        # pixels have zeros where there is no second word
        word = builder.select(builder.icmp_signed("<", word, last), word, last)
        at = vec.further(builder, builder.mul(word, vec.integer(32)), 16 * half)
        signs = builder.bitcast(vec.load(builder, self.own, at, WORDS), BYTES)
        self.unfold_rows(signs, vec.further(builder, self.entry(step, half), 512 * place))

    def unfold_rows(self, signs, at):
        """Code that writes eight rows from 16 words of 32 signs: four neighbouring signs of every channel a row."""
        builder = self.builder
        # seven rows of ones take the lowest bit of a byte to all others, and the lowest becomes 1: -1 or +1
        matrix = ir.Constant(BYTES, [1, 1, 1, 1, 1, 1, 1, 0] * 8)
        for row in range(8):
            # a word of 64 bits is two channels
            chosen = _bits(builder, signs, [32 * (byte // 4 % 2) + 4 * row + byte % 4 for byte in range(64)])
            turned = vec.call(
                builder, "llvm.x86.vgf2p8affineqb.512", BYTES, chosen, matrix, vec.constant(vec.INT8, 1)
            )
            vec.store(builder, turned, self.tiles, vec.further(builder, at, WIDTH * row))

    def entry(self, step, half):
        """The byte at which a tile of channels begins; the first of all tiles is the configuration."""
        kept = self.builder.and_(step, vec.integer(KEPT - 1))
        tile = vec.further(self.builder, self.builder.mul(kept, vec.integer(2)), 1 + half)
        return self.builder.mul(tile, vec.integer(TILE))

    def store(self):
        """Code that writes the counts."""
        row = vec.integer(2 * WIDTH)
        for pixel, half in self.pairs:
            at = self.builder.mul(vec.further(self.builder, self.place, ROWS * pixel), row)
            target = self.builder.gep(self.counts, [vec.further(self.builder, at, WIDTH * half)])
            _call(
                self.builder, "llvm.x86.tilestored64", vec.constant(vec.INT8, 2 * pixel + half), target, row
            )


def _load(builder, name, array, at, stride):
    """Code that loads a tile, whose rows begin so many bytes one after another."""
    _call(builder, "llvm.x86.tileloadd64", vec.constant(vec.INT8, name), builder.gep(array, [at]), stride)


def _call(builder, name, *arguments):
    vec.call(builder, name, ir.VoidType(), *arguments)


def _bytes(context, builder, signature, arguments, place):
    """A pointer to the first byte of an array among an intrinsic's arguments."""
    (pointer,) = vec.data_pointers(context, builder, signature, arguments, (place,))
    return builder.bitcast(pointer, vec.INT8.as_pointer())
