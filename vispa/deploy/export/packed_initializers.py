"""Weights of an ONNX graph as bytes of eight signs, made floats again by standard operators."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["pack_initializers", "scale_of"]

# Names in the graph of what all weights share.
SHIFTS, ONE = "vispa.shifts", "vispa.one"


def scale_of(weight: NDArray[Any]) -> NDArray[Any] | None:
    """The fewest absolute values of a weight by channel, to be broadcast; None where no axis has such.

    Examples
    --------
    >>> scale_of(np.array([[0.5, -2.0], [-0.5, 2.0], [0.5, 2.0]], dtype=np.float32)).tolist()
    [[0.5, 2.0]]
    """
    sizes = np.abs(weight)
    found: list[NDArray[Any]] = []
    for axis in range(weight.ndim):
        others = tuple(other for other in range(weight.ndim) if other != axis)
        scale = sizes.max(axis=others, keepdims=True)
        # NaN differs from itself; of infinities torch and runtimes may make other things
        if np.isfinite(scale).all() and (sizes == scale).all():
            found.append(scale)
    return min(found, key=np.size, default=None)


def pack_initializers(graph: Any) -> int:
    """Replace the float weights of scales and signs in a graph, and return how many there were."""
    from onnx import numpy_helper

    packed = 0
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.ndim < 2 or values.dtype not in (np.float16, np.float32, np.float64) or values.size < 64:
            continue
        scale = scale_of(values)
        # scales of more than a byte an entry would win nothing
        if scale is None or scale.size * 8 > values.size:
            continue
        nodes, constants = _unpacking(tensor.name, values, scale)
        graph.initializer.remove(tensor)
        graph.initializer.extend(constants)
        for node in reversed(nodes):
            graph.node.insert(0, node)
        packed += 1
    if packed:
        shared = {SHIFTS: np.arange(8, dtype=np.uint8), ONE: np.ones(1, dtype=np.uint8)}
        graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in shared.items())
    return packed


def _unpacking(name: str, values: NDArray[Any], scale: NDArray[Any]) -> tuple[list[Any], list[Any]]:
    """Nodes whose last output is a weight, and what they read: bytes, shapes, scales."""
    from onnx import helper, numpy_helper

    def named(part: str) -> str:
        return f"{name}.{part}"

    bits = np.packbits(np.signbit(values).reshape(-1), bitorder="little")[:, None]
    constants = {
        "signs": bits,
        "count": np.array([values.size], dtype=np.int64),
        "start": np.zeros(1, dtype=np.int64),
        "flat": np.array([-1], dtype=np.int64),
        "shape": np.array(values.shape, dtype=np.int64),
        "scale": scale,
        "minus_scale": -scale,
    }
    nodes = [
        helper.make_node("BitShift", [named("signs"), SHIFTS], [named("shifted")], direction="RIGHT"),
        helper.make_node("BitwiseAnd", [named("shifted"), ONE], [named("bits")]),
        helper.make_node("Reshape", [named("bits"), named("flat")], [named("row")]),
        helper.make_node("Slice", [named("row"), named("start"), named("count")], [named("own")]),
        helper.make_node("Reshape", [named("own"), named("shape")], [named("shaped")]),
        helper.make_node(
            "Cast", [named("shaped")], [named("negative")], to=helper.np_dtype_to_tensor_dtype(np.dtype(bool))
        ),
        helper.make_node("Where", [named("negative"), named("minus_scale"), named("scale")], [name]),
    ]
    return nodes, [
        numpy_helper.from_array(np.ascontiguousarray(array), named(part)) for part, array in constants.items()
    ]
