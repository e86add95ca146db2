"""Vector instructions for the rows of a factor: LLVM is told what it does not find by itself.

A sum of neighbouring rows is a handful of vector registers while it grows.  Written as a loop over columns inside
a loop over neighbours, every step of it goes through memory; these intrinsics keep it in registers, which makes a
sweep two to three times faster.  Factors are flat, with rows of a multiple of eight entries; nothing is checked.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

FAST = ("fast",)
INT64 = ir.IntType(64)
INT32 = ir.IntType(32)
DOUBLE = ir.DoubleType()
# Columns handled at once: wide vectors fill the registers, narrow ones leave less padding.
WIDE = 16
NARROW = 8


@intrinsic
def gradient_of_row(typing, factor, indices, values, start, stop, shift, width, row, gradient):
    """Store g = sum over p of values[p + shift] * (row indices[p]); return |g|^2 and <g, row>."""
    signature = types.UniTuple(types.float64, 2)(
        factor, indices, values, start, stop, shift, width, row, gradient
    )

    def generate(context, builder, signature, arguments):
        factor, indices, values, gradient = _pointers(context, builder, signature, arguments, (0, 1, 2, 8))
        start, stop, shift, width, row = arguments[3:8]
        kind = context.get_data_type(signature.args[0].dtype)
        squared, aligned = (cgutils.alloca_once_value(builder, ir.Constant(DOUBLE, 0.0)) for _ in range(2))
        own = builder.mul(row, width)

        def columns(first, lanes):
            total = _weighted_rows(
                builder,
                (factor, indices, values),
                (start, stop, shift),
                width,
                first,
                ir.VectorType(kind, lanes),
            )
            _store(builder, total, gradient, first)
            before = _load(builder, factor, builder.add(own, first), total.type)
            _grow(builder, squared, _sum(builder, builder.fmul(total, total, flags=FAST)))
            _grow(builder, aligned, _sum(builder, builder.fmul(total, before, flags=FAST)))

        wide = builder.and_(width, ir.Constant(INT64, -WIDE))
        with cgutils.for_range_slice(builder, ir.Constant(INT64, 0), wide, ir.Constant(INT64, WIDE)) as (
            first,
            _,
        ):
            columns(first, WIDE)
        with builder.if_then(builder.icmp_signed("<", wide, width)):
            columns(wide, NARROW)
        return cgutils.pack_array(builder, [builder.load(squared), builder.load(aligned)])

    return signature, generate


@intrinsic
def combine_with_row(typing, factor, row, width, gradient, toward, keep):
    """Replace a row of a flat factor by toward * gradient + keep * itself."""
    signature = types.void(factor, row, width, gradient, toward, keep)

    def generate(context, builder, signature, arguments):
        factor, gradient = _pointers(context, builder, signature, arguments, (0, 3))
        row, width = arguments[1], arguments[2]
        vector = ir.VectorType(context.get_data_type(signature.args[0].dtype), NARROW)
        toward, keep = (
            _splat(builder, _cast(builder, weight, vector.element), vector) for weight in arguments[4:]
        )
        own = builder.mul(row, width)
        with cgutils.for_range_slice(builder, ir.Constant(INT64, 0), width, ir.Constant(INT64, NARROW)) as (
            first,
            _,
        ):
            place = builder.add(own, first)
            kept = builder.fmul(keep, _load(builder, factor, place, vector), flags=FAST)
            moved = builder.fmul(toward, _load(builder, gradient, first, vector), flags=FAST)
            _store(builder, builder.fadd(kept, moved, flags=FAST), factor, place)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def squared_distance(typing, factor, row, width, gradient, weight):
    """|v - weight * gradient|^2 for one row v of a flat factor."""
    signature = types.float64(factor, row, width, gradient, weight)

    def generate(context, builder, signature, arguments):
        factor, gradient = _pointers(context, builder, signature, arguments, (0, 3))
        row, width = arguments[1], arguments[2]
        vector = ir.VectorType(context.get_data_type(signature.args[0].dtype), NARROW)
        weight = _splat(builder, _cast(builder, arguments[4], vector.element), vector)
        total = cgutils.alloca_once_value(builder, ir.Constant(vector, [0.0] * NARROW))
        own = builder.mul(row, width)
        with cgutils.for_range_slice(builder, ir.Constant(INT64, 0), width, ir.Constant(INT64, NARROW)) as (
            first,
            _,
        ):
            target = builder.fmul(weight, _load(builder, gradient, first, vector), flags=FAST)
            before = _load(builder, factor, builder.add(own, first), vector)
            apart = builder.fsub(before, target, flags=FAST)
            _grow(builder, total, builder.fmul(apart, apart, flags=FAST))
        return _sum(builder, builder.load(total))

    return signature, generate


def _weighted_rows(builder, arrays, bounds, width, first, vector):
    """Sum of values[p + shift] * factor[indices[p], first : first + lanes] over start <= p < stop."""
    factor, indices, values = arrays
    start, stop, shift = bounds
    # two sums at once: the next addition need not wait for the last
    even, odd = (cgutils.alloca_once(builder, vector) for _ in range(2))
    for total in (even, odd):
        builder.store(ir.Constant(vector, [0.0] * vector.count), total)

    def add(total, position):
        neighbour = builder.load(builder.gep(indices, [position]))
        if neighbour.type.width < INT64.width:
            neighbour = builder.zext(neighbour, INT64)
        place = builder.add(builder.mul(neighbour, width), first)
        weight = builder.load(builder.gep(values, [builder.add(position, shift)]))
        weight = _splat(builder, _cast(builder, weight, vector.element), vector)
        _grow(builder, total, builder.fmul(weight, _load(builder, factor, place, vector), flags=FAST))

    one = ir.Constant(INT64, 1)
    count = builder.sub(stop, start)
    last = builder.sub(stop, builder.and_(count, one))
    with cgutils.for_range_slice(builder, start, last, ir.Constant(INT64, 2)) as (position, _):
        add(even, position)
        add(odd, builder.add(position, one))
    with builder.if_then(builder.icmp_signed("<", last, stop)):
        add(even, last)
    return builder.fadd(builder.load(even), builder.load(odd), flags=FAST)


def _pointers(context, builder, signature, arguments, places):
    return [
        context.make_array(signature.args[place])(context, builder, arguments[place]).data for place in places
    ]


def _vector_pointer(builder, pointer, offset, vector):
    return builder.bitcast(builder.gep(pointer, [offset]), vector.as_pointer())


def _alignment(vector):
    """The alignment of one element: rows may begin anywhere."""
    return 8 if vector.element == DOUBLE else 4


def _load(builder, pointer, offset, vector):
    return builder.load(_vector_pointer(builder, pointer, offset, vector), align=_alignment(vector))


def _store(builder, value, pointer, offset):
    place = _vector_pointer(builder, pointer, offset, value.type)
    builder.store(value, place, align=_alignment(value.type))


def _grow(builder, total, term):
    builder.store(builder.fadd(builder.load(total), term, flags=FAST), total)


def _splat(builder, scalar, vector):
    undefined = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.Constant(INT32, 0))
    everywhere = ir.Constant(ir.VectorType(INT32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, undefined, everywhere)


def _cast(builder, scalar, kind):
    if scalar.type == kind:
        return scalar
    return builder.fpext(scalar, kind) if kind == DOUBLE else builder.fptrunc(scalar, kind)


def _sum(builder, value):
    """The sum of a vector's elements, as a double."""
    element = value.type.element
    bits = 64 if element == DOUBLE else 32
    function = ir.FunctionType(element, [element, value.type])
    name = f"llvm.vector.reduce.fadd.v{value.type.count}f{bits}"
    reduction = cgutils.get_or_insert_function(builder.module, function, name)
    total = builder.call(reduction, [ir.Constant(element, 0.0), value], fastmath=FAST)
    return _cast(builder, total, DOUBLE)
