"""What `pack` returns: a traced model that runs without torch's cost of a call a layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from vispa.deploy.eager import eager
from vispa.deploy.per_thread import PerThread
from vispa.deploy.runner import Changed, Program

__all__ = ["PackedModel"]

# Sizes of inputs whose programs are kept, in every thread: a program holds all values between its layers.
KEPT = 4
_MISSING = object()
# Where a module keeps its hooks, and what they are called with.
HOOKS = (
    "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
)  # fmt: skip


class PackedModel(nn.Module):
    """A traced model of packed layers.

    On CPU tensors it runs as a list of compiled loops, prepared for each size of its inputs; what torch.export,
    torch.compile and other transforms see is the graph of its operators. Hooks of the model that was traced go on
    being called.
    """

    def __init__(
        self, network: GraphModule, model: nn.Module, exact: bool = False, *, within: bool = False
    ) -> None:
        super().__init__()
        # code around it can ask for views that there are in torch's order of memory alone
        self._within = within
        for name in HOOKS:
            setattr(self, name, getattr(model, name))
        self.network, self._exact = network, exact
        self._programs = _Programs()
        self._takes = _numbers_of_inputs(network)
        self.eval()

    def train(self, mode: bool = True) -> PackedModel:
        """Stay in evaluation mode, which is all that there is."""
        return super().train(False)

    def _apply(self, *arguments: Any, **options: Any) -> PackedModel:
        self._programs = _Programs()
        super()._apply(*arguments, **options)
        return self

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        # programs have copies of some values
        self._programs = _Programs()
        super()._load_from_state_dict(*arguments, **options)

    def forward(self, inputs: Any = _MISSING, *others: Any, **options: Any) -> Any:
        """Return what the model returns."""
        result = self._result(inputs, *others, **options)
        return _in_torchs_order(result) if self._within else result

    def _result(self, inputs: Any, *others: Any, **options: Any) -> Any:
        given = () if inputs is _MISSING else (inputs, *others)
        if options or not given or not eager(given) or len(given) not in self._takes:
            return self.network(*given, **options)
        if torch.is_autocast_enabled("cpu"):  # packed layers are float32, and what lies between them
            with torch.autocast("cpu", enabled=False):
                return self._result(*given)
        if not torch.is_grad_enabled():  # entering a context again would cost as much as a small layer
            return self._programs.run(self.network, given, self._exact)
        with torch.no_grad():
            return self._programs.run(self.network, given, self._exact)


def _in_torchs_order(value: Any) -> Any:
    """Results with images whose channels are the second axis in memory too."""
    if isinstance(value, Tensor):
        return value.contiguous() if value.ndim == 4 else value
    if type(value) in (list, tuple):
        return type(value)(map(_in_torchs_order, value))
    return {name: _in_torchs_order(each) for name, each in value.items()} if type(value) is dict else value


def _numbers_of_inputs(network: GraphModule) -> range:
    """How many inputs a graph may be called with; none where it takes any number."""
    places = network.graph.find_nodes(op="placeholder")
    if any(str(node.target).startswith("*") for node in places):
        return range(0)
    return range(sum(not node.args for node in places), len(places) + 1)


class _Programs(PerThread):
    """Programs by sizes of inputs. Threads have their own, since a program has its values in fixed places."""

    def __init__(self) -> None:
        self.kept: dict[Any, Program] = {}
        self.latest: tuple[list[Any] | None, Program | None] = (None, None)

    def run(self, network: GraphModule, inputs: tuple[Tensor, ...], exact: bool) -> Any:
        """The outputs by the program of these sizes and dtypes; the oldest of too many is forgotten."""
        # tensors of inference mode cannot be changed outside of it
        key: list[Any] = [torch.is_inference_mode_enabled()]
        key += [(value.shape, value.dtype, value.stride()) for value in inputs]
        latest, program = self.latest
        # whoever calls the model while it runs gets a program of his own
        self.latest = None, None
        if key != latest:
            self._put_away(latest, program)
            program = self.kept.pop(tuple(key), None)
        try:
            if program is None or not program.has_its_tensors():
                # building computes everything once, and nothing may happen twice
                program = Program(network, inputs, exact)
                result = program.outputs()
            else:
                result = program.run(inputs)
        except Changed:
            return network(*inputs)
        self.latest = key, program
        return result

    def _put_away(self, key: list[Any] | None, program: Program | None) -> None:
        if key is None or program is None:
            return
        self.kept[tuple(key)] = program
        while len(self.kept) >= KEPT:
            del self.kept[next(iter(self.kept))]
