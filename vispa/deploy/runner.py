"""A traced packed model as a list of compiled loops: buffers and arguments made once a size."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from vispa.deploy.between import Between, found_between
from vispa.deploy.bits import PackSigns, PoolBits
from vispa.deploy.calls import Call, Work, flat_of, packer, pool_bits
from vispa.deploy.layers import PackedConv2d
from vispa.deploy.linear_layer import PackedLinear
from vispa.deploy.nodes import Step, Values, by_torch, is_item
from vispa.deploy.results import Results

__all__ = ["Changed", "Program"]


class Changed(Exception):
    """A value has another size than in the first run, as it depends on what the inputs hold."""


class Program:
    """The nodes of a graph as functions of one size of inputs."""

    def __init__(self, network: GraphModule, inputs: tuple[Tensor, ...], exact: bool = False) -> None:
        self.network = network
        homes = [
            (home, name)
            for module in network.modules()
            for home in (module._parameters, module._buffers)
            for name in home
        ]
        self.homes, self.names = [home for home, _ in homes], [name for _, name in homes]
        self.tensors = [home[name] for home, name in homes]
        self.values: Values = {}
        # nodes whose values lie in the same memory in every run, and these memories
        self.fixed: set[Node] = set()
        self.memories: set[int] = set()
        self.fresh: set[Node] = set()
        self.steps: list[Step] = []
        self.places: list[Node] = []
        self.given: list[Node] = []
        self.results = {
            node for last in network.graph.find_nodes(op="output") for node in last.all_input_nodes
        }
        # values whose signs a loop writes beside them
        self.signs: dict[Node, Tensor] = {}
        runs = {} if exact else found_between(network)
        done: set[Node] = set()
        for node in network.graph.nodes:
            if node.op == "placeholder":
                if len(self.places) < len(inputs):
                    self.values[node] = inputs[len(self.places)]
                    self.given.append(node)
                else:
                    self.values[node] = node.args[0]
                self.places.append(node)
            elif node.op == "output":
                self.result = node.args[0]
            elif node in done:
                continue
            elif node in runs and self._add_run(runs[node]):
                done.update(runs[node].nodes)
            else:
                self._add(node)

    def has_its_tensors(self) -> bool:
        """Whether parameters and buffers are those that the loops were given; others may take their names."""
        return all(map(operator.is_, map(operator.getitem, self.homes, self.names), self.tensors))

    def run(self, inputs: tuple[Tensor, ...]) -> Any:
        """The outputs, in memory of their own."""
        values = self.values
        values.update(zip(self.places, inputs, strict=False))
        for step in self.steps:
            step(values)
        return self.outputs()

    def outputs(self) -> Any:
        """The outputs of the values that are there."""
        values = self.values
        result = (
            self._own(self.result)
            if isinstance(self.result, Node)
            else _plain(map_arg(self.result, self._own))
        )
        for node in self.fresh:
            # where nobody keeps a result, the next one lies in its memory, which is in the cache
            values[node] = None
        for node in self.given:
            # the caller's, who may want their memory
            values[node] = None
        return result

    def _own(self, node: Node) -> Any:
        """A result; a copy where it lies, or is a view of what lies, in a fixed place: the next run changes it."""
        value = self.values[node]
        if node in self.fresh:
            return value
        if isinstance(value, Tensor) and value.untyped_storage().data_ptr() in self.memories:
            return value.clone()
        return value

    def _fix(self, node: Node) -> None:
        self.fixed.add(node)
        value = self.values[node]
        for tensor in value if isinstance(value, tuple | list) else (value,):
            self.memories.add(tensor.untyped_storage().data_ptr())

    def _add_run(self, run: Between) -> bool:
        """Compute operations between layers once, and keep a loop that does them all; not where it does not fit."""
        source, last = run.source, run.last
        self._compute(run, self.values)
        given, outputs = self.values[source], self.values[last]
        if not run.fits(given, outputs) or not self._agrees(run, given):
            return False
        if run.wants_signs(self.network):
            self.signs[last] = run.signs_for(outputs)
        fill = run.loop(given, outputs, self.signs.get(last))
        flat, size = flat_of(given), given.shape
        if source in self.fixed and flat.ctypes.data == given.data_ptr():
            self.steps.append(lambda values: fill(flat))
        else:
            self.steps.append(lambda values: fill(flat_of(_same(values[source], size))))
        self._fix(last)
        return True

    def _compute(self, run: Between, values: Values) -> None:
        for node in run.nodes:
            by_torch(node, self.network, self._module(node))(values)

    def _agrees(self, run: Between, given: Tensor) -> bool:
        """Whether a loop that adds up does it in torch's order: seen on numbers that differ."""
        if not run.adds_up:
            return True
        tried = torch.empty_like(given).normal_(generator=torch.Generator().manual_seed(0))
        values = {**self.values, run.source: tried}
        self._compute(run, values)
        expected = values[run.last]
        found = expected.clone()
        run.loop(tried, found, None)(flat_of(tried))
        return torch.equal(found, expected)

    def _module(self, node: Node) -> nn.Module | None:
        return self.network.get_submodule(str(node.target)) if node.op == "call_module" else None

    def _add(self, node: Node) -> None:
        """Compute a node once, for its sizes and its place, and keep what computes it again."""
        module = self._module(node)
        step = by_torch(node, self.network, module)
        step(self.values)
        if node.op == "get_attr":
            return
        self.steps.append(step)
        source = node.args[0] if node.args else None
        fixed = isinstance(source, Node) and source in self.fixed
        bits = fixed and getattr(self.values[source], "dtype", None) == torch.int32  # type: ignore[index]
        if isinstance(module, PackSigns) and not module.rows and source in self.signs:
            assert isinstance(source, Node)
            self.values[node] = self.signs[source].copy_(self.values[node])
            self.steps.pop()
        elif isinstance(module, PackSigns):
            assert isinstance(source, Node)
            self.steps[-1] = _packing(source, self.values[node], module.rows, self.values[source].shape)
        elif bits and isinstance(module, PoolBits):
            assert isinstance(source, Node)
            pooled = pool_bits(self.values[source], module.flips, module.window, self.values[node])
            self.steps[-1] = _works([pooled])
        elif bits and isinstance(module, PackedConv2d) and self._adds(node, module):
            assert isinstance(source, Node)
            self.steps[-1] = self._layer(node, module, self.values[source])
            if self._is_fresh(node, module):
                self.fresh.add(node)
                return
        elif bits and isinstance(module, PackedLinear) and self.values[source].ndim == 2:  # type: ignore[index]
            assert isinstance(source, Node)
            self.steps[-1] = self._rows(node, module, self.values[source])
        elif fixed and (type(module) in (nn.Identity, nn.Flatten) or is_item(node)) and self._stays(node):
            self.steps.pop()
        else:
            return
        self._fix(node)

    def _stays(self, node: Node) -> bool:
        """Whether a value is a view of memory that stays in its place, and of the same part of it in every run."""
        value = self.values[node]
        if len(node.all_input_nodes) > 1 or not isinstance(value, Tensor):
            return False
        return value.untyped_storage().data_ptr() in self.memories

    def _adds(self, node: Node, layer: PackedConv2d) -> bool:
        """Whether the loop of a layer takes what it adds, if it adds something."""
        if len(node.args) == 1:
            return True
        bits, residual = (self.values[each] for each in node.args)  # type: ignore[index]
        return layer.adds(bits, residual)

    def _rows(self, node: Node, layer: PackedLinear, bits: Tensor) -> Step:
        """The loop of a packed linear layer on rows, its outputs where torch's operator left them."""
        call = Call(bits[None, None], layer.words, layer.window.flat(), layer.kernel)
        value = self.values[node]
        if layer.outputs == "bits":
            return _works([call.to_bits(layer.limits, layer.flips, value[None])])
        floats, signs = value if layer.outputs == "both" else (value, None)
        words = None if signs is None else signs[None]
        beside = call.beside(None, layer.channels)
        return _works([call.to_floats(layer.bases, layer.numbers, layer.steps, beside, floats[None], words)])

    def _is_fresh(self, node: Node, layer: PackedConv2d) -> bool:
        """Whether a layer writes a result, in memory of its own: a copy of a large image costs half of its loop."""
        return node in self.results and layer.outputs == "floats"

    def _layer(self, node: Node, layer: PackedConv2d, bits: Tensor) -> Step:
        """The loops of a packed layer, its outputs in the places where torch's operator left them."""
        call = Call(bits, layer.words, layer.window.flat(), layer.kernel)
        before = [] if call.border is None else [call.border]
        value = self.values[node]
        if layer.outputs == "bits":
            return _works([*before, call.to_bits(layer.limits, layer.flips, _flat(value, call))])
        floats, signs = value if layer.outputs == "both" else (value, None)
        outputs = _flat(floats.permute(0, 2, 3, 1), call)
        bits_out = None if signs is None else _flat(signs, call)
        residual = node.args[1] if len(node.args) > 1 else None

        def work(beside: Any) -> Work:
            return call.to_floats(layer.bases, layer.numbers, layer.steps, beside, outputs, bits_out)

        if self._is_fresh(node, layer):
            return _fresh(node, layer, call, residual, self.values)
        if residual is None:
            return _works([*before, work(call.beside(None, layer.channels))])
        assert isinstance(residual, Node)
        beside = call.beside(self.values[residual], layer.channels)
        if residual in self.fixed and beside.ctypes.data == self.values[residual].data_ptr():
            return _works([*before, work(beside)])
        first, size = _works(before), self.values[residual].shape

        def with_residual(values: Values) -> None:
            first(values)
            function, arguments = work(call.beside(_same(values[residual], size), layer.channels))
            function(*arguments)

        return with_residual


def _works(works: list[Work]) -> Step:
    def run(values: Values) -> None:
        for function, arguments in works:
            function(*arguments)

    return run


def _fresh(node: Node, layer: PackedConv2d, call: Call, residual: Any, built: Values) -> Step:
    """The loops of a packed layer into a new image."""
    into = call.into(layer.bases, layer.numbers, layer.steps, None)
    nothing = call.beside(None, layer.channels)
    size = None if residual is None else built[residual].shape
    results = Results((call.images, *call.plan.outputs, layer.channels), np.float32)

    def run(values: Values) -> None:
        outputs, array = results()
        beside = nothing if residual is None else call.beside(_same(values[residual], size), layer.channels)
        call.run(into(beside, array.reshape(call.images, call.pixels, layer.channels)))
        values[node] = outputs.permute(0, 3, 1, 2)

    return run


def _packing(source: Node, bits: Tensor, rows: bool, size: Any) -> Step:
    pack = packer(bits, rows)
    return lambda values: pack(_same(values[source], size))


def _same(value: Tensor, size: Any) -> Tensor:
    """A value of the size that a step was made for."""
    if value.shape != size:
        raise Changed
    return value


def _plain(value: Any) -> Any:
    """Results in Python's own lists and dictionaries, where torch.fx has others."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return tuple(map(_plain, value)) if type(value) is tuple else value


def _flat(image: Tensor, call: Call) -> Tensor:
    """Images with their channels last as (images, pixels, channels), in the same memory."""
    return image.view(call.images, call.pixels, image.shape[3])
