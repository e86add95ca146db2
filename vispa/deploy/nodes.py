"""The nodes of a traced model as steps on a table of values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

__all__ = ["Step", "Values", "by_torch", "is_item"]

Values = dict[Node, Any]
Step = Callable[[Values], None]


def is_item(node: Node) -> bool:
    """Whether a node takes one of several values."""
    return node.op == "call_function" and getattr(node.target, "__name__", "") == "getitem"


def by_torch(node: Node, network: GraphModule, module: nn.Module | None) -> Step:
    """A node as torch.fx runs it."""
    target: Any = node.target
    if node.op == "get_attr":
        home, _, name = str(target).rpartition(".")

        def fetch(values: Values) -> None:
            values[node] = getattr(network.get_submodule(home), name)

        return fetch

    def run(values: Values) -> None:
        arguments = map_arg(node.args, values.__getitem__)
        options = map_arg(node.kwargs, values.__getitem__)
        if module is not None:
            values[node] = module(*arguments, **options)
        elif node.op == "call_method":
            values[node] = getattr(arguments[0], target)(*arguments[1:], **options)
        else:
            values[node] = target(*arguments, **options)

    if module is not None and len(node.args) == 1 and not node.kwargs and isinstance(node.args[0], Node):
        source = node.args[0]

        def run_module(values: Values) -> None:
            values[node] = module(values[source])

        return run_module
    return run
