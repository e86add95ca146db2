"""Which layers a network calls, in which order, and what two networks feed the same layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from vispa.nn.calibration import Batches, evaluating
from vispa.nn.calling import Forward, answer_of, inputs_of, moved
from vispa.nn.conversion.layer_kinds import Site
from vispa.quantization.layer_inputs import Moments, group_count, input_rows


class _Reached(Exception):
    """The signal that nothing after the last call of the layer is of interest."""


def call_counts(
    model: nn.Module, sites: dict[str, Site], calibration: Batches, forward: Forward | None
) -> dict[str, int]:
    """How often one forward calls each layer, the layer that is called first at the front; never called, left out.

    Raises
    ------
    TypeError, ValueError
        If there is no batch, or one that the model cannot be fed.
    """
    counts: dict[str, int] = {}

    def noted(name: str) -> Callable[[Tensor], None]:
        def note(_: Tensor) -> None:
            counts[name] = counts.get(name, 0) + 1

        return note

    with evaluating(model), _watching({site.module: noted(name) for name, site in sites.items()}):
        for batch in calibration:
            inputs = inputs_of(batch)
            check_inputs(model, inputs, forward)
            answer_of(model, moved(inputs, device_of(model)), forward)
            return counts
    raise ValueError("calibration must hold at least one batch; found none")


def layer_moments(
    real: nn.Module,
    binary: nn.Module,
    site: Site,
    calls: int,
    calibration: Batches,
    forward: Forward | None,
) -> Moments:
    """Moments of a layer's inputs in the real and in the binary network; one batch's rows are held at a time.

    Raises
    ------
    ValueError
        If an input is NaN or infinite, or there is none.
    """
    layer = site.module
    fan_in = site.layout("weight").fan_in
    moments = Moments(group_count(site), fan_in, device_of(binary))
    twin = real.get_submodule(site.name)
    with evaluating(real), evaluating(binary):
        for batch in calibration:
            inputs = moved(inputs_of(batch), device_of(binary))
            wanted = _fed(real, twin, calls, inputs, forward)
            found = _fed(binary, layer, calls, inputs, forward)
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
        If floating-point inputs differ from the parameters and no ``forward`` converts them.
    ValueError
        If a tensor is on the meta device.
    """
    wanted = next(model.parameters()).dtype
    for values in inputs.values() if isinstance(inputs, Mapping) else [inputs]:
        if not isinstance(values, Tensor):
            continue
        if values.is_meta:
            raise ValueError("calibration must hold numbers; found a tensor on the meta device")
        if forward is None and values.is_floating_point() and values.dtype != wanted:
            raise TypeError(
                f"calibration must hold inputs of the model's {wanted}; found {values.dtype}: convert the "
                "batches, or pass a forward= that does"
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


@contextmanager
def _watching(watchers: dict[nn.Module, Callable[[Tensor], None]]) -> Iterator[None]:
    """Show each module's first argument to its watcher before it is called."""
    handles = [
        module.register_forward_pre_hook(
            lambda _, arguments, keywords, watch=watch: watch(
                arguments[0] if arguments else next(iter(keywords.values()))
            ),
            with_kwargs=True,
        )
        for module, watch in watchers.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
