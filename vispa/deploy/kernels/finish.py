"""What follows a count of differing signs: a bit by its threshold, or a float by the layer's own operations."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vispa.deploy.kernels import instructions as vec

# What a float epilogue does, as bits of one number.
BIAS, NORM, FUSED, RESIDUAL, CLAMP, PRELU, RECTIFY = 1, 2, 4, 8, 16, 32, 64
# Rows of the table of numbers a channel.
SCALE, SHIFT, FACTOR, OFFSET, LOWER, UPPER, SLOPE = range(7)


@intrinsic
def above(typing, counts, place, limits, at):
    """A word whose bit c is whether counts[place, c] > limits[at + c]."""

    def generate(context, builder, signature, arguments):
        counts, limits = vec.data_pointers(context, builder, signature, arguments, (0, 2))
        kind = ir.VectorType(vec.INT32, 32)
        found = vec.load(builder, counts, builder.mul(arguments[1], vec.integer(32)), kind)
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
    """Write 32 floats: (base - 2 count) * scale + bias, rectified, normalised, added to, clamped, in this order.

    numbers is (7, channels) float32; the residual's 32 entries begin at `beside`, the outputs' at `at`.
    """

    def generate(context, builder, signature, arguments):
        epilogue = _Epilogue(context, builder, signature, arguments)
        epilogue.change(BIAS, epilogue.shift)
        epilogue.change(RECTIFY, epilogue.rectify)
        epilogue.change(NORM, epilogue.normalise)
        epilogue.change(RESIDUAL, epilogue.add)
        epilogue.change(CLAMP, epilogue.clamp)
        epilogue.change(PRELU, epilogue.prelu)
        epilogue.write()
        return context.get_dummy_value()

    return (
        types.void(counts, place, bases, base, numbers, channel, steps, residual, beside, outputs, at),
        generate,
    )


class _Epilogue:
    """Two vectors of 16 channels, and the steps that change both where a layer has them."""

    HALVES = (0, 16)
    KIND = ir.VectorType(vec.FLOAT, 16)
    WHOLE = ir.VectorType(vec.INT32, 16)

    def __init__(self, context, builder, signature, arguments):
        self.builder = builder
        counts, bases, self.numbers, self.residual, self.outputs = vec.data_pointers(
            context, builder, signature, arguments, (0, 2, 4, 7, 9)
        )
        _, place, _, base, _, self.channel, self.steps, _, self.beside, _, self.at = arguments
        self.channels = vec.length(context, builder, signature, arguments, 4, 1)
        row = builder.mul(place, vec.integer(32))
        self.values = [
            cgutils.alloca_once_value(builder, self.scaled(counts, row, bases, base, half))
            for half in self.HALVES
        ]

    def scaled(self, counts, row, bases, base, half):
        """The sums of products, twice the differing ones less than all, times their scales."""
        builder = self.builder
        found = vec.load(builder, counts, vec.further(builder, row, half), self.WHOLE)
        start = vec.load(builder, bases, vec.further(builder, base, half), self.WHOLE)
        total = builder.sub(start, builder.shl(found, vec.constant(self.WHOLE, 1)))
        return builder.fmul(builder.sitofp(total, self.KIND), self.number(SCALE, half))

    def number(self, row, half):
        """Sixteen channels' numbers of a kind."""
        start = self.builder.add(self.builder.mul(vec.integer(row), self.channels), self.channel)
        return vec.load(self.builder, self.numbers, vec.further(self.builder, start, half), self.KIND)

    def wanted(self, flag):
        """Whether the layer has a step."""
        found = self.builder.and_(self.steps, vec.integer(flag))
        return self.builder.icmp_signed("!=", found, vec.integer(0))

    def change(self, flag, step):
        """Code that takes a step where the layer has it."""
        with self.builder.if_then(self.wanted(flag)):
            for half, value in zip(self.HALVES, self.values, strict=True):
                self.builder.store(step(self.builder.load(value), half), value)

    def shift(self, value, half):
        """The sum with the bias."""
        return self.builder.fadd(value, self.number(SHIFT, half))

    def rectify(self, value, half):
        """The value, zero where it is negative; NaN stays."""
        zero = vec.constant(self.KIND, 0.0)
        return self.builder.select(self.builder.fcmp_ordered("<", value, zero), zero, value)

    def normalise(self, value, half):
        """Batch normalisation, rounded once or twice as torch does here."""
        factor, offset = self.number(FACTOR, half), self.number(OFFSET, half)
        fused = vec.call(self.builder, "llvm.fma.v16f32", self.KIND, value, factor, offset)
        apart = self.builder.fadd(self.builder.fmul(value, factor), offset)
        return self.builder.select(self.wanted(FUSED), fused, apart)

    def add(self, value, half):
        """The sum with the residual."""
        other = vec.load(self.builder, self.residual, vec.further(self.builder, self.beside, half), self.KIND)
        return self.builder.fadd(value, other)

    def clamp(self, value, half):
        """The value between two bounds; NaN stays."""
        lower, upper = self.number(LOWER, half), self.number(UPPER, half)
        value = self.builder.select(self.builder.fcmp_ordered("<", value, lower), lower, value)
        return self.builder.select(self.builder.fcmp_ordered(">", value, upper), upper, value)

    def prelu(self, value, half):
        """The value, times a slope where it is not positive."""
        positive = self.builder.fcmp_ordered(">", value, vec.constant(self.KIND, 0.0))
        return self.builder.select(positive, value, self.builder.fmul(value, self.number(SLOPE, half)))

    def write(self):
        """Code that stores both vectors."""
        for half, value in zip(self.HALVES, self.values, strict=True):
            at = vec.further(self.builder, self.at, half)
            vec.store(self.builder, self.builder.load(value), self.outputs, at)
