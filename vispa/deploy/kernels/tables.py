"""Differing signs of some pixels and 32 channels, looked up four at a time: the tile of the table kernel."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vispa.deploy.kernels import instructions as vec
from vispa.deploy.kernels.words import LANES, WIDE

# Nibbles are looked up three at a time; after six words a byte holds at most 192.
TRIPLE, FLUSH = 3, 6

ROW = ir.VectorType(vec.INT8, LANES)
HALF_ROW = ir.VectorType(vec.INT8, LANES // 2)
PAIRS_OF_BYTES = ir.VectorType(vec.INT16, LANES // 2)
COUNTS = ir.VectorType(vec.INT32, LANES)


def _tables():
    """Entry 16 (a + 16 b) + w: differences of four signs w from a, and sixteen times those from b."""
    ones = np.array([bin(value).count("1") for value in range(16)], dtype=np.uint8)
    differing = ones[np.arange(16)[:, None] ^ np.arange(16)[None]]
    return (differing[None, :, :] + 16 * differing[:, None, :]).astype(np.uint8).reshape(-1)


TABLES = _tables()


@intrinsic
def table_tile(typing, panel, first, tables, weights, block, counts, place):
    """Fill counts[place : place + 8] for four pairs of pixels, whose signs are bytes of a panel.

    After three lookups the low four bits of a byte count one pixel of the pair, the high four the other.
    """

    def generate(context, builder, signature, arguments):
        tile = _Tile(context, builder, signature, arguments)
        for pixel in range(WIDE):
            vec.store(builder, vec.constant(COUNTS, 0), tile.counts, tile.target(pixel))
        with vec.pieces(builder, tile.nibbles, 8 * FLUSH) as (start, stop):
            tile.add_triples(start, stop)
            tile.flush()
        return context.get_dummy_value()

    return types.void(panel, first, tables, weights, block, counts, place), generate


class _Tile:
    """Pairs of pixels by the 32 channels of a block: sums of low nibbles in bytes, of high ones in 16 bits."""

    def __init__(self, context, builder, signature, arguments):
        self.builder = builder
        panel, self.tables, weights, self.counts = vec.data_pointers(
            context, builder, signature, arguments, (0, 2, 3, 5)
        )
        first, block, self.place = arguments[1], arguments[4], arguments[6]
        self.nibbles = vec.length(context, builder, signature, arguments, 3, 1)
        self.own = builder.gep(weights, [builder.mul(builder.mul(block, self.nibbles), vec.integer(LANES))])
        self.chosen = [
            builder.gep(panel, [builder.mul(vec.further(builder, first, pair), self.nibbles)])
            for pair in range(WIDE // 2)
        ]
        self.low = vec.sums(builder, ROW, WIDE // 2)
        self.high = vec.sums(builder, PAIRS_OF_BYTES, WIDE // 2)

    def add_triples(self, start, stop):
        """Code that looks up nibbles of the window, three at a time, and adds what it finds."""
        builder = self.builder
        with cgutils.for_range_slice(builder, start, stop, vec.integer(TRIPLE)) as (nibble, _):
            places = [vec.further(builder, nibble, step) for step in range(TRIPLE)]
            signs = [vec.load(builder, self.own, builder.mul(at, vec.integer(LANES)), ROW) for at in places]
            for pair, chosen in enumerate(self.chosen):
                found = [self.look_up(chosen, at, sign) for at, sign in zip(places, signs, strict=True)]
                total = builder.add(builder.add(found[0], found[1]), found[2])
                vec.grow(builder, self.low[pair], builder.and_(total, vec.constant(ROW, 15)))
                words = builder.bitcast(total, PAIRS_OF_BYTES)
                vec.grow(builder, self.high[pair], builder.lshr(words, vec.constant(words.type, 4)))

    def look_up(self, chosen, nibble, signs):
        """Differing signs of a pair and 32 channels, by one shuffle of the table that the pair chooses."""
        builder = self.builder
        choice = builder.zext(builder.load(builder.gep(chosen, [nibble])), vec.INT64)
        table = vec.load(builder, self.tables, builder.mul(choice, vec.integer(16)), HALF_ROW)
        lanes = ir.Constant(ir.VectorType(vec.INT32, LANES), [*range(16), *range(16)])
        both = builder.shuffle_vector(table, table, lanes)
        return vec.call(builder, "llvm.x86.avx2.pshuf.b", ROW, both, signs)

    def flush(self):
        """Code that adds the sums of both pixels of each pair to their counts, and sets them to zero."""
        builder = self.builder
        for pair, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            one = builder.load(low)
            # a word of `high` holds (other pixel, even byte) + 16 (this pixel, odd byte) + 256 (other, odd)
            words = builder.bitcast(one, PAIRS_OF_BYTES)
            eight, four = vec.constant(words.type, 8), vec.constant(words.type, 4)
            odd = builder.shl(builder.lshr(words, eight), four)
            other = builder.bitcast(builder.sub(builder.load(high), odd), ROW)
            for pixel, total in ((2 * pair, one), (2 * pair + 1, other)):
                before = vec.load(builder, self.counts, self.target(pixel), COUNTS)
                grown = builder.add(before, builder.zext(total, COUNTS))
                vec.store(builder, grown, self.counts, self.target(pixel))
            builder.store(vec.constant(ROW, 0), low)
            builder.store(vec.constant(PAIRS_OF_BYTES, 0), high)

    def target(self, pixel):
        """The entry of the counts at which a pixel's begin."""
        return self.builder.mul(vec.further(self.builder, self.place, pixel), vec.integer(LANES))
