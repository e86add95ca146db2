"""Products of binary weights with float activations by AVX2: sums of four activations are looked up as digits.

A table's entries are whole numbers, made positive, in digits of seven or eight bits. One shuffle of bytes looks up
a digit of four activations for 32 channels, which is added to sums of 16 bits, two at once where they fit a byte.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from solvers.kernels.compile import kernel
from vispa.deploy.kernels import instructions as vec
from vispa.deploy.kernels.real import (
    AHEAD,
    LANES,
    WORDS,
    kind_of,
    real_by_signs,
    round_row,
    scale_sums,
    sums_of_four,
)

# Sums of four activations that a word of signs chooses.
GROUPS = 8
# By the dtype of tables: digits of such a sum, bits of a digit, and bits of activations below the largest of a row.
PLANES, DIGIT, BITS = {np.uint8: 4, np.int8: 2}, {np.uint8: 7, np.int8: 8}, {np.uint8: 25, np.int8: 13}
# Words after which sums of 16 bits are emptied; they grow by at most eight times 255 a word.
FLUSH = 32

ROW, HALF_ROW = ir.VectorType(vec.INT8, LANES), ir.VectorType(vec.INT8, LANES // 2)
EIGHT, PAIRS = ir.VectorType(vec.INT32, 8), ir.VectorType(vec.INT16, LANES // 2)


def _order():
    """Where the sums of channels lie among those of a plane: even bytes of `_bytes` before odd ones."""
    channels = np.arange(LANES)
    at = channels % 8 // 4 * 16 + channels // 8 * 4 + channels % 4
    return at % 2 * (LANES // 2) + at // 2


ORDER = _order()


def _lanes(*lane):
    """A choice of eight numbers of two vectors of as many, the same in both halves of a register."""
    return ir.Constant(EIGHT, [place + 4 * half for half in (0, 1) for place in lane])


def _bytes(builder, words):
    """The first bytes of 32 words in four vectors, their second ones, and so on."""
    apart = [16 * half + 4 * channel + byte for half in (0, 1) for byte in range(4) for channel in range(4)]
    mask = ir.Constant(ir.VectorType(vec.INT32, LANES), apart)
    sorted_ = [
        builder.bitcast(builder.shuffle_vector(each, ir.Constant(ROW, ir.Undefined), mask), EIGHT)
        for each in words
    ]
    # a table of four by four numbers, turned over its diagonal
    low = [builder.shuffle_vector(*sorted_[first : first + 2], _lanes(0, 8, 1, 9)) for first in (0, 2)]
    high = [builder.shuffle_vector(*sorted_[first : first + 2], _lanes(2, 10, 3, 11)) for first in (0, 2)]
    turned = [
        builder.shuffle_vector(*pair, lanes)
        for pair in (low, high)
        for lanes in (_lanes(0, 1, 8, 9), _lanes(2, 3, 10, 11))
    ]
    return [builder.bitcast(each, ROW) for each in turned]


@intrinsic
def _shuffle_tile(typing, tables, weights, block, sums):
    """Fill sums (planes, 32), in ORDER, with sums of digits that the signs of a block look up.

    tables is (words, groups, planes, 16).
    """
    kind = kind_of(tables)

    def generate(context, builder, signature, arguments):
        tile = _Tile(context, builder, signature, arguments, kind)
        with vec.pieces(builder, tile.words, FLUSH) as (start, stop):
            tile.add_words(start, stop)
            tile.flush()
        return context.get_dummy_value()

    return types.void(tables, weights, block, sums), generate


class _Tile:
    """A block of channels: sums of bytes of both kinds of channels, and those of the odd ones apart."""

    def __init__(self, context, builder, signature, arguments, kind):
        planes = PLANES[kind]
        self.builder, self.planes, self.small = builder, planes, DIGIT[kind] < 8
        self.tables, weights, self.sums = vec.data_pointers(context, builder, signature, arguments, (0, 1, 3))
        self.words = vec.length(context, builder, signature, arguments, 1, 1)
        own = builder.gep(weights, [builder.mul(builder.mul(arguments[2], self.words), vec.integer(LANES))])
        self.own = builder.bitcast(own, vec.INT8.as_pointer())
        self.both, self.odd = vec.sums(builder, PAIRS, planes), vec.sums(builder, PAIRS, planes)
        for plane in range(2 * planes):
            vec.store(builder, vec.constant(WORDS, 0), self.sums, vec.integer(16 * plane))

    def add_words(self, start, stop):
        """Code that looks up what words of signs choose."""
        builder = self.builder
        with cgutils.for_range_slice(builder, start, stop, vec.integer(1)) as (word, _):
            first = builder.mul(word, vec.integer(4 * LANES))
            quarters = [
                vec.load(builder, self.own, vec.further(builder, first, LANES * quarter), ROW)
                for quarter in range(4)
            ]
            for line in (0, 64):
                vec.prefetch(builder, self.own, vec.further(builder, first, 4 * AHEAD + line))
            for byte, signs in enumerate(_bytes(builder, quarters)):
                self.add_byte(word, byte, signs)

    def add_byte(self, word, byte, signs):
        """Code that looks up the sums of two groups, which one byte of every channel chooses."""
        builder, fifteen = self.builder, vec.constant(ROW, 15)
        shifted = builder.lshr(builder.bitcast(signs, PAIRS), vec.constant(PAIRS, 4))
        chosen = [builder.and_(signs, fifteen), builder.and_(builder.bitcast(shifted, ROW), fifteen)]
        for plane in range(self.planes):
            found = [
                vec.call(
                    builder, "llvm.x86.avx2.pshuf.b", ROW, self.table(word, 2 * byte + odd, plane), choice
                )
                for odd, choice in enumerate(chosen)
            ]
            for each in [builder.add(*found)] if self.small else found:
                pairs = builder.bitcast(each, PAIRS)
                vec.grow(builder, self.both[plane], pairs)
                vec.grow(builder, self.odd[plane], builder.lshr(pairs, vec.constant(PAIRS, 8)))

    def table(self, word, group, plane):
        """The table of a group and digit, in both halves of a register."""
        builder = self.builder
        row = vec.further(
            builder, builder.mul(word, vec.integer(GROUPS * self.planes)), group * self.planes + plane
        )
        table = vec.load(builder, self.tables, builder.mul(row, vec.integer(16)), HALF_ROW)
        twice = ir.Constant(ir.VectorType(vec.INT32, LANES), [*range(16), *range(16)])
        return builder.shuffle_vector(table, table, twice)

    def flush(self):
        """Code that adds sums of 16 bits to those of 32, and sets them to zero."""
        builder = self.builder
        for plane, (both, odd) in enumerate(zip(self.both, self.odd, strict=True)):
            upper = builder.load(odd)
            lower = builder.sub(builder.load(both), builder.shl(upper, vec.constant(PAIRS, 8)))
            for half, total in enumerate((lower, upper)):
                place = vec.integer(LANES * plane + 16 * half)
                before = vec.load(builder, self.sums, place, WORDS)
                vec.store(builder, builder.add(before, builder.zext(total, WORDS)), self.sums, place)
            for each in (both, odd):
                builder.store(vec.constant(PAIRS, 0), each)


@intrinsic
def _fill_tables(typing, whole, tables, word):
    """Fill tables[word] with sums of four of whole[32 word : 32 word + 32], with all their signs, by digits."""
    planes, size = PLANES[kind_of(tables)], DIGIT[kind_of(tables)]

    def generate(context, builder, signature, arguments):
        whole, tables = vec.data_pointers(context, builder, signature, arguments, (0, 1))
        word = arguments[2]
        for group in range(GROUPS):
            first = vec.further(builder, builder.mul(word, vec.integer(32)), 4 * group)
            # as large as what is subtracted in the end
            total = sums_of_four(builder, whole, first, 1 << size * planes - 1)
            for plane in range(planes):
                digit = builder.lshr(total, vec.constant(WORDS, size * plane))
                digit = builder.and_(digit, vec.constant(WORDS, (1 << size) - 1))
                row = vec.further(
                    builder, builder.mul(word, vec.integer(GROUPS * planes)), group * planes + plane
                )
                bytes_ = builder.trunc(digit, HALF_ROW)
                vec.store(builder, bytes_, tables, builder.mul(row, vec.integer(16)))
        return context.get_dummy_value()

    return types.void(whole, tables, word), generate


@kernel()
def _add_digits(sums, radix, groups, totals):
    """Fill totals with the sums of a block's channels, which are too large by half of the range for every group."""
    totals[:] = -0.5 * radix ** sums.shape[0] * groups
    size = np.float64(1.0)
    for plane in range(sums.shape[0]):
        for lane in range(LANES):
            totals[lane] += size * sums[plane, ORDER[lane]]
        size *= radix


@kernel()
def real_by_shuffles(inputs, weights, scale, bias, outputs, bits, whole, tables, sums):
    """Fill outputs (rows, channels) with scale * (inputs @ signs) + bias, by AVX2.

    As `real_by_tables` with tables (rows together, words, 8, planes, 16) and sums (planes, 32).
    """
    together, words = tables.shape[0], weights.shape[1]
    # half of the range is what four of the largest add up to
    radix = 2.0 ** ((bits + 3) // sums.shape[0])
    factors, totals = np.empty(together), np.empty(LANES)
    for first in range(0, inputs.shape[0], together):
        rows = min(together, inputs.shape[0] - first)
        for row in range(rows):
            factors[row] = round_row(inputs[first + row], bits, whole)
            for word in range(words):
                _fill_tables(whole, tables[row], word)
        for block in range(weights.shape[0]):
            start, stop = block * LANES, min(block * LANES + LANES, outputs.shape[1])
            for row in range(rows):
                if factors[row] > 0.0:
                    _shuffle_tile(tables[row], weights, block, sums)
                    _add_digits(sums, radix, GROUPS * words, totals)
                    scale_sums(totals, factors[row], start, stop, scale, bias, outputs, first + row)
        for row in range(first, first + rows):
            if factors[row - first] == 0.0:
                real_by_signs(inputs[row : row + 1], weights, scale, bias, outputs[row : row + 1])
