"""A network in bytes: torch's own static quantisation, a rival that packed networks are timed beside."""

from __future__ import annotations

import warnings
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional

from vispa.deploy.signs import sign_padding

__all__ = ["in_int8", "is_int8"]


def in_int8(model: nn.Module, inputs: Tensor) -> GraphModule:
    """A plain model with its layers in int8, by torch.ao's quantisation of graphs, calibrated on one batch.

    Signs become ReLU, which int8 layers take over: what would be deployed in bytes has no use for signs, whose
    operations would be floats between them. So the copy is for timing, not for predictions.

    Raises
    ------
    ValueError
        If this torch has no such quantisation, or cannot quantise the model, with the reason.
    """
    with warnings.catch_warnings():
        # torch moves its quantisation to a package of its own; it has not gone yet
        warnings.simplefilter("ignore")
        try:
            from torch.ao.quantization import get_default_qconfig_mapping, quantize_fx
        except ImportError as error:
            raise ValueError(f"this torch has no int8: {error}") from error
        wanted = get_default_qconfig_mapping(torch.backends.quantized.engine)
        # filters that are no layers, such as those of a blurred pool: without a bias torch fails on them
        wanted.set_object_type(functional.conv2d, None)
        try:
            prepared = quantize_fx.prepare_fx(_without_signs(deepcopy(model)).eval(), wanted, (inputs,))
            with torch.no_grad():
                prepared(inputs)
                found = quantize_fx.convert_fx(prepared)
                found(inputs)
        # whatever a model does that graphs of bytes cannot, of which there is no list
        except Exception as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise ValueError(f"torch cannot quantise it: {reason[0]}") from error
    assert isinstance(found, GraphModule)
    return found


def is_int8(module: nn.Module) -> bool:
    """Whether a layer computes in bytes."""
    return type(module).__module__.startswith("torch.ao.nn.") and "quantized" in type(module).__module__


def _without_signs(model: nn.Module) -> nn.Module:
    """The model with ReLU in place of its signs, and zeros where they pad with ones; changed in place."""
    for name, child in list(model.named_children()):
        padding = sign_padding(child)
        if padding is None:
            _without_signs(child)
            continue
        widths = [width for axis in reversed(padding) for width in (axis, axis)]
        padded = nn.Sequential(nn.ReLU(), nn.ZeroPad2d(widths)) if len(widths) == 4 else nn.ReLU()  # type: ignore[arg-type]
        setattr(model, name, padded)
    return model
