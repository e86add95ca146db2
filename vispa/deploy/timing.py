"""Times of a packed model beside the one it was made of, in turns on the same inputs."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from solvers import checks
from vispa.deploy.int8 import in_int8, is_int8
from vispa.deploy.pack import packing
from vispa.deploy.packed_model import PackedModel

__all__ = ["LayerTime", "Timing", "in_turns", "time_packed"]


@dataclass(frozen=True)
class LayerTime:
    """Seconds of one layer.

    Attributes
    ----------
    name : str
    real : float
        As a real layer of torch.
    packed : float
        With all that it took over, NaN where it is not packed.
    int8 : float
        With what torch's quantisation joined to it, from bytes to bytes; NaN where torch has none.
    """

    name: str
    real: float
    packed: float
    int8: float


@dataclass(frozen=True)
class Timing:
    """Median seconds of one forward.

    Attributes
    ----------
    real : float
        Of the plain model, the faster of contiguous and channels-last memory.
    packed : float
    int8 : float
        Of the network in bytes (`vispa.deploy.int8`), NaN where torch cannot quantise it.
    why_no_int8 : str
        The reason, or nothing.
    layers : list of LayerTime
    """

    real: float
    packed: float
    int8: float
    why_no_int8: str
    layers: list[LayerTime]

    @property
    def speedup(self) -> float:
        """How many times faster the packed model is."""
        return self.real / self.packed


def in_turns(
    functions: list[Callable[[], object]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Median seconds of each function by a clock, called in turns so that a noisy machine is noisy for all."""
    taken: list[list[float]] = [[] for _ in functions]
    for function in functions:
        function()
    for _ in range(repeats):
        for function, times in zip(functions, taken, strict=True):
            start = clock()
            function()
            times.append(clock() - start)
    return [statistics.median(times) for times in taken]


def time_packed(model: nn.Module, packed: nn.Module, inputs: Tensor, *, repeats: int = 11) -> Timing:
    """Times of both models, of the plain one in int8 and of their layers, on as many threads as torch has.

    Parameters
    ----------
    model : Module
        The plain model that was packed; it is not changed.
    packed : Module
        What :func:`vispa.pack` made of it.
    inputs : Tensor
        A batch.
    repeats : int, default 11
        Of which medians are taken.
    """
    repeats = checks.integer("repeats", repeats, minimum=1)
    records = packing(packed)
    last = inputs.contiguous(memory_format=torch.channels_last) if inputs.ndim == 4 else inputs
    try:
        quantised, why = in_int8(model, inputs), ""
    except ValueError as error:
        quantised, why = None, str(error)
    runs: list[Callable[[], object]] = [lambda: model(inputs), lambda: model(last), lambda: packed(inputs)]
    if quantised is not None:
        runs.append(lambda: quantised(inputs))
    with torch.inference_mode():
        whole = [*in_turns(runs, repeats), math.nan]
    real = _layer_times(model, [record.name for record in records], inputs, repeats)
    names = [record.packed for record in records if record.packed]
    own = _layer_times(packed, names, inputs, repeats)
    bytewise = {} if quantised is None else _int8_times(quantised, list(real), inputs, repeats)
    layers = [
        LayerTime(
            record.name,
            real[record.name],
            own.get(record.packed, math.nan),
            bytewise.get(record.name, math.nan),
        )
        for record in records
    ]
    return Timing(min(whole[:2]), whole[2], whole[3], why, layers)


def _int8_times(quantised: nn.Module, names: list[str], inputs: Tensor, repeats: int) -> dict[str, float]:
    """Median seconds of those of the layers that are in bytes."""
    modules = dict(quantised.named_modules())
    found = [name for name in names if name in modules and is_int8(modules[name])]
    return _layer_times(quantised, found, inputs, repeats)


def _layer_times(model: nn.Module, names: list[str], inputs: Tensor, repeats: int) -> dict[str, float]:
    """Median seconds of modules by name, layer by layer rather than as a program."""
    taken: dict[str, list[float]] = {name: [] for name in names}
    started: dict[str, float] = {}
    handles = []

    def start(name: str) -> Callable[..., None]:
        return lambda *_: started.__setitem__(name, time.perf_counter())

    def stop(name: str) -> Callable[..., None]:
        return lambda *_: taken[name].append(time.perf_counter() - started[name])

    for name in taken:
        module = model.get_submodule(name)
        handles += [module.register_forward_pre_hook(start(name)), module.register_forward_hook(stop(name))]
    run = model.network if isinstance(model, PackedModel) else model
    try:
        with torch.inference_mode():
            for _ in range(repeats):
                run(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {name: statistics.median(times) if times else float("nan") for name, times in taken.items()}
