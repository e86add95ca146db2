"""Which layers a network calls, in which order, and what two networks feed the same layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vispa.nn.calibration import Batches, evaluating
from vispa.nn.calling import Forward, answer_of, first_argument, inputs_of, moved, tensors_of
from vispa.nn.conversion.layer_kinds import Site
from vispa.quantization.layer_inputs import Moments, check_outputs, group_count, input_rows, is_plain
from vispa.training import generators


class _Reached(BaseException):
    """The signal that nothing after the last call of the layer is of interest; no model's own handler hears it."""


def call_counts(
    model: nn.Module, sites: dict[str, Site], calibration: Batches, forward: Forward | None
) -> dict[str, int]:
    """How often a forward calls each layer at most, in the order of calls; never called, left out.

    A layer that only later batches reach comes after the one that is called before it there.

    Raises
    ------
    TypeError, ValueError
        If there is no batch, or one that the model cannot be fed.
    """
    most: dict[str, int] = {}
    order: list[str] = []
    counts: Counter[str] = Counter()

    def noted(name: str) -> Callable[[Tensor], None]:
        def note(_: Tensor) -> None:
            counts[name] += 1
            most[name] = max(most.get(name, 0), counts[name])
            if name not in order:
                before = [other for other in counts if other != name]
                order.insert(order.index(before[-1]) + 1 if before else 0, name)

        return note

    found = False

    with (
        evaluating(model),
        buffers_kept(model),
        _watching({site.module: noted(name) for name, site in sites.items()}),
    ):
        for batch in calibration:
            inputs = inputs_of(batch)
            check_inputs(model, inputs, forward)
            counts.clear()
            answer_of(model, moved(inputs, device_of(model)), forward)
            found = True
    if not found:
        raise ValueError("calibration must hold at least one batch; found none")
    return {name: most[name] for name in order}


def layer_moments(
    real: nn.Module,
    binary: nn.Module,
    site: Site,
    calls: int,
    calibration: Batches,
    forward: Forward | None,
) -> Moments:
    """Moments of a layer's inputs in the real and in the binary network; one batch's rows are held at a time.

    Both networks draw the same noise, where they draw some.

    Raises
    ------
    ValueError
        If an input is NaN or infinite, there is none, the two networks call the layer on inputs that do not belong
        together, or it puts out something else than its weight times its inputs.
    """
    layer = site.module
    fan_in = site.layout("weight").fan_in
    moments = Moments(group_count(site), fan_in, device_of(binary))
    twin = real.get_submodule(site.name)
    with evaluating(real), evaluating(binary):
        for batch in calibration:
            inputs = moved(inputs_of(batch), device_of(binary))
            noise = generators.capture(moments.binary.device)
            wanted = _fed(real, twin, calls, inputs, forward)
            generators.restore(noise, moments.binary.device)
            found = _fed(binary, layer, calls, inputs, forward)
            _check_route(site, found, wanted)
            if moments.samples == 0 and not is_plain(site):
                for fed, output in _called(real, twin, inputs, forward):
                    check_outputs(site, fed, output)
            for ours, theirs in zip(found, wanted, strict=True):
                pairs = zip(input_rows(layer, ours), input_rows(layer, theirs), strict=True)
                for rows, float_rows in pairs:
                    moments.add(rows, float_rows)
    if moments.samples == 0:
        raise ValueError(f"calibration must hold at least one sample; {site.label} is fed none")
    sums = (moments.binary, moments.crossed, moments.real)
    if not all(bool(torch.isfinite(total).all()) for total in sums):
        raise ValueError(
            f"calibration must feed finite numbers to every layer; {site.label} is fed NaN or infinite ones"
        )
    return moments


def check_inputs(model: nn.Module, inputs: Any, forward: Forward | None) -> None:
    """Refuse a batch whose tensors hold no numbers, or numbers of another precision than the model's.

    Raises
    ------
    TypeError
        If inputs are no tensors, or of another dtype than the parameters, and no ``forward`` converts them.
    ValueError
        If a tensor is on the meta device.
    """
    if forward is None and isinstance(inputs, np.ndarray):
        raise TypeError(
            "calibration must hold tensors; found a NumPy array: torch.from_numpy makes a tensor of it"
        )
    wanted = next(model.parameters()).dtype
    for values in tensors_of(inputs):
        if values.is_meta:
            raise ValueError("calibration must hold numbers; found a tensor on the meta device")
        if forward is None and values.is_floating_point() and values.dtype != wanted:
            raise TypeError(
                f"calibration must hold inputs of the model's {wanted}; found {values.dtype}: convert the "
                "batches, or pass a forward= that does"
            )


def _check_route(site: Site, found: list[Tensor], wanted: list[Tensor]) -> None:
    if [values.shape for values in found] != [values.shape for values in wanted]:
        raise ValueError(
            f"{site.label}: what it is fed depends on values that change as layers before it become binary, such "
            f"as a route of single samples; keep it real with keep=('first', 'last', {site.name!r}), or the layers "
            "that decide"
        )


def device_of(model: nn.Module) -> torch.device:
    """Where a model's first parameter is."""
    return next(model.parameters()).device


def _fed(
    model: nn.Module, layer: nn.Module, calls: int, inputs: Any, forward: Forward | None
) -> list[Tensor]:
    """What each call of the layer is fed; the forward ends with the last of them."""
    seen: list[Tensor] = []

    def keep(values: Tensor) -> None:
        seen.append(values.detach().clone())
        if len(seen) == calls:
            raise _Reached

    with _watching({layer: keep}), suppress(_Reached):
        answer_of(model, inputs, forward)
    return seen


def _called(
    model: nn.Module, layer: nn.Module, inputs: Any, forward: Forward | None
) -> list[tuple[Tensor, Any]]:
    """What the layer's first call is fed and answers by itself, before hooks; empty where there is none."""
    seen: list[tuple[Tensor, Any]] = []

    def keep(_: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        seen.append((first_argument(arguments, keywords).detach().clone(), output))
        raise _Reached

    handle = layer.register_forward_hook(keep, with_kwargs=True, prepend=True)
    try:
        with suppress(_Reached):
            answer_of(model, inputs, forward)
    finally:
        handle.remove()
    return seen


@contextmanager
def buffers_kept(model: nn.Module) -> Iterator[None]:
    """Give a model its buffers back, which a forward may have changed: counters, caches, observers."""
    before = [
        (module, name, values, values.clone())
        for module in model.modules()
        for name, values in module._buffers.items()
        if values is not None
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for module, name, values, content in before:
                module._buffers[name] = values
                # untouched ones may be wanted by a backward that is still to come
                if not torch.equal(values, content):
                    values.copy_(content)


@contextmanager
def _watching(watchers: dict[nn.Module, Callable[[Tensor], None]]) -> Iterator[None]:
    """Show each module's first argument to its watcher before it is called."""
    handles = [
        module.register_forward_pre_hook(
            lambda _, arguments, keywords, watch=watch: watch(first_argument(arguments, keywords)),
            with_kwargs=True,
        )
        for module, watch in watchers.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
