"""A traced packed model run without torch's cost of a call a layer: buffers and arguments made once a size."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from vispa.deploy.between import Between, found_between
from vispa.deploy.bits import PackSigns, PoolBits
from vispa.deploy.calls import Call, Work, flat_of, packer, pool_bits
from vispa.deploy.layers import PackedConv2d, PackedLinear
from vispa.deploy.nodes import Step, Values, by_torch, is_item

__all__ = ["PackedModel"]

# Sizes of inputs whose programs are kept, in every thread: a program holds all values between its layers.
KEPT = 4


class PackedModel(nn.Module):
    """A traced model of packed layers.

    On CPU tensors it runs as a list of compiled loops, prepared for each size of its inputs; what torch.export,
    torch.compile and other transforms see is the graph of its operators.
    """

    def __init__(self, network: GraphModule) -> None:
        super().__init__()
        self.network = network
        self._programs = _Programs()
        self.eval()

    def _apply(self, *arguments: Any, **options: Any) -> PackedModel:
        self._programs = _Programs()
        super()._apply(*arguments, **options)
        return self

    def forward(self, inputs: Any, *others: Any, **options: Any) -> Any:
        """Return what the model returns."""
        given = (inputs, *others)
        plain = type(inputs) is Tensor and inputs.is_cpu
        if others:
            plain = all(type(value) is Tensor and value.is_cpu for value in given)
        if not plain or options or torch.compiler.is_compiling():
            return self.network(*given, **options)
        if not torch.is_grad_enabled():  # entering a context again would cost as much as a small layer
            return self._programs.of(self.network, given).run(given)
        with torch.no_grad():
            return self._programs.of(self.network, given).run(given)


class _Programs(threading.local):
    """Programs by sizes of inputs. Threads have their own, since a program has its values in fixed places."""

    def __init__(self) -> None:
        self.kept: dict[Any, Program] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> _Programs:
        return _Programs()

    def __reduce__(self) -> Any:
        return _Programs, ()

    def of(self, network: GraphModule, inputs: tuple[Tensor, ...]) -> Program:
        """The program of these sizes and dtypes; the oldest is forgotten where there are too many."""
        key = tuple((value.shape, value.dtype, value.stride()) for value in inputs)
        found = self.kept.pop(key, None) or Program(network, inputs)
        self.kept[key] = found
        while len(self.kept) > KEPT:
            del self.kept[next(iter(self.kept))]
        return found


class Program:
    """The nodes of a graph as functions of one size of inputs."""

    def __init__(self, network: GraphModule, inputs: tuple[Tensor, ...]) -> None:
        self.network = network
        self.values: Values = {}
        # nodes whose values lie in the same memory in every run, and these memories
        self.fixed: set[Node] = set()
        self.memories: set[int] = set()
        self.fresh: set[Node] = set()
        self.steps: list[Step] = []
        self.places: list[Node] = []
        self.results = {
            node for last in network.graph.find_nodes(op="output") for node in last.all_input_nodes
        }
        # values whose signs a loop writes beside them
        self.signs: dict[Node, Tensor] = {}
        runs = found_between(network)
        done: set[Node] = set()
        for node in network.graph.nodes:
            if node.op == "placeholder":
                self.values[node] = (
                    inputs[len(self.places)] if len(self.places) < len(inputs) else node.args[0]
                )
                self.places.append(node)
            elif node.op == "output":
                self.result = node.args[0]
            elif node in done:
                continue
            elif node in runs and self._add_run(runs[node]):
                done.update(runs[node].nodes)
            else:
                self._add(node)

    def run(self, inputs: tuple[Tensor, ...]) -> Any:
        """The outputs, in memory of their own."""
        values = self.values
        values.update(zip(self.places, inputs, strict=False))
        for step in self.steps:
            step(values)
        result = self._own(self.result) if isinstance(self.result, Node) else map_arg(self.result, self._own)
        for node in self.fresh:
            # where nobody keeps a result, the next one lies in its memory, which is in the cache
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
        flat = flat_of(given)
        if source in self.fixed and flat.ctypes.data == given.data_ptr():
            self.steps.append(lambda values: fill(flat))
        else:
            self.steps.append(lambda values: fill(flat_of(values[source])))
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
        if isinstance(module, PackSigns) and not module.rows and source in self.signs:
            assert isinstance(source, Node)
            self.values[node] = self.signs[source]
            self.steps.pop()
        elif isinstance(module, PackSigns):
            self.steps[-1] = _packing(node, self.values[node], module.rows)
        elif fixed and isinstance(module, PoolBits):
            assert isinstance(source, Node)
            pooled = pool_bits(self.values[source], module.flips, module.window, self.values[node])
            self.steps[-1] = _works([pooled])
        elif fixed and isinstance(module, PackedConv2d):
            assert isinstance(source, Node)
            self.steps[-1] = self._layer(node, module, self.values[source])
            if self._is_fresh(node, module):
                self.fresh.add(node)
                return
        elif fixed and isinstance(module, PackedLinear) and self.values[source].ndim == 2:  # type: ignore[index]
            assert isinstance(source, Node)
            self.steps[-1] = self._rows(node, module, self.values[source])
        elif fixed and (type(module) is nn.Identity or is_item(node) or self._is_view(module, node)):
            self.steps.pop()
        else:
            return
        self._fix(node)

    def _is_view(self, module: nn.Module | None, node: Node) -> bool:
        """Whether a value is another view of memory that stays in its place."""
        return type(module) is nn.Flatten and self.values[node].untyped_storage().data_ptr() in self.memories

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
            return _fresh(node, layer, call, residual)
        if residual is None:
            return _works([*before, work(call.beside(None, layer.channels))])
        assert isinstance(residual, Node)
        beside = call.beside(self.values[residual], layer.channels)
        if residual in self.fixed and beside.ctypes.data == self.values[residual].data_ptr():
            return _works([*before, work(beside)])
        first = _works(before)

        def with_residual(values: Values) -> None:
            first(values)
            function, arguments = work(call.beside(values[residual], layer.channels))
            function(*arguments)

        return with_residual


def _works(works: list[Work]) -> Step:
    def run(values: Values) -> None:
        for function, arguments in works:
            function(*arguments)

    return run


def _fresh(node: Node, layer: PackedConv2d, call: Call, residual: Any) -> Step:
    """The loops of a packed layer into a new image."""
    into = call.into(layer.bases, layer.numbers, layer.steps, None)
    nothing = call.beside(None, layer.channels)

    def run(values: Values) -> None:
        outputs = call.empty_image(layer.channels)
        beside = nothing if residual is None else call.beside(values[residual], layer.channels)
        call.run(into(beside, outputs.numpy().reshape(call.images, call.pixels, layer.channels)))
        values[node] = outputs.permute(0, 3, 1, 2)

    return run


def _packing(node: Node, bits: Tensor, rows: bool) -> Step:
    source = node.args[0]
    assert isinstance(source, Node)
    pack = packer(bits, rows)
    return lambda values: pack(values[source])


def _flat(image: Tensor, call: Call) -> Tensor:
    """Images with their channels last as (images, pixels, channels), in the same memory."""
    return image.view(call.images, call.pixels, image.shape[3])
