"""Products of binary weights with float activations by AVX-512: sums of four activations are looked up as bytes.

A table's entries are whole numbers of 32 or 16 bits, kept as planes of bytes. One permutation of bytes looks up 16
activations for 16 channels in one plane, one instruction adds what it finds to sums of 32 bits: 17 instructions for
512 products in four planes, where a permutation of floats and an addition did 64.
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

BYTES = ir.VectorType(vec.INT8, 64)
# By the dtype of tables: planes of a sum of four activations, and bits of each of these below the largest of a row.
PLANES, BITS = {np.uint8: 4, np.int8: 2}, {np.uint8: 29, np.int8: 13}
# Blocks of channels that share what is loaded of a table.
PAIR = 2


@intrinsic
def _table_tile(typing, tables, weights, block, other, sums):
    """Fill sums (planes, 64) with sums of bytes that the signs of two blocks of 32 channels look up.

    A word of a channel's signs is eight nibbles, whose bytes choose from tables (words, 2, planes, 64): the even
    nibbles from the first, the odd from the second, 16 entries for each of four bytes. Four bytes are added at once
    to a sum of 32 bits, signed in the last plane alone.
    """
    planes = PLANES[kind_of(tables)]

    def generate(context, builder, signature, arguments):
        tables, weights, sums = vec.data_pointers(context, builder, signature, arguments, (0, 1, 4))
        words = vec.length(context, builder, signature, arguments, 1, 1)
        size = builder.mul(words, vec.integer(LANES))
        blocks = [builder.gep(weights, [builder.mul(arguments[place], size)]) for place in (2, 3)]
        totals = vec.sums(builder, WORDS, 2 * PAIR * planes)
        with cgutils.for_range_slice(builder, vec.integer(0), words, vec.integer(1)) as (word, _):
            first = builder.mul(word, vec.integer(LANES))
            halves = [(own, vec.further(builder, first, 16 * half)) for own in blocks for half in (0, 1)]
            signs = [vec.load(builder, own, place, WORDS) for own, place in halves]
            for own, place in halves:
                vec.prefetch(builder, own, vec.further(builder, place, AHEAD))
            for odd in (0, 1):
                chosen = [_choices(builder, each, odd) for each in signs]
                for plane in range(planes):
                    place = builder.mul(word, vec.integer(2 * planes))
                    entry = builder.mul(vec.further(builder, place, odd * planes + plane), vec.integer(64))
                    table = vec.load(builder, tables, entry, BYTES)
                    for half, choice in enumerate(chosen):
                        found = vec.call(builder, "llvm.x86.avx512.permvar.qi.512", BYTES, table, choice)
                        total = totals[2 * PAIR * plane + half]
                        _add_bytes(builder, total, found, signed=plane == planes - 1)
        for place, total in enumerate(totals):
            vec.store(builder, builder.load(total), sums, vec.integer(16 * place))
        return context.get_dummy_value()

    return types.void(tables, weights, block, other, sums), generate


@intrinsic
def _fill_tables(typing, whole, tables, word):
    """Fill tables[word] with sums of four of whole[32 word : 32 word + 32], with all their signs, by bytes."""
    planes = PLANES[kind_of(tables)]

    def generate(context, builder, signature, arguments):
        whole, tables = vec.data_pointers(context, builder, signature, arguments, (0, 1))
        word = arguments[2]
        for odd, byte in ((odd, byte) for odd in (0, 1) for byte in range(4)):
            first = vec.further(builder, builder.mul(word, vec.integer(32)), 8 * byte + 4 * odd)
            total = sums_of_four(builder, whole, first, 0)
            for plane in range(planes):
                shifted = builder.lshr(total, vec.constant(WORDS, 8 * plane))
                rows = vec.further(builder, builder.mul(word, vec.integer(2 * planes)), odd * planes + plane)
                entry = vec.further(builder, builder.mul(rows, vec.integer(64)), 16 * byte)
                vec.store(builder, builder.trunc(shifted, ir.VectorType(vec.INT8, 16)), tables, entry)
        return context.get_dummy_value()

    return types.void(whole, tables, word), generate


def _choices(builder, signs, odd):
    """Entries of a table: four nibbles of every word, each among the 16 entries of its own byte."""
    shifted = builder.lshr(signs, vec.constant(WORDS, 4 * odd))
    nibbles = builder.and_(shifted, vec.constant(WORDS, 0x0F0F0F0F))
    return builder.bitcast(builder.or_(nibbles, vec.constant(WORDS, 0x30201000)), BYTES)


def _add_bytes(builder, total, found, *, signed):
    """Code that adds the four bytes of every word to a sum: AVX-512's products of unsigned by signed bytes."""
    words = builder.bitcast(found, WORDS)
    ones = vec.constant(WORDS, 0x01010101)
    factors = (ones, words) if signed else (words, ones)
    name = "llvm.x86.avx512.vpdpbusd.512"
    builder.store(vec.call(builder, name, WORDS, builder.load(total), *factors), total)


@kernel()
def _add_planes(sums, first, totals):
    """Fill totals of a block of channels with their sums, in planes of 64 from the first on."""
    totals[:] = 0.0
    size = np.float64(1.0)
    for plane in range(sums.shape[0]):
        for lane in range(LANES):
            totals[lane] += size * sums[plane, first + lane]
        size *= 256.0


@kernel()
def real_by_tables(inputs, weights, scale, bias, outputs, bits, whole, tables, sums):
    """Fill outputs (rows, channels) with scale * (inputs @ signs) + bias, by AVX-512.

    weights is (blocks, words, 32) uint32. Activations are rounded once, to so many bits below the largest of a row;
    all that follows is sums of whole numbers, so the order does not matter. The rest is scratch memory: whole, as
    long as the words have bits, int32, zero after the inputs; tables (rows together, words, 2, planes, 64), whose
    dtype says how many planes there are; sums (planes, 64) int32.
    """
    together, blocks = tables.shape[0], weights.shape[0]
    factors, totals = np.empty(together), np.empty(LANES)
    for first in range(0, inputs.shape[0], together):
        rows = min(together, inputs.shape[0] - first)
        for row in range(rows):
            factors[row] = round_row(inputs[first + row], bits, whole)
            for word in range(weights.shape[1]):
                _fill_tables(whole, tables[row], word)
        for block in range(0, blocks, PAIR):
            other = min(block + 1, blocks - 1)
            for row in range(rows):
                if factors[row] == 0.0:
                    continue
                _table_tile(tables[row], weights, block, other, sums)
                for place in range(1 + other - block):
                    start = (block + place) * LANES
                    stop = min(start + LANES, outputs.shape[1])
                    _add_planes(sums, place * LANES, totals)
                    scale_sums(totals, factors[row], start, stop, scale, bias, outputs, first + row)
        for row in range(first, first + rows):
            if factors[row - first] == 0.0:
                real_by_signs(inputs[row : row + 1], weights, scale, bias, outputs[row : row + 1])
