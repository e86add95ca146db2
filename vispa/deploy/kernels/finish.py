"""What follows a count of differing signs: a bit by its threshold, or a float by the layer's own operations."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vispa.deploy.kernels import instructions as vec

# What a float epilogue does, as bits of one number.
BIAS, NORM, FUSED, RESIDUAL, CLAMP, PRELU = 1, 2, 4, 8, 16, 32
# Rows of the table of numbers a channel.
SCALE, SHIFT, FACTOR, OFFSET, LOWER, UPPER, SLOPE = range(7)


@intrinsic
def above(typing, counts, place, limits, at):
    """A word whose bit c is whether counts[place, c] > limits[at + c]."""

    def generate(context, builder, signature, arguments):
        counts, limits = vec.data_pointers(context, builder, signature, arguments, (0, 2))
        kind = ir.VectorType(vec.INT32, 32)
        found = vec.load(builder, counts, builder.mul(arguments[1], ir.Constant(vec.INT64, 32)), kind)
        over = builder.icmp_signed(">", found, vec.load(builder, limits, arguments[3], kind))
        return builder.bitcast(over, vec.INT32)

    return types.uint32(counts, place, limits, at), generate


@intrinsic
def negative_bits(typing, values, at):
    """A word whose bit c is whether values[at + c] >= 0 fails, as it does for NaN."""

    def generate(context, builder, signature, arguments):
        (values,) = vec.data_pointers(context, builder, signature, arguments, (0,))
        kind = ir.VectorType(vec.FLOAT, 32)
        found = vec.load(builder, values, arguments[1], kind)
        return builder.bitcast(builder.fcmp_unordered("<", found, vec.constant(kind, 0.0)), vec.INT32)

    return types.uint32(values, at), generate


@intrinsic
def finish(typing, counts, place, bases, base, numbers, channel, steps, residual, beside, outputs, at):
    """Write 32 floats: (base - 2 count) * scale + bias, normalised, added to, clamped, in the order of the layers.

    numbers is (7, channels) float32; the residual's 32 entries begin at `beside`, the outputs' at `at`.
    """
    signature = types.void(counts, place, bases, base, numbers, channel, steps, residual, beside, outputs, at)
    kind = ir.VectorType(vec.FLOAT, 16)
    whole = ir.VectorType(vec.INT32, 16)

    def generate(context, builder, signature, arguments):
        counts, bases, numbers, residual, outputs = vec.data_pointers(
            context, builder, signature, arguments, (0, 2, 4, 7, 9)
        )
        _, place, _, base, _, channel, steps, _, beside, _, at = arguments
        table = context.make_array(signature.args[4])(context, builder, arguments[4])
        channels = builder.extract_value(table.shape, 1)

        def number(row, half):
            start = builder.add(builder.mul(ir.Constant(vec.INT64, row), channels), channel)
            return vec.load(builder, numbers, _further(builder, start, half), kind)

        def wanted(flag):
            found = builder.and_(steps, ir.Constant(vec.INT64, flag))
            return builder.icmp_signed("!=", found, ir.Constant(vec.INT64, 0))

        row = builder.mul(place, ir.Constant(vec.INT64, 32))
        values = []
        for half in (0, 16):
            found = vec.load(builder, counts, _further(builder, row, half), whole)
            start = vec.load(builder, bases, _further(builder, base, half), whole)
            total = builder.sub(start, builder.shl(found, vec.constant(whole, 1)))
            value = builder.fmul(builder.sitofp(total, kind), number(SCALE, half))
            values.append(cgutils.alloca_once_value(builder, value))

        def change(flag, function):
            with builder.if_then(wanted(flag)):
                for half, value in zip((0, 16), values, strict=True):
                    builder.store(function(builder.load(value), half), value)

        def normalise(value, half):
            factor, offset = number(FACTOR, half), number(OFFSET, half)
            fused = vec.call(builder, "llvm.fma.v16f32", kind, value, factor, offset)
            apart = builder.fadd(builder.fmul(value, factor), offset)
            return builder.select(wanted(FUSED), fused, apart)

        def clamp(value, half):
            lower, upper = number(LOWER, half), number(UPPER, half)
            value = builder.select(builder.fcmp_ordered("<", value, lower), lower, value)
            return builder.select(builder.fcmp_ordered(">", value, upper), upper, value)

        def prelu(value, half):
            positive = builder.fcmp_ordered(">", value, vec.constant(kind, 0.0))
            return builder.select(positive, value, builder.fmul(value, number(SLOPE, half)))

        def add(value, half):
            return builder.fadd(value, vec.load(builder, residual, _further(builder, beside, half), kind))

        change(BIAS, lambda value, half: builder.fadd(value, number(SHIFT, half)))
        change(NORM, normalise)
        change(RESIDUAL, add)
        change(CLAMP, clamp)
        change(PRELU, prelu)
        for half, value in zip((0, 16), values, strict=True):
            vec.store(builder, builder.load(value), outputs, _further(builder, at, half))
        return context.get_dummy_value()

    return signature, generate


def _further(builder, start, entries):
    return builder.add(start, ir.Constant(vec.INT64, entries))
