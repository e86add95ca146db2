"""The steps between the sums of a layer and its outputs, as code for two vectors of 16 floats at a time."""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils

from vispa.deploy.kernels import instructions as vec

# What a float epilogue does, as bits of one number.
BIAS, NORM, FUSED, RESIDUAL, CLAMP, PRELU, RECTIFY = 1, 2, 4, 8, 16, 32, 64
# Rows of the table of numbers a channel.
SCALE, SHIFT, FACTOR, OFFSET, LOWER, UPPER, SLOPE = range(7)
ROWS = 7

HALVES = (0, 1)
FLOATS = ir.VectorType(vec.FLOAT, 16)


class Steps:
    """Two vectors that the steps of a layer change, each step where the layer has it.

    Parameters
    ----------
    builder : IRBuilder
    steps : value
        Flags of the steps that there are.
    number : callable
        The vector of a row of numbers for a half.
    other : callable
        The vector of the residual for a half.
    """

    def __init__(self, builder, steps, number, other):
        self.builder, self.steps, self.number, self.other = builder, steps, number, other
        self.values = [cgutils.alloca_once_value(builder, vec.constant(FLOATS, 0.0)) for _ in HALVES]

    def take(self, values):
        """The two vectors after all steps, in this order: bias, rectified, normalised, added to, clamped, PReLU."""
        builder = self.builder
        for place, value in zip(self.values, values, strict=True):
            builder.store(value, place)
        # rare ones in one question
        with builder.if_then(self.wanted(BIAS | RECTIFY)):
            self.change(BIAS, self.shift)
            self.change(RECTIFY, self.rectify)
        with builder.if_then(self.wanted(NORM)), builder.if_else(self.wanted(FUSED)) as (once, twice):
            with once:
                self.each(self.normalise_once)
            with twice:
                self.each(self.normalise_twice)
        self.change(RESIDUAL, self.add)
        with builder.if_then(self.wanted(CLAMP | PRELU)):
            self.change(CLAMP, self.clamp)
            self.change(PRELU, self.prelu)
        return [builder.load(place) for place in self.values]

    def wanted(self, flags):
        """Whether the layer has any of some steps."""
        found = self.builder.and_(self.steps, vec.integer(flags))
        return self.builder.icmp_signed("!=", found, vec.integer(0))

    def change(self, flag, step):
        """Code that takes a step where the layer has it."""
        with self.builder.if_then(self.wanted(flag)):
            self.each(step)

    def each(self, step):
        """Code that takes a step of both vectors."""
        for half, place in enumerate(self.values):
            self.builder.store(step(self.builder.load(place), half), place)

    def shift(self, value, half):
        """The sum with the bias."""
        return self.builder.fadd(value, self.number(SHIFT, half))

    def rectify(self, value, half):
        """The value, zero where it is negative; NaN stays."""
        zero = vec.constant(FLOATS, 0.0)
        return self.builder.select(self.builder.fcmp_ordered("<", value, zero), zero, value)

    def normalise_once(self, value, half):
        """Batch normalisation as torch rounds it on this processor: once."""
        factor, offset = self.number(FACTOR, half), self.number(OFFSET, half)
        return vec.call(self.builder, "llvm.fma.v16f32", FLOATS, value, factor, offset)

    def normalise_twice(self, value, half):
        """Batch normalisation whose product is rounded before the sum."""
        factor, offset = self.number(FACTOR, half), self.number(OFFSET, half)
        return self.builder.fadd(self.builder.fmul(value, factor), offset)

    def add(self, value, half):
        """The sum with the residual."""
        return self.builder.fadd(value, self.other(half))

    def clamp(self, value, half):
        """The value between two bounds; NaN stays."""
        lower, upper = self.number(LOWER, half), self.number(UPPER, half)
        value = self.builder.select(self.builder.fcmp_ordered("<", value, lower), lower, value)
        return self.builder.select(self.builder.fcmp_ordered(">", value, upper), upper, value)

    def prelu(self, value, half):
        """The value, times a slope where it is not positive."""
        positive = self.builder.fcmp_ordered(">", value, vec.constant(FLOATS, 0.0))
        return self.builder.select(positive, value, self.builder.fmul(value, self.number(SLOPE, half)))
