"""Products of binary weights with float activations, by tables of sums of four of them."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from solvers.kernels.compile import kernel
from vispa.deploy.kernels import instructions as vec

LANES = 32
WORDS, FLOATS = ir.VectorType(vec.INT32, 16), ir.VectorType(vec.FLOAT, 16)


@intrinsic
def _table_tile(typing, tables, weights, block, outputs, at):
    """Fill outputs[at : at + 32] with sums of one of 16 floats a nibble and channel: AVX-512's permutation."""

    def terms(builder, tables, word, signs):
        for nibble in range(8):
            entry = builder.mul(
                builder.add(builder.mul(word, vec.integer(8)), vec.integer(nibble)), vec.integer(16)
            )
            table = vec.load(builder, tables, entry, FLOATS)
            for half in (0, 1):
                index = builder.lshr(signs[half], vec.constant(WORDS, 4 * nibble))
                yield half, vec.call(builder, "llvm.x86.avx512.permvar.sf.512", FLOATS, table, index)

    return types.void(tables, weights, block, outputs, at), _tile(terms)


@intrinsic
def _sign_tile(typing, numbers, weights, block, outputs, at):
    """Fill outputs[at : at + 32] with sums of numbers whose sign bit a channel's bit turns: any processor."""

    def terms(builder, numbers, word, signs):
        for bit in range(32):
            place = builder.add(builder.mul(word, vec.integer(32)), vec.integer(bit))
            number = vec.splat(builder, builder.load(builder.gep(numbers, [place])), 16)
            for half in (0, 1):
                turned = builder.shl(signs[half], vec.constant(WORDS, 31 - bit))
                top = builder.and_(turned, vec.constant(WORDS, 1 << 31))
                flipped = builder.xor(builder.bitcast(number, WORDS), top)
                yield half, builder.bitcast(flipped, FLOATS)

    return types.void(numbers, weights, block, outputs, at), _tile(terms)


def _tile(terms):
    """Code that sums, over the words of a block, terms of its lower and upper 16 channels."""

    def generate(context, builder, signature, arguments):
        source, weights, outputs = vec.data_pointers(context, builder, signature, arguments, (0, 1, 3))
        block, at = arguments[2], arguments[4]
        words = vec.length(context, builder, signature, arguments, 1, 1)
        own = builder.gep(weights, [builder.mul(builder.mul(block, words), vec.integer(LANES))])
        # two sums a half, so that no addition waits for the one before
        totals = [cgutils.alloca_once_value(builder, vec.constant(FLOATS, 0.0)) for _ in range(4)]
        with cgutils.for_range_slice(builder, vec.integer(0), words, vec.integer(1)) as (word, _):
            first = builder.mul(word, vec.integer(LANES))
            signs = [
                vec.load(builder, own, builder.add(first, vec.integer(16 * half)), WORDS) for half in (0, 1)
            ]
            for count, (half, term) in enumerate(terms(builder, source, word, signs)):
                total = totals[half + 2 * (count // 2 % 2)]
                builder.store(builder.fadd(builder.load(total), term), total)
        for half in (0, 1):
            whole = builder.fadd(builder.load(totals[half]), builder.load(totals[2 + half]))
            vec.store(builder, whole, outputs, builder.add(at, vec.integer(16 * half)))
        return context.get_dummy_value()

    return generate


@kernel()
def _fill_tables(row, tables):
    """Entry (k, s) of tables is the sum of row[4 k : 4 k + 4], terms negated where s has a bit; zeros beyond."""
    count = row.shape[0]
    for nibble in range(tables.shape[0]):
        for signs in range(16):
            total = np.float32(0.0)
            for bit in range(4):
                place = 4 * nibble + bit
                if place < count:
                    total += -row[place] if (signs >> bit) & 1 else row[place]
            tables[nibble, signs] = total


@kernel()
def real_by_tables(inputs, weights, scale, bias, outputs):
    """Fill outputs (rows, channels) with scale * (inputs @ signs) + bias, by AVX-512.

    weights is (blocks, words, 32) uint32.
    """
    tables = np.empty((8 * weights.shape[1], 16), np.float32)
    sums = np.empty(LANES * weights.shape[0], np.float32)
    for row in range(inputs.shape[0]):
        _fill_tables(inputs[row], tables)
        for block in range(weights.shape[0]):
            _table_tile(tables, weights, block, sums, block * LANES)
        for channel in range(outputs.shape[1]):
            outputs[row, channel] = sums[channel] * scale[channel] + bias[channel]


@kernel()
def real_by_signs(inputs, weights, scale, bias, outputs):
    """Fill outputs as `real_by_tables` does, on any processor."""
    numbers = np.zeros(32 * weights.shape[1], np.float32)
    sums = np.empty(LANES * weights.shape[0], np.float32)
    for row in range(inputs.shape[0]):
        numbers[: inputs.shape[1]] = inputs[row]
        for block in range(weights.shape[0]):
            _sign_tile(numbers, weights, block, sums, block * LANES)
        for channel in range(outputs.shape[1]):
            outputs[row, channel] = sums[channel] * scale[channel] + bias[channel]
