"""`export_onnx`: a binary model as ONNX with one bit a weight, of standard operators alone."""

from __future__ import annotations

import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from solvers.optional import require
from solvers.whole_file import whole_file
from vispa.deploy.export.packed_initializers import pack_initializers
from vispa.nn.conversion.harden import harden
from vispa.nn.conversion.refusals import refuse_sharded, refuse_wrapped
from vispa.nn.conversion.selection import find_binary_layers

__all__ = ["export_onnx"]


def export_onnx(model: nn.Module, path: str | Path, example: Tensor | tuple[Tensor, ...]) -> int:
    """Write a binary model as ONNX with one bit a weight, and return the number of bytes of the file.

    A weight whose channels have one absolute value each is stored as bytes of eight signs and a scale a channel.
    BitShift, BitwiseAnd, Reshape, Slice, Cast and Where make floats of them, which runtimes do once, when they load
    the file: it runs anywhere, as fast as the float model and in its memory.

    Parameters
    ----------
    model : Module
        Binarized, which is hardened first, or plain, such as what :func:`vispa.harden` returns. It is written as in
        evaluation mode, and not changed.
    path : str or Path
        Of the file; replaced if it exists.
    example : Tensor or tuple of Tensor
        Inputs, by which torch follows the model. The first axis of all of them is free in the file where it is
        longer than one here; a length of one stays one.

    Raises
    ------
    TypeError
        If the model is wrapped (compiled, DDP) or sharded, or ``example`` holds no tensors.
    ValueError
        If no weight is made of scales and signs.
    ImportError
        If onnx or onnxscript are not installed (the extra ``export``).

    Notes
    -----
    Weights equal those of the hardened model, unless torch's exporter has multiplied a batch
    normalisation into them, so that a runtime computes what it computes of ``torch.onnx.export(model)``. For speed
    on a processor see :func:`vispa.pack`: runtimes of ONNX have no kernels for bits.
    """
    for package in ("onnx", "onnxscript"):
        require(package, "export", "vispa.export_onnx")
    refuse_wrapped(model, "exported")
    refuse_sharded(model, "exported")
    inputs = example if isinstance(example, tuple | list) else (example,)
    if not inputs or not all(isinstance(each, Tensor) and each.ndim for each in inputs):
        raise TypeError(
            "example must be a tensor with a first axis, or a tuple of them, as the model takes them; found "
            + type(example).__name__
        )
    plain = harden(model) if any(find_binary_layers(model)) else deepcopy(model)
    proto = _exported(plain.eval().requires_grad_(False), tuple(inputs))
    if not pack_initializers(proto.graph):
        raise ValueError(
            "model must have a weight whose channels have one absolute value each; found none. Pass a binarized "
            "or hardened model, or write a real one by torch.onnx.export"
        )
    with whole_file(path) as beside:
        return beside.write_bytes(proto.SerializeToString())


def _exported(model: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    batch = torch.export.Dim("batch")
    free = all(len(each) > 1 for each in inputs)
    with warnings.catch_warnings():
        # torch copies what it has itself deprecated
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        program = torch.onnx.export(
            model,
            inputs,
            dynamo=True,
            verbose=False,
            dynamic_shapes=tuple({0: batch} for _ in inputs) if free else None,
        )
    assert program is not None
    proto = program.model_proto
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info):
        # where in whose sources each node was traced: larger than the weights, and nobody's business
        part.ClearField("metadata_props")
    return proto
