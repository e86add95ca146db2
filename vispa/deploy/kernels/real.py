"""Products of binary weights with float activations: what all kernels share, and the one that turns their signs."""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from solvers.kernels.compile import kernel
from vispa.deploy.kernels import instructions as vec

LANES = 32
WORDS, FLOATS = ir.VectorType(vec.INT32, 16), ir.VectorType(vec.FLOAT, 16)
# Weights are asked for so many words before they are used: 4 KB, in which memory keeps up.
AHEAD = 1024
# Rows whose tables share one pass through the weights.
TOGETHER = 4


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
def real_by_signs(inputs, weights, scale, bias, outputs):
    """Fill outputs (rows, channels) with scale * (inputs @ signs) + bias, on any processor.

    weights is (blocks, words, 32) uint32.
    """
    numbers = np.zeros(32 * weights.shape[1], np.float32)
    sums = np.empty(LANES * weights.shape[0], np.float32)
    for row in range(inputs.shape[0]):
        numbers[: inputs.shape[1]] = inputs[row]
        for block in range(weights.shape[0]):
            _sign_tile(numbers, weights, block, sums, block * LANES)
        for channel in range(outputs.shape[1]):
            outputs[row, channel] = sums[channel] * scale[channel] + bias[channel]


def kind_of(tables):
    """The dtype of tables, whose type in numba is given, which says how many bits they keep: a key of BITS."""
    return np.int8 if tables.dtype == types.int8 else np.uint8


def sums_of_four(builder, whole, first, start):
    """Sixteen sums of four numbers and a start: bit k of a sum's place makes the k-th number negative."""
    total, kind = vec.constant(WORDS, start), ir.VectorType(ir.IntType(1), 16)
    for bit in range(4):
        number = builder.load(builder.gep(whole, [vec.further(builder, first, bit)]))
        negative = ir.Constant(kind, [entry >> bit & 1 for entry in range(16)])
        plus, minus = (vec.splat(builder, each, 16) for each in (number, builder.neg(number)))
        total = builder.add(total, builder.select(negative, minus, plus))
    return total


@kernel()
def round_row(row, bits, whole):
    """Fill whole with a row times a power of two, which is returned: 0 unless all are finite.

    Bits are those of the largest below the point, without its sign.
    """
    patterns, largest = row.view(np.int32), np.int32(0)
    for place in range(row.shape[0]):
        # absolute values of floats are in the order of their patterns
        largest = max(largest, patterns[place] & np.int32(0x7FFFFFFF))
    if largest >= np.int32(0x7F800000):
        return 0.0
    size = np.array([largest], np.int32).view(np.float32)[0]
    factor = 2.0 ** (bits - math.frexp(size)[1])
    if np.rint(size * factor) >= 2.0**bits:
        factor *= 0.5
    for place in range(row.shape[0]):
        whole[place] = np.int32(np.rint(row[place] * factor))
    return factor


@kernel()
def scale_sums(totals, factor, start, stop, scale, bias, outputs, row):
    """Fill outputs[row, start : stop] from sums of rounded activations."""
    inverse = 1.0 / factor
    for channel in range(start, stop):
        # beyond float32 only where torch is
        value = np.float32(totals[channel - start] * inverse)
        outputs[row, channel] = value * scale[channel] + bias[channel]
