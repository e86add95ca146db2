"""Which layers become binary, and which models are refused, with the order that works instead."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from vispa.nn.weights import BinaryWeight

__all__ = ["BinaryLayer", "Layer", "binary_layers", "refuse_wrapped", "select_layers"]

Layer: TypeAlias = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
ELIGIBLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

# Looked up by name among loaded modules: a wrapper exists only where its module was imported.
_WRAPPERS = {
    "torch._dynamo.eval_frame.OptimizedModule": "torch.compile",
    "torch.nn.parallel.distributed.DistributedDataParallel": "DistributedDataParallel",
    "torch.nn.parallel.data_parallel.DataParallel": "DataParallel",
    "torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel": "FullyShardedDataParallel",
    "torch.jit._script.ScriptModule": "torch.jit",
}


class BinaryLayer(NamedTuple):
    """A layer with a binary weight: its name in the model, the module, what torch put behind ``weight``."""

    name: str
    layer: Layer
    chain: parametrize.ParametrizationList

    @property
    def weight(self) -> BinaryWeight:
        """The parametrization: alpha, and the factor where the method has one."""
        weight = self.chain[0]
        assert isinstance(weight, BinaryWeight)
        return weight

    @property
    def mean(self) -> Tensor:
        """The parameter that was the layer's weight."""
        return self.chain.original


def binary_layers(model: nn.Module) -> list[BinaryLayer]:
    """Return the binary layers of a model in the order of its modules; refuse a model without any."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; found {type(model).__name__}")
    layers = list(_find_binary_layers(model))
    if not layers:
        raise ValueError("model has no binary layer; call vispa.binarize(model) first")
    return layers


def _find_binary_layers(model: nn.Module) -> Iterator[BinaryLayer]:
    for name, module in model.named_modules():
        if not parametrize.is_parametrized(module, "weight"):
            continue
        chain = module.parametrizations["weight"]
        if isinstance(chain[0], BinaryWeight):
            yield BinaryLayer(name, module, chain)


def refuse_wrapped(model: nn.Module, verb: str) -> None:
    """Raise for anything but a plain module tree, naming the wrapper and the right order."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; found {type(model).__name__}")
    for name, module in model.named_modules():
        where = f"its submodule {name!r}" if name else "it"
        if getattr(module, "_compiled_call_impl", None) is not None:
            raise TypeError(
                f"model cannot be {verb}: {where} is compiled; it must be {verb} first, then compiled"
            )
        for path, wrapper in _WRAPPERS.items():
            home, _, class_name = path.rpartition(".")
            if home in sys.modules and isinstance(module, getattr(sys.modules[home], class_name, ())):
                raise TypeError(
                    f"model cannot be {verb}: {where} is wrapped by {wrapper}; the module inside must be "
                    f"{verb} first, then wrapped"
                )


def select_layers(model: nn.Module, keep: Collection[str]) -> dict[str, Layer]:
    """Return the layers to make binary by name: all eligible ones but those kept.

    Raises
    ------
    TypeError
        If ``keep`` is not a collection of names, or a weight is not a floating-point parameter in place.
    ValueError
        If a name in ``keep`` keeps nothing, no layer remains, or a weight cannot be parametrized.
    """
    eligible: dict[str, Layer] = {
        name: module for name, module in model.named_modules() if isinstance(module, ELIGIBLE)
    }
    if not eligible:
        raise ValueError(
            "model has no layer that can be binary; allowed are Linear, Conv1d, Conv2d and Conv3d"
        )
    kept = _kept_names(list(eligible), keep)
    selected = {name: layer for name, layer in eligible.items() if name not in kept}
    if not selected:
        raise ValueError(
            f"keep={tuple(keep)!r} keeps every one of the {len(eligible)} layer(s) that could be binary; "
            "keep fewer, for example keep=()"
        )
    for name, layer in selected.items():
        _check_layer(name, layer)
    _check_ties(model, selected)
    return selected


def _kept_names(eligible: list[str], keep: Collection[str]) -> set[str]:
    if isinstance(keep, str) or not isinstance(keep, Collection):
        raise TypeError(f"keep must be a collection of names such as ('first', 'last'); found {keep!r}")
    kept: set[str] = set()
    for entry in keep:
        if not isinstance(entry, str):
            raise TypeError(f"keep must hold names of modules; found {entry!r}")
        if entry in ("first", "last"):
            found = {eligible[0 if entry == "first" else -1]}
        else:
            found = {name for name in eligible if name == entry or name.startswith(f"{entry}.")}
        if not found:
            raise ValueError(
                f"keep names {entry!r}, which is or holds no layer that could be binary; "
                f"allowed: 'first', 'last', the layers {', '.join(map(repr, eligible))}, or their parents"
            )
        kept |= found
    return kept


def _check_layer(name: str, layer: Layer) -> None:
    label = f"layer {name!r}" if name else "the model"
    for attribute in ("weight", "bias"):
        if parametrize.is_parametrized(layer, attribute):
            raise ValueError(
                f"{label}: its {attribute} is already parametrized; binarize first and add parametrizations "
                "to other layers, or name this one in keep"
            )
        if attribute not in layer._parameters:
            raise ValueError(
                f"{label}: its {attribute} is not a parameter but computed by a hook (weight_norm, "
                "spectral_norm, pruning); remove the hook before binarize, or name this layer in keep"
            )
        values = layer._parameters[attribute]
        if values is not None:
            _check_parameter(f"{label}: its {attribute}", values)


def _check_parameter(label: str, values: Tensor) -> None:
    if is_lazy(values):
        raise ValueError(f"{label} is not initialised yet (lazy module); run one forward, then binarize")
    tensor_module = sys.modules.get("torch.distributed.tensor")
    if tensor_module is not None and isinstance(values, tensor_module.DTensor):
        raise TypeError(f"{label} is a DTensor; binarize first, then shard or parallelise")
    if values.dtype not in FLOATING:
        raise TypeError(f"{label} has dtype {values.dtype}; allowed are {', '.join(map(str, FLOATING))}")
    if values.is_meta:
        raise ValueError(f"{label} is on the meta device; materialise the model, then binarize")
    if values.numel() == 0:
        raise ValueError(f"{label} must not be empty; found shape {tuple(values.shape)}")
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"{label} must be finite; found NaN or infinite entries")


def _check_ties(model: nn.Module, selected: dict[str, Layer]) -> None:
    """Refuse weights that a layer outside the selection shares, and shared biases."""
    owners: dict[int, list[str]] = {}
    for prefix, module in model.named_modules():
        for attribute, values in module._parameters.items():
            if values is not None:
                owners.setdefault(id(values), []).append(f"{prefix}.{attribute}".lstrip("."))
    chosen = {f"{name}.weight".lstrip(".") for name in selected}
    for name, layer in selected.items():
        strangers = [other for other in owners[id(layer.weight)] if other not in chosen]
        if strangers:
            raise ValueError(
                f"layer {name!r}: its weight is tied to {', '.join(map(repr, strangers))}, which would stay "
                "real; untie them before binarize, or name this layer in keep"
            )
        if layer.bias is not None and len(owners[id(layer.bias)]) > 1:
            raise ValueError(
                f"layer {name!r}: its bias is shared, as {', '.join(map(repr, owners[id(layer.bias)]))}; "
                "untie it before binarize, or name this layer in keep"
            )
