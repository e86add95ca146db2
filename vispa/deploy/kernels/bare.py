"""Arrays that do not count who refers to them: counting costs a locked instruction at every mention in a loop."""

from __future__ import annotations

from llvmlite import ir
from numba.extending import intrinsic


@intrinsic
def bare(typing, array):
    """An array of the same entries, for as long as something else keeps them alive."""

    def generate(context, builder, signature, arguments):
        found = context.make_array(signature.args[0])(context, builder, arguments[0])
        for name in ("meminfo", "parent"):
            setattr(found, name, ir.Constant(getattr(found, name).type, None))
        return found._getvalue()

    return array(array), generate
