"""Assignments and resets of a binary layer, carried over to its posterior."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

__all__ = ["let_writes_take_effect"]

_RESETS = ("reset_parameters", "_reset_parameters")


def let_writes_take_effect(module: nn.Module, weights: tuple[str, ...], bias: str | None) -> None:
    """Make assignments and resets of a parametrized layer reach what lies behind its weights and biases.

    Torch gives every parametrized module a class of its own, which `remove_parametrizations` takes back.
    """
    if bias is not None and parametrize.is_parametrized(module, bias):
        for attribute in weights:
            _keep_bias_at_assignment(type(module), attribute, bias)
    for name in _RESETS:
        if hasattr(module, name):
            setattr(type(module), name, _reset_by(name))


def _keep_bias_at_assignment(kind: type[nn.Module], attribute: str, bias: str) -> None:
    """Let the bias add what it added although the scale in front of it is another."""
    read: property = getattr(kind, attribute)

    def assign(module: nn.Module, values: Tensor) -> None:
        added = getattr(module, bias).detach().clone()
        assert read.fset is not None
        read.fset(module, values)
        chains: Any = module.parametrizations
        with torch.no_grad():
            chains[bias].original.copy_(chains[bias][0].stored(added))

    setattr(kind, attribute, property(read.fget, assign))


def _reset_by(name: str) -> Any:
    def reset(module: nn.Module) -> None:
        """Draw the weights and biases anew by the rule of the plain layer, and assign them."""
        twin = _plain_twin(module)
        getattr(twin, name)()
        _assign(module, twin)

    return reset


def _plain_twin(module: nn.Module) -> nn.Module:
    """Return the layer as its own class made it, with values of its own and plain parameters."""
    kind = type(module).__bases__[0] if parametrize.is_parametrized(module) else type(module)
    twin: nn.Module = object.__new__(kind)
    twin.__dict__.update(module.__dict__)
    parameters = {name: _copied(values) for name, values in module._parameters.items()}
    for attribute in getattr(module, "parametrizations", ()):
        parameters[attribute] = _copied(getattr(module, attribute))
    children = {name: child for name, child in module._modules.items() if name != "parametrizations"}
    twin.__dict__["_parameters"] = parameters
    twin.__dict__["_modules"] = {
        name: child if child is None else _plain_twin(child) for name, child in children.items()
    }
    return twin


def _copied(values: Tensor | None) -> nn.Parameter | None:
    return (
        None if values is None else nn.Parameter(values.detach().clone(), requires_grad=values.requires_grad)
    )


def _assign(module: nn.Module, twin: nn.Module) -> None:
    with torch.no_grad():
        for name, values in twin._parameters.items():
            if values is None:
                continue
            if name in module._parameters:
                module.get_parameter(name).copy_(values)
            else:
                setattr(module, name, values.detach())
    for name, child in twin._modules.items():
        mine = module._modules[name]
        if child is not None and mine is not None:
            _assign(mine, child)
