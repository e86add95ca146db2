"""Numbers of differing signs between pixels and 32 output channels, by one of three kernels.

The dtype of the weights chooses. uint32 (blocks, words, 32): a word is 32 signs of a channel; processors with
AVX-512 count its ones in one instruction. int32, the same words: counted byte by byte, on any processor. uint8
(blocks, 8 words, 32): a byte is four signs, which look up their number of differences from four signs of two
pixels at once in a table of sixteen bytes, one shuffle of AVX2.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from solvers.kernels.compile import kernel
from vispa.deploy.kernels import instructions as vec

# Output channels of one block: one word of bits.
LANES = 32
# Pixels that share a load of weights: as many as keep their sums in the registers.
WIDE, NARROW = 8, 2
# From so many pixels on a wide tile, some of it wasted, is faster than one pixel after another.
FEW = 4
# Words after which bytes that grow by at most eight a word are emptied.
FULL_BYTES = 31
# Pixels of one panel, a multiple of both tiles: their counts, 8 KB, stay in the first cache.
PANEL = 64
# Nibbles of the table kernel are looked up three at a time; after six words a byte holds at most 192.
TRIPLE, FLUSH = 3, 6


def _tables():
    """Entry 16 (a + 16 b) + w: differences of four signs w from a, and sixteen times those from b."""
    ones = np.array([bin(value).count("1") for value in range(16)], dtype=np.uint8)
    differing = ones[np.arange(16)[:, None] ^ np.arange(16)[None]]
    return (differing[None, :, :] + 16 * differing[:, None, :]).astype(np.uint8).reshape(-1)


TABLES = _tables()


@intrinsic
def _wide_tile(typing, bits, starts, first, offsets, weights, block, counts, place):
    """Fill counts[place : place + 8] for eight pixels, words of 32 bits in lanes of 32 bits."""
    return types.void(bits, starts, first, offsets, weights, block, counts, place), _words_tile(
        WIDE, vec.INT32
    )


@intrinsic
def _single_tile(typing, bits, starts, first, offsets, weights, block, counts, place):
    """Fill counts[place] for one pixel, as the wide tile does."""
    return types.void(bits, starts, first, offsets, weights, block, counts, place), _words_tile(1, vec.INT32)


@intrinsic
def _narrow_tile(typing, bits, starts, first, offsets, weights, block, counts, place):
    """Fill counts[place : place + 2] for two pixels, words of 32 bits in lanes of eight bits."""
    return types.void(bits, starts, first, offsets, weights, block, counts, place), _words_tile(
        NARROW, vec.INT8
    )


def _words_tile(pixels, element):
    """Code that xors every word of some pixels with 32 channels' and sums the ones in lanes of a type."""
    bytewise = element is vec.INT8
    lanes = ir.VectorType(element, 64 if bytewise else 16)
    halves = range(LANES // 16)

    def generate(context, builder, signature, arguments):
        bits, starts, offsets, weights, counts = vec.data_pointers(
            context, builder, signature, arguments, (0, 1, 3, 4, 6)
        )
        words = cgutils.unpack_tuple(
            builder, context.make_array(signature.args[3])(context, builder, arguments[3]).shape, 1
        )[0]
        first, block, place = arguments[2], arguments[5], arguments[7]
        sources = [
            builder.gep(bits, [builder.load(builder.gep(starts, [builder.add(first, _int(pixel))]))])
            for pixel in range(pixels)
        ]
        own = builder.gep(weights, [builder.mul(builder.mul(block, words), _int(LANES))])
        totals = vec.sums(builder, lanes, 2 * pixels)

        def span(start, stop):
            with cgutils.for_range_slice(builder, start, stop, _int(1)) as (word, _):
                offset = builder.load(builder.gep(offsets, [word]))
                at = builder.mul(word, _int(LANES))
                signs = [
                    vec.load(builder, own, builder.add(at, _int(16 * half)), ir.VectorType(vec.INT32, 16))
                    for half in halves
                ]
                for pixel, source in enumerate(sources):
                    value = vec.splat(builder, builder.load(builder.gep(source, [offset])), 16)
                    for half in halves:
                        differing = builder.bitcast(builder.xor(value, signs[half]), lanes)
                        vec.grow(builder, totals[2 * pixel + half], vec.ones_in(builder, differing))

        def target(pixel, half):
            row = builder.mul(builder.add(place, _int(pixel)), _int(LANES))
            return builder.add(row, _int(16 * half))

        if not bytewise:
            span(_int(0), words)
            for pixel in range(pixels):
                for half in halves:
                    total = builder.load(totals[2 * pixel + half])
                    vec.store(builder, total, counts, target(pixel, half))
            return context.get_dummy_value()
        zero = vec.constant(ir.VectorType(vec.INT32, 16), 0)
        for pixel in range(pixels):
            for half in halves:
                vec.store(builder, zero, counts, target(pixel, half))
        with cgutils.for_range_slice(builder, _int(0), words, _int(FULL_BYTES)) as (start, _):
            stop = builder.add(start, _int(FULL_BYTES))
            stop = builder.select(builder.icmp_signed("<", stop, words), stop, words)
            span(start, stop)
            for pixel in range(pixels):
                for half in halves:
                    total = totals[2 * pixel + half]
                    grown = builder.add(
                        vec.load(builder, counts, target(pixel, half), zero.type),
                        _sum_of_bytes(builder, builder.load(total)),
                    )
                    vec.store(builder, grown, counts, target(pixel, half))
                    builder.store(vec.constant(lanes, 0), total)
        return context.get_dummy_value()

    return generate


def _sum_of_bytes(builder, vector):
    """Sums of four neighbouring bytes, as 16 integers."""
    words = builder.bitcast(vector, ir.VectorType(vec.INT32, 16))
    pair = vec.constant(words.type, 0x00FF00FF)
    eight, sixteen = vec.constant(words.type, 8), vec.constant(words.type, 16)
    pairs = builder.add(builder.and_(words, pair), builder.and_(builder.lshr(words, eight), pair))
    return builder.add(builder.and_(pairs, vec.constant(words.type, 0xFFFF)), builder.lshr(pairs, sixteen))


@intrinsic
def _table_tile(typing, panel, first, tables, weights, block, counts, place):
    """Fill counts[place : place + 8] for four pairs of pixels, whose signs are bytes of a panel.

    After three lookups the low four bits of a byte count one pixel of the pair, the high four the other.
    """
    signature = types.void(panel, first, tables, weights, block, counts, place)
    row = ir.VectorType(vec.INT8, LANES)
    pairs = range(WIDE // 2)

    def generate(context, builder, signature, arguments):
        panel, tables, weights, counts = vec.data_pointers(
            context, builder, signature, arguments, (0, 2, 3, 5)
        )
        first, block, place = arguments[1], arguments[4], arguments[6]
        nibbles = cgutils.unpack_tuple(
            builder, context.make_array(signature.args[3])(context, builder, arguments[3]).shape, 3
        )[1]
        own = builder.gep(weights, [builder.mul(builder.mul(block, nibbles), _int(LANES))])
        chosen = [
            builder.gep(panel, [builder.mul(builder.add(first, _int(pair)), nibbles)]) for pair in pairs
        ]
        low = vec.sums(builder, row, len(pairs))
        high = vec.sums(builder, ir.VectorType(vec.INT16, LANES // 2), len(pairs))

        def look_up(pair, nibble, signs):
            choice = builder.zext(builder.load(builder.gep(chosen[pair], [nibble])), vec.INT64)
            table = vec.load(
                builder, tables, builder.mul(choice, _int(16)), ir.VectorType(vec.INT8, LANES // 2)
            )
            lanes = ir.Constant(ir.VectorType(vec.INT32, LANES), [*range(16), *range(16)])
            both = builder.shuffle_vector(table, table, lanes)
            return vec.call(builder, "llvm.x86.avx2.pshuf.b", row, both, signs)

        def triples(start, stop):
            with cgutils.for_range_slice(builder, start, stop, _int(TRIPLE)) as (nibble, _):
                places = [builder.add(nibble, _int(step)) for step in range(TRIPLE)]
                signs = [vec.load(builder, own, builder.mul(at, _int(LANES)), row) for at in places]
                for pair in pairs:
                    found = [look_up(pair, at, sign) for at, sign in zip(places, signs, strict=True)]
                    total = builder.add(builder.add(found[0], found[1]), found[2])
                    vec.grow(builder, low[pair], builder.and_(total, vec.constant(row, 15)))
                    words = builder.bitcast(total, ir.VectorType(vec.INT16, LANES // 2))
                    vec.grow(builder, high[pair], builder.lshr(words, vec.constant(words.type, 4)))

        zero = vec.constant(ir.VectorType(vec.INT32, LANES), 0)

        def target(pixel):
            return builder.mul(builder.add(place, _int(pixel)), _int(LANES))

        for pixel in range(WIDE):
            vec.store(builder, zero, counts, target(pixel))
        step = _int(8 * FLUSH)
        with cgutils.for_range_slice(builder, _int(0), nibbles, step) as (start, _):
            stop = builder.add(start, step)
            stop = builder.select(builder.icmp_signed("<", stop, nibbles), stop, nibbles)
            triples(start, stop)
            for pair in pairs:
                one = builder.load(low[pair])
                # a word of `high` holds (other pixel, even byte) + 16 (this pixel, odd byte) + 256 (other, odd)
                words = builder.bitcast(one, ir.VectorType(vec.INT16, LANES // 2))
                odd = builder.shl(
                    builder.lshr(words, vec.constant(words.type, 8)), vec.constant(words.type, 4)
                )
                other = builder.bitcast(builder.sub(builder.load(high[pair]), odd), row)
                for pixel, total in ((2 * pair, one), (2 * pair + 1, other)):
                    before = vec.load(builder, counts, target(pixel), zero.type)
                    grown = builder.add(before, builder.zext(total, zero.type))
                    vec.store(builder, grown, counts, target(pixel))
                builder.store(vec.constant(row, 0), low[pair])
                builder.store(vec.constant(ir.VectorType(vec.INT16, LANES // 2), 0), high[pair])
        return context.get_dummy_value()

    return signature, generate


def _int(value):
    return ir.Constant(vec.INT64, value)


@kernel()
def _index_panel(bits, starts, first, pixels, offsets, panel):
    """Bytes that choose tables: four signs of an even pixel low, of the odd one after it high."""
    low, high = np.uint32(0x0F0F0F0F), np.uint32(0xF0F0F0F0)
    four = np.uint32(4)
    halves = panel.view(np.uint32)
    for pair in range((pixels + 1) // 2):
        even, odd = starts[first + 2 * pair], starts[first + 2 * pair + 1]
        for word in range(offsets.shape[0]):
            a, b = np.uint32(bits[even + offsets[word]]), np.uint32(bits[odd + offsets[word]])
            halves[pair, 2 * word] = (a & low) | ((b & low) << four)
            halves[pair, 2 * word + 1] = ((a >> four) & low) | (b & high)


def prepare(bits, starts, first, pixels, offsets, weights, panel):
    """Lay out what the kernel of the weights needs of some pixels, once for all output channels."""


@overload(prepare)
def _prepare(bits, starts, first, pixels, offsets, weights, panel):
    if weights.dtype == types.uint8:

        def indices(bits, starts, first, pixels, offsets, weights, panel):
            _index_panel(bits, starts, first, pixels, offsets, panel)

        return indices
    return lambda bits, starts, first, pixels, offsets, weights, panel: None


def count(bits, starts, first, pixels, offsets, weights, block, panel, counts):
    """Fill counts[: pixels] with numbers of differing signs from the 32 channels of a block."""


@overload(count)
def _count(bits, starts, first, pixels, offsets, weights, block, panel, counts):
    if weights.dtype == types.uint8:

        def by_tables(bits, starts, first, pixels, offsets, weights, block, panel, counts):
            for pixel in range(0, pixels, WIDE):
                _table_tile(panel, pixel // 2, TABLES, weights, block, counts, pixel)

        return by_tables
    if weights.dtype == types.uint32:

        def by_words(bits, starts, first, pixels, offsets, weights, block, panel, counts):
            pixel = 0
            while pixels - pixel >= FEW:
                _wide_tile(bits, starts, first + pixel, offsets, weights, block, counts, pixel)
                pixel += WIDE
            for last in range(pixel, pixels):
                _single_tile(bits, starts, first + last, offsets, weights, block, counts, last)

        return by_words

    def by_bytes(bits, starts, first, pixels, offsets, weights, block, panel, counts):
        for pixel in range(0, pixels, NARROW):
            _narrow_tile(bits, starts, first + pixel, offsets, weights, block, counts, pixel)

    return by_bytes
