"""When a loss or a network is no longer finite: say where it arose."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class NonFiniteError(ArithmeticError):
    """Training stopped because the loss or the network is NaN or infinite; the message names the layer."""


def locate(model: nn.Module, inputs: Tensor) -> str:
    """Name what is not finite: the inputs, else the first parameter or buffer, else the first layer's output.

    Parameters come first because a layer whose weights are already NaN only passes the fault on.
    """
    if not torch.isfinite(inputs).all():
        return "the inputs of the network"
    stored = first_faulty_tensor(model)
    if stored is not None:
        return f"{stored!r} of the network"
    faulty = _first_faulty_output(model, inputs)
    return f"the output of layer {faulty!r}" if faulty else "the loss itself (every layer's output is finite)"


def first_faulty_tensor(model: nn.Module) -> str | None:
    """Name the first parameter or buffer that is not finite; None where all are."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            return name
    return None


def _first_faulty_output(model: nn.Module, inputs: Tensor) -> str | None:
    found: list[str] = []

    def watch(name: str, module: nn.Module) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not torch.isfinite(output).all():
                found.append(name)

        return module.register_forward_hook(hook)

    handles = [watch(name, module) for name, module in model.named_modules() if name]
    try:
        with torch.no_grad():
            model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None
