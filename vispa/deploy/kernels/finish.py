"""What follows a count of differing signs: a bit by its threshold, or a float by the layer's own operations."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vispa.deploy.kernels import instructions as vec
from vispa.deploy.kernels.steps import FLOATS, HALVES, ROWS, SCALE, Steps

WORDS = ir.VectorType(vec.INT32, 16)
LANES = 32


@intrinsic
def above(typing, counts, place, limits, at):
    """A word whose bit c is whether counts[place, c] > limits[at + c]."""

    def generate(context, builder, signature, arguments):
        counts, limits = vec.data_pointers(context, builder, signature, arguments, (0, 2))
        kind = ir.VectorType(vec.INT32, LANES)
        found = vec.load(builder, counts, builder.mul(arguments[1], vec.integer(LANES)), kind)
        over = builder.icmp_signed(">", found, vec.load(builder, limits, arguments[3], kind))
        return builder.bitcast(over, vec.INT32)

    return types.uint32(counts, place, limits, at), generate


@intrinsic
def negative_bits(typing, values, at):
    """A word whose bit c is whether values[at + c] >= 0 fails, as it does for NaN."""

    def generate(context, builder, signature, arguments):
        (values,) = vec.data_pointers(context, builder, signature, arguments, (0,))
        kind = ir.VectorType(vec.FLOAT, LANES)
        found = vec.load(builder, values, arguments[1], kind)
        return builder.bitcast(builder.fcmp_unordered("<", found, vec.constant(kind, 0.0)), vec.INT32)

    return types.uint32(values, at), generate


@intrinsic
def finish(
    typing,
    counts, place, stop, classes, first, bases, numbers, channel, steps, residual, beside, outputs, at, apart
):  # fmt: skip
    """Write 32 floats a pixel: (base - 2 count) * scale, and then the steps of the layer.

    Pixels are counts[place : stop], and classes[first + place : first + stop] say which row of bases each has.
    numbers is (7, channels) float32. The outputs of the first pixel begin at `at`, those of each after it `apart`
    entries further, and so do the residual's, from `beside` on.
    """

    def generate(context, builder, signature, arguments):
        code = _Finish(context, builder, signature, arguments)
        _, place, stop, *_ = arguments
        one = vec.integer(1)
        with cgutils.for_range_slice(builder, place, stop, one) as (pixel, number):
            code.write(pixel, number)
        return context.get_dummy_value()

    kinds = (
        counts, place, stop, classes, first, bases, numbers, channel, steps, residual, beside, outputs, at, apart
    )  # fmt: skip
    return types.void(*kinds), generate


class _Finish:
    """The 32 channels of a block: numbers loaded once for all pixels, which no store changes."""

    def __init__(self, context, builder, signature, arguments):
        self.builder = builder
        self.counts, self.classes, self.bases, numbers, self.residual, self.outputs = vec.data_pointers(
            context, builder, signature, arguments, (0, 3, 5, 6, 9, 11)
        )
        _, _, _, _, self.first, _, _, self.channel, steps, _, self.beside, _, self.at, self.apart = arguments
        self.row = vec.length(context, builder, signature, arguments, 6, 1)
        loaded = [
            [self.load(numbers, FLOATS, half, builder.mul(vec.integer(kind), self.row), self.channel)
             for half in HALVES]
            for kind in range(ROWS)
        ]  # fmt: skip
        self.further = cgutils.alloca_once_value(builder, vec.integer(0))
        self.steps = Steps(builder, steps, lambda kind, half: loaded[kind][half], self.other)
        self.scales = loaded[SCALE]

    def load(self, pointer, kind, half, *entries):
        """A vector of half of the channels, which begin at a sum of entries."""
        total = vec.integer(16 * half)
        for entry in entries:
            total = self.builder.add(total, entry)
        return vec.load(self.builder, pointer, total, kind)

    def other(self, half):
        """What is added to half of the channels."""
        return self.load(self.residual, FLOATS, half, self.beside, self.builder.load(self.further))

    def write(self, pixel, number):
        """Code that stores the outputs of a pixel, which is one of several."""
        builder = self.builder
        which = builder.load(builder.gep(self.classes, [builder.add(self.first, pixel)]))
        base = builder.mul(which, self.row)
        builder.store(builder.mul(number, self.apart), self.further)
        found = []
        for half in HALVES:
            count = self.load(self.counts, WORDS, half, builder.mul(pixel, vec.integer(LANES)))
            start = self.load(self.bases, WORDS, half, base, self.channel)
            # the sum of products: twice the differing ones less than all
            total = builder.sub(start, builder.shl(count, vec.constant(WORDS, 1)))
            found.append(builder.fmul(builder.sitofp(total, FLOATS), self.scales[half]))
        for half, value in enumerate(self.steps.take(found)):
            entry = builder.add(builder.add(self.at, builder.load(self.further)), vec.integer(16 * half))
            vec.store(builder, value, self.outputs, entry)
