"""The tree of a plain model as JSON, made of classes on a list, and back: data alone, nothing executed."""

from __future__ import annotations

import numbers
from typing import Any

import torch
from torch import nn

from vispa.deploy.chains import has_hooks
from vispa.deploy.signs import sign_padding
from vispa.networks.layers import PadChannels, Residual
from vispa.networks.quicknet import Blur
from vispa.nn.activation import SignActivation, plain_sign

__all__ = ["build", "describe"]

Description = dict[str, Any]

_CONVOLUTION = (
    "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode", "bias",
)  # fmt: skip
_TRANSPOSED = (
    "in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding", "groups", "bias",
    "dilation", "padding_mode",
)  # fmt: skip
_NORMALISATION = ("num_features", "eps", "momentum", "affine", "track_running_stats")
_MAX_POOL = ("kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode")

# What a file may ask for: the class and those of its constructor's arguments that are attributes too.
LEAVES: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("in_features", "out_features", "bias"),
    nn.Conv1d: _CONVOLUTION,
    nn.Conv2d: _CONVOLUTION,
    nn.Conv3d: _CONVOLUTION,
    nn.ConvTranspose1d: _TRANSPOSED,
    nn.ConvTranspose2d: _TRANSPOSED,
    nn.ConvTranspose3d: _TRANSPOSED,
    nn.BatchNorm1d: _NORMALISATION,
    nn.BatchNorm2d: _NORMALISATION,
    nn.BatchNorm3d: _NORMALISATION,
    nn.LayerNorm: ("normalized_shape", "eps", "elementwise_affine", "bias"),
    nn.GroupNorm: ("num_groups", "num_channels", "eps", "affine"),
    nn.Embedding: ("num_embeddings", "embedding_dim", "padding_idx", "max_norm", "norm_type"),
    nn.MaxPool1d: _MAX_POOL,
    nn.MaxPool2d: _MAX_POOL,
    nn.AvgPool1d: ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"),
    nn.AvgPool2d: ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    nn.AdaptiveAvgPool1d: ("output_size",),
    nn.AdaptiveAvgPool2d: ("output_size",),
    nn.Flatten: ("start_dim", "end_dim"),
    nn.Unflatten: ("dim", "unflattened_size"),
    nn.Dropout: ("p",),
    nn.Dropout1d: ("p",),
    nn.Dropout2d: ("p",),
    nn.Identity: (),
    nn.ReLU: (),
    nn.ReLU6: (),
    nn.PReLU: ("num_parameters",),
    nn.LeakyReLU: ("negative_slope",),
    nn.Hardtanh: ("min_val", "max_val"),
    nn.Tanh: (),
    nn.Sigmoid: (),
    nn.GELU: ("approximate",),
    nn.SiLU: (),
    nn.ELU: ("alpha",),
    nn.Softplus: ("beta", "threshold"),
    nn.Hardswish: (),
    nn.Softmax: ("dim",),
    nn.LogSoftmax: ("dim",),
    PadChannels: ("extra",),
    Blur: ("channels",),
}
# Modules made of modules: Sequential keeps any names, a residual block has its three.
RESIDUAL = ("branch", "shortcut", "activation")
_CLASSES = {kind.__name__: kind for kind in LEAVES}


def describe(model: nn.Module) -> Description | None:
    """A description that :func:`build` understands; None where a module's class is not on the list, or has hooks.

    Examples
    --------
    >>> import torch
    >>> describe(torch.nn.Sequential(torch.nn.ReLU()))
    {'kind': 'Sequential', 'children': {'0': {'kind': 'ReLU', 'options': {}}}}
    >>> describe(torch.nn.LSTM(2, 2)) is None
    True
    """
    if has_hooks(model):
        return None
    padding = sign_padding(model)
    if padding is not None:
        return {"kind": "Sign", "options": {"one_padding": list(padding)}}
    if type(model) in (nn.Sequential, Residual):
        # not `named_children`, which shows a module with two names once
        children = {
            name: None if child is None else describe(child) for name, child in model._modules.items()
        }
        known = all(child is not None for child in children.values())
        return {"kind": type(model).__name__, "children": children} if known else None
    if type(model) not in LEAVES:
        return None
    try:
        options = {name: _plain(_option(model, name)) for name in LEAVES[type(model)]}
    except TypeError:
        return None
    return {"kind": type(model).__name__, "options": options}


def _plain(value: Any) -> Any:
    """An option in JSON's own types, NumPy's numbers among them as Python's; TypeError for others."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise TypeError(f"an option must be made of numbers and names; found {type(value).__name__}")


def build(description: Description) -> nn.Module:
    """The module of a description, on the meta device: nothing is allocated until values are assigned.

    Raises
    ------
    ValueError
        If the description is not one that :func:`describe` makes.
    """
    with torch.device("meta"):
        try:
            return _build(description, depth=0).eval()
        # what torch says to options that are none, of which there is no list
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            RuntimeError,
            TypeError,
            AssertionError,
        ) as error:
            raise ValueError(f"the graph must have options that torch takes; {error}") from error


def _build(description: Description, depth: int) -> nn.Module:
    if not isinstance(description, dict) or depth > 64:
        raise ValueError(f"the graph must be a tree of modules; found {type(description).__name__}")
    kind, children = description.get("kind"), description.get("children")
    if children is not None:
        if kind not in ("Sequential", "Residual") or not isinstance(children, dict):
            raise ValueError(f"the graph must hold modules on the list of kinds; found {kind!r}")
        built = {str(name): _build(child, depth + 1) for name, child in children.items()}
        if kind == "Residual":
            if set(built) != set(RESIDUAL):
                raise ValueError(f"a Residual must have {', '.join(RESIDUAL)}; found {', '.join(built)}")
            return Residual(**built)
        container = nn.Sequential()
        for name, child in built.items():
            container.add_module(name, child)
        return container
    options = description.get("options")
    if not isinstance(options, dict) or not isinstance(kind, str):
        raise ValueError(f"the graph must name a kind and its options; found {kind!r}")
    if kind == "Sign" and set(options) == {"one_padding"}:
        return plain_sign(SignActivation(one_padding=options["one_padding"] or 0))
    if kind not in _CLASSES or set(options) != set(LEAVES[_CLASSES[kind]]):
        raise ValueError(f"the graph must hold modules on the list of kinds; found {kind!r}")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    return _CLASSES[kind](**values)


def _option(module: nn.Module, name: str) -> Any:
    value = getattr(module, name)
    return value is not None if name == "bias" else value
