"""Operations in place in a traced graph: what comes after one reads its result, where that is the same."""

from __future__ import annotations

import inspect
import operator
from typing import Any

from torch import nn
from torch.fx import GraphModule, Node, Proxy

from vispa.deploy.signs import sign_padding

__all__ = ["InPlaceProxy", "read_results"]

# Operators of Python that change a tensor; symbols of torch.fx have none of them, so that `x += y` is `x = x + y`.
OPERATORS = (
    "iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "iand", "ior", "ixor", "ilshift", "irshift",
)  # fmt: skip
# Modules whose outputs can lie in the memory of their inputs.
VIEWS = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
# Functions and methods whose outputs never do.
FRESH = {
    "add", "sub", "mul", "truediv", "div", "neg", "pow", "abs", "exp", "relu", "hardtanh", "sigmoid", "tanh",
    "clamp", "clone", "mean", "sum", "max_pool2d", "avg_pool2d", "conv1d", "conv2d", "linear", "matmul", "cat",
    "stack", "empty_like", "zeros_like", "ones_like", "rand_like", "randn_like",
}  # fmt: skip


class InPlaceProxy(Proxy):
    """A symbol that knows when it is changed in place."""


def _changing(name: str) -> Any:
    def change(self: Proxy, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", getattr(operator, name), (self, other), {})

    return change


for _name in OPERATORS:
    setattr(InPlaceProxy, f"__{_name}__", _changing(_name))


def read_results(model: GraphModule) -> bool:
    """Let all that comes after an operation in place read its result instead of what it changed.

    Then no value is read after it was changed, and what takes over an operation need not change anything. Returns
    False where that cannot be had: a tensor of the model is changed, or values that may share its memory are read.
    """
    places = {node: place for place, node in enumerate(model.graph.nodes)}
    for node in list(model.graph.nodes):
        value = _changed(model, node)
        if value is None:
            continue
        for other in _sharing(model, value, node):
            if other.op == "get_attr":
                return False
            if other is not value and any(places[user] > places[node] for user in other.users):
                return False
        value.replace_all_uses_with(node, lambda user, node=node: places[user] > places[node])  # type: ignore[misc]
    return True


def _changed(model: GraphModule, node: Node) -> Node | None:
    """The value that an operation changes in place, if it does."""
    if isinstance(out := node.kwargs.get("out"), Node):
        return out
    first = node.args[0] if node.args else None
    if not isinstance(first, Node):
        return None
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        return first if getattr(module, "inplace", False) is True else None
    if node.op == "call_method":
        name = str(node.target)
        return first if name.endswith("_") and not name.endswith("__") else None
    if node.op != "call_function":
        return None
    name = getattr(node.target, "__name__", "")
    in_place = name in OPERATORS or (name.endswith("_") and not name.endswith("__")) or _asked(node)
    return first if in_place else None


def _asked(node: Node) -> bool:
    """Whether a function is called with an argument ``inplace`` that is true."""
    try:
        given = inspect.signature(node.target).bind(*node.args, **node.kwargs)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # functions of C have no signature, and are in place by name
        return False
    return bool(given.arguments.get("inplace", False))


def _sharing(model: GraphModule, value: Node, but: Node) -> set[Node]:
    """The value and all that may lie in its memory, except for one."""
    found: set[Node] = set()
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if node in found or node is but:
            continue
        found.add(node)
        waiting += [user for user in node.users if node in _shared_by(model, user)]
        waiting += _shared_by(model, node)
    return found


def _shared_by(model: GraphModule, node: Node) -> list[Node]:
    """The values in whose memory a node's may lie."""
    changed = _changed(model, node)
    if changed is not None:
        return [changed]
    return [] if node.op == "output" or _is_fresh(model, node) else node.all_input_nodes


def _is_fresh(model: GraphModule, node: Node) -> bool:
    """Whether a value lies in memory of its own."""
    if node.op in ("placeholder", "get_attr"):
        return True
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        own = type(module).__module__.startswith("torch.nn.modules") and not isinstance(module, VIEWS)
        return own or sign_padding(module) is not None
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    home = getattr(node.target, "__module__", "torch")
    return name in FRESH and home.partition(".")[0] in ("torch", "_operator")
