"""Which models and weights are refused, with the order that works instead."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from vispa.nn.conversion.layer_kinds import Site
from vispa.nn.weights.binary_weight import BinaryWeight

__all__ = ["check_forward", "check_site", "check_ties", "is_frozen", "refuse_sharded", "refuse_wrapped"]

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

# Looked up by name among loaded modules: a wrapper exists only where its module was imported.
_WRAPPERS = {
    "torch._dynamo.eval_frame.OptimizedModule": "torch.compile",
    "torch.nn.parallel.distributed.DistributedDataParallel": "DistributedDataParallel",
    "torch.nn.parallel.data_parallel.DataParallel": "DataParallel",
    "torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel": "FullyShardedDataParallel",
    "torch.jit._script.ScriptModule": "torch.jit",
}


# Where results keep the network that they are about.
_HOLDING = ("model", "network")


def refuse_wrapped(model: nn.Module, verb: str) -> None:
    """Raise for anything but a plain module tree, naming the wrapper and the right order; for packed models too."""
    if not isinstance(model, nn.Module):
        held = next((name for name in _HOLDING if isinstance(getattr(model, name, None), nn.Module)), None)
        remedy = "" if held is None else f": pass its .{held}"
        raise TypeError(f"model must be a torch.nn.Module; found {type(model).__name__}{remedy}")
    for name, module in model.named_modules():
        where = f"its submodule {name!r}" if name else "it"
        if getattr(module, "_compiled_call_impl", None) is not None:
            raise TypeError(
                f"model cannot be {verb}: {where} is compiled; it must be {verb} first, then compiled"
            )
        if type(module).__module__.startswith("vispa.deploy."):
            raise TypeError(
                f"model cannot be {verb}: {where} is packed ({type(module).__name__}); the model that vispa.pack "
                f"was given can be {verb}"
            )
        # Not by its parameters: after a forward they may be whole.
        if _is_a(module, "torch.distributed.fsdp.FSDPModule"):
            raise TypeError(
                f"model cannot be {verb}: {where} is sharded by fully_shard; it must be {verb} first, then "
                "sharded (its full state dict fits a model that is not sharded)"
            )
        for path, wrapper in _WRAPPERS.items():
            if _is_a(module, path):
                raise TypeError(
                    f"model cannot be {verb}: {where} is wrapped by {wrapper}; the module inside must be "
                    f"{verb} first, then wrapped"
                )


def refuse_sharded(model: nn.Module, verb: str) -> None:
    """Raise for a model whose parameters are spread over processes."""
    for name, values in model.named_parameters():
        if _is_distributed(values):
            raise TypeError(
                f"model cannot be {verb}: its {name!r} is a DTensor; load its full state dict into a model that "
                f"is not sharded, which can be {verb}"
            )


def check_site(site: Site) -> None:
    """Raise unless the weights and the bias of a site can be parametrized."""
    objection = site.kind.objection(site.module)
    if objection:
        raise ValueError(f"{site.label}: {objection}")
    for attribute in (*site.weights, site.bias):
        if attribute is None:
            continue
        if parametrize.is_parametrized(site.module, attribute):
            chains: Any = site.module.parametrizations
            if isinstance(chains[attribute][0], BinaryWeight):
                raise ValueError(
                    f"{site.label}: its {attribute} is binary already, by an earlier vispa.binarize; build the "
                    "model anew to binarize it otherwise"
                )
            raise ValueError(
                f"{site.label}: its {attribute} is already parametrized; binarize first and add "
                f"parametrizations to other layers, or {_keeping(site)}"
            )
        if attribute not in site.module._parameters:
            raise ValueError(
                f"{site.label}: its {attribute} is not a parameter but computed by a hook (weight_norm, "
                f"spectral_norm, pruning); remove the hook before binarize, or {_keeping(site)}"
            )
        values = site.module._parameters[attribute]
        if values is not None:
            _check_parameter(f"{site.label}: its {attribute}", values)
    if is_frozen(site):
        raise ValueError(
            f"{site.label}: it is frozen, so that its posterior would never train; thaw it before binarize with "
            f"requires_grad_(True), or {_keeping(site)}"
        )


def check_forward(site: Site) -> None:
    """Refuse a subclass with a forward of its own: what it applies may be no weight of two values a channel."""
    kind = site.kind.class_of(site.module)
    own = [
        name
        for name in ("forward", "_conv_forward")
        if getattr(type(site.module), name, None) is not getattr(kind, name, None)
    ]
    if own:
        raise ValueError(
            f"{site.label}: it is a {type(site.module).__name__} with a {own[0]} of its own, which may "
            f"standardise or rescale its weight; choose it by name, as in layers=[{site.name!r}, ...], if it "
            f"applies the weight as it is, or {_keeping(site)}"
        )


def is_frozen(site: Site) -> bool:
    """Say whether some weight of a site could be trained and is not to be."""
    values = [site.module._parameters.get(attribute) for attribute in site.weights]
    return any(
        each is not None and not each.requires_grad and each.dtype in FLOATING and each.numel() > 0
        for each in values
    )


def _keeping(site: Site) -> str:
    return f"keep it real with keep=('first', 'last', {site.name!r})"


def _check_parameter(label: str, values: Tensor) -> None:
    if is_lazy(values):
        raise ValueError(f"{label} is not initialised yet (lazy module); run one forward, then binarize")
    if _is_distributed(values):
        raise TypeError(f"{label} is a DTensor; binarize first, then shard or parallelise")
    if values.dtype not in FLOATING:
        raise TypeError(f"{label} has dtype {values.dtype}; allowed are {', '.join(map(str, FLOATING))}")
    if values.is_meta:
        raise ValueError(f"{label} is on the meta device; materialise the model, then binarize")
    if values.numel() == 0:
        raise ValueError(f"{label} must not be empty; found shape {tuple(values.shape)}")
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"{label} must be finite; found NaN or infinite entries")


def check_ties(model: nn.Module, selected: dict[str, Site]) -> None:
    """Refuse weights that something outside the selection shares, and shared biases."""
    owners: dict[int, list[str]] = {}
    for prefix, module in model.named_modules():
        for attribute, values in module._parameters.items():
            if values is not None:
                owners.setdefault(id(values), []).append(_join(prefix, attribute))
    chosen = {
        _join(name, weight): site.layout(weight) for name, site in selected.items() for weight in site.weights
    }
    for name, site in selected.items():
        for weight in site.weights:
            mine = _join(name, weight)
            others = [other for other in owners[id(getattr(site.module, weight))] if other != mine]
            strangers = [other for other in others if other not in chosen]
            if strangers:
                raise ValueError(
                    f"{site.label}: its {weight} is tied to {', '.join(map(repr, strangers))}, which would stay "
                    f"real; choose both with layers=, untie them before binarize, or {_keeping(site)}"
                )
            if any(chosen[other] != chosen[mine] for other in others):
                raise ValueError(
                    f"{site.label}: its {weight} is tied to {', '.join(map(repr, others))}, whose output "
                    "channels lie along another axis; untie them before binarize, or keep both"
                )
        if site.bias is not None:
            shared = owners[id(getattr(site.module, site.bias))]
            if len(shared) > 1:
                raise ValueError(
                    f"{site.label}: its bias is shared, as {', '.join(map(repr, shared))}; "
                    f"untie it before binarize, or {_keeping(site)}"
                )


def _is_a(module: nn.Module, path: str) -> bool:
    home, _, class_name = path.rpartition(".")
    return home in sys.modules and isinstance(module, getattr(sys.modules[home], class_name, ()))


def _is_distributed(values: Tensor) -> bool:
    tensor_module = sys.modules.get("torch.distributed.tensor")
    return tensor_module is not None and isinstance(values, tensor_module.DTensor)


def _join(prefix: str, attribute: str) -> str:
    return f"{prefix}.{attribute}" if prefix else attribute
