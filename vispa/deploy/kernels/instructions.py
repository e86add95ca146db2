"""What LLVM needs to be told of vectors: places in arrays, splats, one loop whose sums stay in registers."""

from __future__ import annotations

import contextlib

from llvmlite import ir
from numba.core import cgutils

INT64 = ir.IntType(64)
INT32 = ir.IntType(32)
INT16 = ir.IntType(16)
INT8 = ir.IntType(8)
FLOAT = ir.FloatType()


def data_pointers(context, builder, signature, arguments, places):
    """Pointers to the first entries of the arrays among an intrinsic's arguments."""
    return [
        context.make_array(signature.args[place])(context, builder, arguments[place]).data for place in places
    ]


def length(context, builder, signature, arguments, place, axis):
    """The length of an axis of one array among an intrinsic's arguments."""
    array = context.make_array(signature.args[place])(context, builder, arguments[place])
    return builder.extract_value(array.shape, axis)


def integer(value):
    """A number of 64 bits, as indices are."""
    return ir.Constant(INT64, value)


def further(builder, start, entries):
    """An index so many entries after another."""
    return builder.add(start, integer(entries))


@contextlib.contextmanager
def pieces(builder, total, size):
    """Code of a loop over pieces of a range: the first index of a piece, and the one after its last."""
    with cgutils.for_range_slice(builder, integer(0), total, integer(size)) as (start, _):
        stop = further(builder, start, size)
        yield start, builder.select(builder.icmp_signed("<", stop, total), stop, total)


def constant(kind, value):
    """A number of a type, in all lanes where it is a vector."""
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [value] * kind.count)
    return ir.Constant(kind, value)


def splat(builder, scalar, lanes):
    """A vector with one number in all lanes."""
    vector = ir.VectorType(scalar.type, lanes)
    undefined = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(undefined, scalar, constant(INT32, 0))
    return builder.shuffle_vector(one, undefined, constant(ir.VectorType(INT32, lanes), 0))


def load(builder, pointer, offset, vector):
    """A vector from an array, beginning at any entry."""
    return builder.load(_place(builder, pointer, offset, vector), align=1)


def store(builder, value, pointer, offset):
    """Write a vector into an array, beginning at any entry."""
    builder.store(value, _place(builder, pointer, offset, value.type), align=1)


def prefetch(builder, pointer, offset):
    """Ask for an entry of an array, or of what lies beyond it, before it is needed."""
    byte = INT8.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, INT32, INT32, INT32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    # to be read, into the nearest cache, data
    flags = [constant(INT32, flag) for flag in (0, 3, 1)]
    builder.call(function, [builder.bitcast(builder.gep(pointer, [offset]), byte), *flags])


def sums(builder, vector, count):
    """Variables for ``count`` vectors, zero at first; LLVM keeps them in registers."""
    return [cgutils.alloca_once_value(builder, constant(vector, 0)) for _ in range(count)]


def grow(builder, total, term):
    """Add an integer vector to a variable."""
    builder.store(builder.add(builder.load(total), term), total)


def call(builder, name, result, *arguments):
    """The result of one of LLVM's own functions."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def ones_in(builder, vector):
    """The number of one bits of every lane."""
    kind = vector.type
    return call(builder, f"llvm.ctpop.v{kind.count}i{kind.element.width}", kind, vector)


def _place(builder, pointer, offset, vector):
    return builder.bitcast(builder.gep(pointer, [offset]), vector.as_pointer())
