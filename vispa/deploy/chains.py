"""Reading a traced model: which layers take signs, and what follows each until somebody else needs the value."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.fx import Graph, GraphModule, Node, Tracer
from torch.fx.node import map_arg
from torch.nn import functional

from vispa.deploy.epilogue import is_activation, is_norm
from vispa.deploy.in_place import InPlaceProxy, read_results
from vispa.deploy.signs import sign_padding
from vispa.deploy.unchanged import CONSTANTS, Attributes
from vispa.networks.layers import PadChannels

__all__ = [
    "Chain",
    "can_pool_bits",
    "chain_after",
    "has_hooks",
    "is_signs",
    "layer_nodes",
    "module_of",
    "sign_of",
    "trace",
]

Layer = nn.Linear | nn.Conv1d | nn.Conv2d
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)
# What keeps signs signs; none of them runs in a packed layer.
SHAPING = (
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Flatten,
    nn.Unflatten,
    nn.MaxPool1d,
    nn.MaxPool2d,
)
# Functions and methods that do the same.
RESHAPING = {
    "flatten", "view", "reshape", "permute", "transpose", "contiguous", "squeeze", "unsqueeze", "max_pool1d",
    "max_pool2d",
}  # fmt: skip
JOINING = {"cat", "concat", "stack"}
ADDITIONS = (operator.add, operator.iadd, torch.add)
ACTIVATIONS: dict[Any, type[nn.Module]] = {
    functional.relu: nn.ReLU,
    torch.relu: nn.ReLU,
    functional.hardtanh: nn.Hardtanh,
}


class _Tracer(Tracer):
    """Goes into all modules but torch's own, signs, and those that have no meaning inside."""

    def proxy(self, node: Node) -> InPlaceProxy:
        """Return a symbol that shows what is changed in place."""
        return InPlaceProxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return (
            sign_padding(m) is not None
            or isinstance(m, PadChannels)
            or super().is_leaf_module(m, module_qualified_name)
        )


def trace(model: nn.Module) -> GraphModule | None:
    """The graph of a model in evaluation mode.

    None where its code depends on values, on whether inputs are left out, on what shares memory, or on what it kept
    of earlier calls.
    """
    tracer, before = _Tracer(), Attributes(model)
    try:
        graph: Graph = tracer.trace(model)
        same = _is_the_same_without(model, graph)
    except Exception:  # whatever a user's code says to a symbol instead of a tensor
        before.put_back()
        return None
    if before.put_back() or not same:
        return None
    traced = GraphModule(tracer.root, graph)
    _by_position(traced)
    if not read_results(traced):
        return None
    _in_any_memory(traced)
    traced.graph.eliminate_dead_code()
    return traced


def _is_the_same_without(model: nn.Module, graph: Graph) -> bool:
    """Whether a graph is also that of calls which leave out inputs that are None by default.

    A symbol is never None, so that `if mask is not None` looks as if there always were a mask.
    """
    parameters = inspect.signature(model.forward).parameters.values()
    names = {each.name for each in parameters if each.default is None}
    if not names:
        return True
    try:
        other = _Tracer().trace(model, concrete_args=dict.fromkeys(names))
    except Exception:  # as above
        return False
    return _steps(graph, names) == _steps(other, names)


def _steps(graph: Graph, left_out: set[str]) -> list[Any]:
    """What a graph does, in numbers of its steps, with None for inputs that are left out."""
    numbers: dict[Node, Any] = {}
    found: list[Any] = []
    for node in graph.nodes:
        if node.op == "placeholder":
            numbers[node] = None if node.target in left_out else ("input", node.target)
        elif getattr(node.target, "__name__", "") != "_assert_is_none":
            numbers[node] = ("step", len(found))
            arguments = map_arg((node.args, node.kwargs), numbers.__getitem__)
            constant = str(node.target).startswith(CONSTANTS)
            found.append((node.op, CONSTANTS if constant else node.target, arguments))
    return found


def _in_any_memory(model: GraphModule) -> None:
    """Let views of another shape be copies where memory asks for it: images have their channels last here."""
    for node in model.graph.find_nodes(op="call_method", target="view"):
        if not any(isinstance(value, torch.dtype) for value in (*node.args, *node.kwargs.values())):
            node.target, node.args, node.kwargs = "reshape", (*node.args, *node.kwargs.values()), {}
    for node in model.graph.find_nodes(op="call_method", target="view_as"):
        node.target = "reshape_as"


def _by_position(model: GraphModule) -> None:
    """Give modules of one argument this by its place where it came by its name."""
    for node in model.graph.find_nodes(op="call_module"):
        if node.args or len(node.kwargs) != 1:
            continue
        ((name, value),) = node.kwargs.items()
        forward = inspect.signature(model.get_submodule(str(node.target)).forward)
        if next(iter(forward.parameters), None) == name:
            node.args, node.kwargs = (value,), {}


@dataclass
class Chain:
    """A layer and what its epilogue takes over.

    Attributes
    ----------
    layer, last : Node
        The call of the layer, and the one whose value the packed layer computes.
    rectified : bool
        Whether ReLU stands between the layer and its normalisation.
    norm, activation, pool : Module, optional
        The pool stands between the layer and its normalisation.
    residual : Node, optional
        What is added.
    """

    layer: Node
    last: Node
    rectified: bool = False
    norm: nn.Module | None = None
    activation: nn.Module | None = None
    pool: nn.MaxPool2d | None = None
    residual: Node | None = None


def module_of(model: GraphModule, node: Any) -> nn.Module | None:
    """The module that a node calls, if it does; None where hooks can change what goes in or comes out."""
    module = _called(model, node)
    return None if module is None or has_hooks(module) else module


def _called(model: GraphModule, node: Any) -> nn.Module | None:
    if not isinstance(node, Node) or node.op != "call_module" or len(node.args) != 1 or node.kwargs:
        return None
    return model.get_submodule(str(node.target))


def has_hooks(module: nn.Module) -> bool:
    """Whether something was registered to run before or after a module."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def layer_nodes(model: GraphModule) -> Iterator[tuple[Node, Layer]]:
    """The calls of linear layers and convolutions, in order."""
    for node in model.graph.nodes:
        module = _called(model, node)
        if isinstance(module, LAYERS) and type(module) in LAYERS:
            yield node, module


def sign_of(model: GraphModule, node: Any) -> tuple[int, ...] | None:
    """The one-padding of a call of a sign; None for other nodes."""
    module = module_of(model, node)
    return None if module is None else sign_padding(module)


def is_signs(model: GraphModule, node: Any) -> bool:
    """Whether a value is +1 and -1 alone: signs, perhaps pooled, joined or in another shape."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if sign_of(model, node) is not None:
            continue
        sources = _sources_of_signs(model, node)
        if not sources:
            return False
        waiting += sources
    return True


def _sources_of_signs(model: GraphModule, node: Any) -> list[Any]:
    """The values that all have to be signs for another to be; none where it never is."""
    if type(module_of(model, node)) in SHAPING:
        return [node.args[0]]
    if not isinstance(node, Node) or node.op not in ("call_function", "call_method") or not node.args:
        return []
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    home = "torch" if isinstance(node.target, str) else getattr(node.target, "__module__", None) or ""
    if not home.startswith("torch") or node.kwargs.get("return_indices") or "out" in node.kwargs:
        return []
    if name in RESHAPING:
        return [node.args[0]]
    return list(node.args[0]) if name in JOINING and isinstance(node.args[0], list | tuple) else []


def chain_after(model: GraphModule, layer: Node, *, pools: bool, sums: bool) -> Chain:
    """What follows a layer while each value has one user: pool if asked, normalisation, sum, activation."""
    chain = Chain(layer, layer)
    if pools and (user := only_user(chain.last)):
        pool = module_of(model, user)
        if isinstance(pool, nn.MaxPool2d) and can_pool_bits(pool):
            chain.pool, chain.last = pool, user
    user = only_user(chain.last)
    if sums and user and chain.pool is None and _rectifies(model, user) and _norm_after(model, user):
        chain.rectified, chain.last = True, user
    if (user := only_user(chain.last)) and (module := module_of(model, user)) and is_norm(module):
        chain.norm, chain.last = module, user
    if (
        (user := only_user(chain.last))
        and sums
        and chain.pool is None
        and (other := _added(user, chain.last))
    ):
        chain.residual, chain.last = other, user
    if (user := only_user(chain.last)) and (activation := activation_of(model, user)):
        chain.activation, chain.last = activation, user
    return chain


def can_pool_bits(pool: nn.MaxPool2d) -> bool:
    """Whether the signs of what a pool returns can be found from signs."""
    return not pool.return_indices and pool.dilation in (1, (1, 1))


def only_user(node: Node) -> Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _rectifies(model: GraphModule, node: Node) -> bool:
    return isinstance(activation_of(model, node), nn.ReLU)


def _norm_after(model: GraphModule, node: Node) -> bool:
    user = only_user(node)
    module = None if user is None else module_of(model, user)
    return module is not None and is_norm(module)


def _added(node: Node, value: Node) -> Node | None:
    """What a node adds to a value, if that is all it does."""
    if node.op != "call_function" or node.target not in ADDITIONS or node.kwargs or len(node.args) != 2:
        return None
    first, second = node.args
    other = second if first is value else first
    return other if isinstance(other, Node) and other is not value else None


def activation_of(model: GraphModule, node: Node) -> nn.Module | None:
    module = module_of(model, node)
    if module is not None:
        return module if is_activation(module) else None
    if node.op == "call_function" and node.target in ACTIVATIONS and len(node.args) == 1 and not node.kwargs:
        return ACTIVATIONS[node.target]()
    return None
