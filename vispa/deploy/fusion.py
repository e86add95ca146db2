"""Rewriting a traced model: packed layers in place of real ones, bits between them where nobody needs floats."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node

from vispa.deploy.bits import PackSigns, PoolBits
from vispa.deploy.chains import (
    Chain,
    can_pool_bits,
    chain_after,
    has_hooks,
    is_signs,
    layer_nodes,
    module_of,
    sign_of,
)
from vispa.deploy.layers import PackedConv1d, PackedConv2d
from vispa.deploy.linear_layer import PackedLinear

__all__ = ["LayerRecord", "fuse"]


@dataclass(frozen=True)
class LayerRecord:
    """What became of one layer.

    Attributes
    ----------
    name : str
        In the model that was packed.
    packed : str
        Name of the packed layer that computes it now, empty if it stays torch's.
    kind : str
        ``"bits to bits"``, ``"bits to floats"``, ``"bits to both"``, or ``"float32"``.
    kernel : str
        Of the packed layer, ``"torch"`` for others.
    why : str
        Why it is not packed, or not wholly; empty if it is.
    weights : int
        Their number.
    """

    name: str
    packed: str
    kind: str
    kernel: str
    why: str
    weights: int

    def under(self, prefix: str, inner: str) -> LayerRecord:
        """The record in a model around the one that was traced, which keeps its packed layers inside a module."""
        packed = prefix + inner + self.packed if self.packed else ""
        return replace(self, name=prefix + self.name, packed=packed)


def fuse(model: GraphModule, kernel: str) -> list[LayerRecord]:
    """Rewrite a traced model in place, and say what became of every layer."""
    rewriter = _Rewriter(model, kernel)
    records = [rewriter.layer(node, module) for node, module in list(layer_nodes(model))]
    model.graph.eliminate_dead_code()
    model.delete_all_unused_submodules()
    model.graph.lint()
    model.recompile()
    return records


class _Rewriter:
    def __init__(self, model: GraphModule, kernel: str) -> None:
        self.model, self.kernel = model, kernel
        self.reasons: dict[Node, str] = {}
        self.plain: dict[Node, Any] = {}
        # values whose signs exist as bits, of images or of rows
        self.bits: dict[tuple[Node, bool], Node] = {}
        for node, module in layer_nodes(model):
            why = self._why_not(node, module)
            if why:
                self.reasons[node] = why

    def _why_not(self, node: Node, module: nn.Module) -> str:
        if has_hooks(module):
            return "it has hooks, which see what it computes"
        if not is_signs(self.model, node.args[0]):
            return "its inputs are not signs"
        try:
            self.plain[node] = self._packed(module)
        except ValueError as error:
            return str(error).partition(" to be packed")[0]
        return ""

    def _packed(self, module: nn.Module, **options: Any) -> Any:
        kinds: dict[Any, Any] = {nn.Conv2d: PackedConv2d, nn.Conv1d: PackedConv1d, nn.Linear: PackedLinear}
        return kinds[type(module)](module, kernel=self.kernel, **options)

    def layer(self, node: Node, module: nn.Linear | nn.Conv1d | nn.Conv2d) -> LayerRecord:
        name, weights = str(node.target), module.weight.numel()
        if node in self.reasons:
            kind = str(module.weight.dtype).removeprefix("torch.")
            return LayerRecord(name, "", kind, "torch", self.reasons[node], weights)
        packed, outputs = self._replace(node, module)
        return LayerRecord(name, packed, f"bits to {outputs}", self.plain[node].kernel, "", weights)

    def _replace(self, node: Node, module: nn.Module) -> tuple[str, str]:
        """Put a packed layer in place of a layer and what follows; its name, and what comes out."""
        source, padding = self._source(node)
        options: dict[str, Any] = {"one_padding": padding} if padding else {}
        if isinstance(module, nn.Conv1d):
            return self._insert(Chain(node, node), self._packed(module), source), "floats"
        image = isinstance(module, nn.Conv2d)
        chain = self._chain(node, image)
        follows: dict[str, Any] = {"norm": chain.norm, "activation": chain.activation}
        if image:
            follows |= {"residual": chain.residual is not None, "rectified": chain.rectified}
        signs = [user for user in chain.last.users if self._wants_bits(user, image)]
        if signs and len(signs) == len(chain.last.users) and chain.residual is None:
            try:
                packed = self._packed(module, outputs="bits", **options, **follows)
            except ValueError:  # a sign that turns twice
                if chain.pool is not None:
                    return self._insert(Chain(node, node), self._packed(module, **options), source), "floats"
            else:
                return self._insert(chain, packed, source), "bits"
        outputs = "both" if signs else "floats"
        return self._insert(
            chain, self._packed(module, outputs=outputs, **options, **follows), source
        ), outputs

    def _chain(self, node: Node, image: bool) -> Chain:
        """What a layer takes over; a pool only where nothing but signs is wanted of it."""
        chain = chain_after(self.model, node, pools=image, sums=image)
        if chain.pool is not None and not all(self._wants_bits(user, image) for user in chain.last.users):
            return chain_after(self.model, node, pools=False, sums=image)
        return chain

    def _wants_bits(self, node: Node, image: bool) -> bool:
        """Whether a node takes signs for nobody but packed layers of a kind, directly or by a pool."""
        if sign_of(self.model, node) is None or not node.users:
            return False
        return all(self._takes_bits(user, node, image) for user in node.users)

    def _takes_bits(self, user: Node, sign: Node, image: bool) -> bool:
        module, padding = module_of(self.model, user), sign_of(self.model, sign)
        if image and isinstance(module, nn.MaxPool2d) and can_pool_bits(module) and not padding:
            return bool(user.users) and all(self._is_packed(later, nn.Conv2d) for later in user.users)
        if image:
            return self._is_packed(user, nn.Conv2d) and not any((padding or ())[:-2])
        return self._is_packed(user, nn.Linear) and not padding

    def _is_packed(self, node: Node, kind: type[nn.Module]) -> bool:
        return node in self.plain and isinstance(module_of(self.model, node), kind)

    def _source(self, node: Node) -> tuple[Node, tuple[int, ...]]:
        """The bits that a layer reads and their one-padding; or its own input, whose signs it takes itself."""
        given, image = node.args[0], isinstance(module_of(self.model, node), nn.Conv2d)
        assert isinstance(given, Node)
        pool = module_of(self.model, given)
        sign = given.args[0] if isinstance(pool, nn.MaxPool2d) else given
        if not isinstance(sign, Node) or not self._wants_bits(sign, image):
            return given, ()
        value = sign.args[0]
        assert isinstance(value, Node)
        if (value, image) not in self.bits:
            packing = PackSigns(rows=not image, channels=self._channels(node))
            found = self._call(f"{value.name}_signs", packing, value, value, after=True)
            self.bits[value, image] = found
        bits = self.bits[value, image]
        if not isinstance(pool, nn.MaxPool2d):
            return bits, sign_of(self.model, sign) or ()
        if (given, image) not in self.bits:
            words = -(-self._channels(node) // 32)
            pooling = PoolBits(pool, torch.zeros(words, dtype=torch.int32, device="cpu"))
            self.bits[given, image] = self._call(f"{given.name}_bits", pooling, given, bits)
        return self.bits[given, image], ()

    def _channels(self, node: Node) -> int:
        """The number of channels that a packed layer reads."""
        layer = self.plain[node]
        return int(layer.inputs * layer.window.groups)

    def _insert(self, chain: Chain, packed: Any, source: Node) -> str:
        """Put a packed layer in place of a chain's last value; the name of its module."""
        last, outputs, image = chain.last, packed.outputs, not isinstance(packed, PackedLinear)
        name = self._free_name(f"{chain.layer.name}_packed")
        self.model.add_submodule(name, packed)
        graph = self.model.graph
        with graph.inserting_before(last):
            found = graph.call_module(name, (source,) if chain.residual is None else (source, chain.residual))
            if outputs == "floats":
                last.replace_all_uses_with(found)
            elif outputs == "both":
                floats = graph.call_function(operator.getitem, (found, 0))
                self.bits[floats, image] = graph.call_function(operator.getitem, (found, 1))
                last.replace_all_uses_with(floats)
        if outputs == "bits":
            if chain.pool is not None:
                found = self._call(f"{name}_pool", PoolBits(chain.pool, packed.flips), last, found)
            self.bits[last, image] = found
        return name

    def _call(
        self, name: str, module: nn.Module, place: Node, argument: Node, *, after: bool = False
    ) -> Node:
        name = self._free_name(name)
        self.model.add_submodule(name, module)
        graph = self.model.graph
        with graph.inserting_after(place) if after else graph.inserting_before(place):
            return graph.call_module(name, (argument,))

    def _free_name(self, name: str) -> str:
        free, number = name, 1
        while hasattr(self.model, free):
            free, number = f"{name}_{number}", number + 1
        return free
