"""`pack`: a model whose binary layers run on packed bits."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import torch
from torch import nn
from torch.fx import GraphModule

from solvers import checks
from vispa.deploy.chains import LAYERS, has_hooks, trace
from vispa.deploy.fusion import LayerRecord, fuse
from vispa.deploy.layers import PackedConv1d, PackedConv2d
from vispa.deploy.layout import checked_kernel, why_unpacked
from vispa.deploy.linear_layer import PackedLinear
from vispa.deploy.packed_model import PackedModel
from vispa.deploy.real_layer import PackedRealLinear
from vispa.deploy.real_products import real_kernels
from vispa.deploy.signs import split_rows
from vispa.nn.conversion.harden import harden
from vispa.nn.conversion.refusals import refuse_sharded, refuse_wrapped
from vispa.nn.conversion.selection import find_binary_layers
from vispa.nn.weights.layout import Layout

__all__ = ["pack", "packing"]

_RECORDS = "_vispa_packing"


def pack(
    model: nn.Module,
    *,
    kernel: str = "auto",
    exact: bool = False,
    real_inputs: bool = False,
    activation_bits: int = 24,
) -> nn.Module:
    """A plain module for evaluation that computes what a binary model computes, with one bit a weight.

    Linear layers and convolutions (Conv1d, Conv2d) of binary weights whose inputs are signs become packed layers.
    What follows them is part of them: a bias, ReLU, batch normalisation, a shortcut, Hardtanh, ReLU or PReLU. Where
    signs follow, they hand on bits, by one threshold of the integer sum a channel. All else stays torch's, in
    channels-last memory, run on a processor by loops that give torch's floats where there are such. Use
    :func:`vispa.packing` to see what became of each layer, and why.

    Parameters
    ----------
    model : Module
        Binarized, which is hardened first, or plain, such as what :func:`vispa.harden` and
        :func:`vispa.load_packed` return. It is not changed.
    kernel : {"auto", "tile", "vector", "table", "portable"}
        ``"tile"`` multiplies bytes in tiles, which needs AMX and a system that lets the process use it, or counts
        as ``"vector"`` does where that was faster in calls before; ``"vector"`` counts bits in words of 512, which
        needs AVX-512 VPOPCNTDQ to be fast; ``"table"`` looks up four signs of two pixels at a time, which needs
        AVX2, and two bits a weight; ``"portable"`` counts byte by byte on any processor. ``"auto"`` takes the first
        of the last three that is fast here. All give the same bits.
    exact : bool, default False
        Whether all real numbers between packed layers are computed by torch's own operators. Otherwise loops do it
        that gave torch's floats bit for bit on numbers that were tried, for every size of inputs.
    real_inputs : bool, default False
        Whether linear layers of binary weights whose inputs are floats are packed too, as those of a language
        model: a thirtieth of the memory, and faster for few rows. Their sums are floats, added in another order.
    activation_bits : {24, 13}
        Bits that layers of float inputs keep of these at least; with 13 they are faster.

    Returns
    -------
    Module
        In evaluation mode, where the model is, without gradients. ``torch.export`` and ``torch.compile`` see its
        layers as operators ``torch.ops.vispa``, which exist where ``vispa.deploy.operators`` is imported.

    Raises
    ------
    TypeError
        If the model is wrapped (compiled, DDP) or sharded.
    ValueError
        If nothing can be packed, with the reasons; if ``activation_bits`` are fewer without ``real_inputs=True``;
        or if that is wanted with ``exact=True``, as such sums are not torch's.

    Notes
    -----
    A packed layer equals torch's float32 operations on ``alpha * conv(sgn x, sgn w)`` bit for bit. The hardened
    model itself sums alpha times signs in floats, whose rounding depends on the order: its logits agree to
    rounding, and a sign can differ where a value is within rounding of zero. NaN, for which a bit has no room,
    becomes -1.

    Off the processor, also after ``packed.to(device)``, layers run by Triton's kernels on CUDA, on other devices by
    torch on unpacked +1 and -1; :func:`vispa.packing` says which. Integers and thresholds are the same, and so are
    the bits. Triton's kernels were tested in its interpreter and compiled for CUDA, but have never run there.

    A model whose code depends on values, on inputs that may be left out, or on what it kept of earlier calls is not
    seen through by torch.fx; then its children are packed one by one, each of which is called as before. Hooks go
    on being called; layers that have some stay torch's. Images that a packed model returns have their channels
    last in memory, so that rows are made of them by ``reshape`` or ``flatten`` rather than ``view``.

    Examples
    --------
    >>> import torch, vispa
    >>> layers = [torch.nn.Linear(8, 64), vispa.SignActivation(), torch.nn.Linear(64, 64), torch.nn.Linear(64, 2)]
    >>> model = vispa.harden(vispa.binarize(torch.nn.Sequential(*layers))).eval()
    >>> packed, inputs = vispa.pack(model), torch.randn(3, 8)
    >>> torch.allclose(packed(inputs), model(inputs), atol=1e-5)
    True
    >>> [(record.name, record.kind) for record in vispa.packing(packed)]
    [('0', 'float32'), ('2', 'bits to floats'), ('3', 'float32')]
    """
    refuse_wrapped(model, "packed")
    refuse_sharded(model, "packed")
    kernel = checked_kernel(kernel)
    _check_real_inputs(real_inputs, activation_bits, checks.boolean("exact", exact))
    plain = harden(model) if any(find_binary_layers(model)) else deepcopy(model)
    device = _device(plain)
    plain = plain.cpu().eval().requires_grad_(False)
    packed, records = _packed(plain, kernel, exact, "")
    if real_inputs:
        packed, records = _with_real_inputs(packed, records, activation_bits)
    if all(record.kernel == "torch" for record in records):
        reasons = "; ".join(f"{record.name}: {record.why}" for record in records[:4])
        reasons = reasons or "no layer that it calls has one absolute value in every row of its weight"
        raise ValueError(
            "model must have a binary layer whose inputs are signs (vispa.SignActivation); found none "
            f"({reasons}). Pass real_inputs=True to pack linear layers of float inputs"
        )
    _in_channels_last(packed)
    packed.to(device)
    setattr(packed, _RECORDS, records)
    return packed


def packing(packed: nn.Module) -> list[LayerRecord]:
    """What became of each layer of a model that :func:`vispa.pack` returned.

    Raises
    ------
    TypeError
        If it was not packed.
    """
    records = getattr(packed, _RECORDS, None)
    if records is None:
        raise TypeError(f"packed must be a module that vispa.pack returned; found {type(packed).__name__}")
    return [_here(packed, record) for record in records]


def _here(packed: nn.Module, record: LayerRecord) -> LayerRecord:
    """The record of a layer on the device where it is now."""
    if record.kernel == "torch":
        return record
    layer = packed.get_submodule(record.packed)
    assert isinstance(layer, PackedLinear | PackedConv1d | PackedConv2d | PackedRealLinear)
    why = why_unpacked(layer.words.device) if layer.kernel == "unpacked" else record.why
    return replace(record, kernel=layer.kernel, why=why)


def _in_channels_last(model: nn.Module) -> None:
    """Put what has four axes, and only that, into the order of memory in which images go through."""
    for values in (*model.parameters(), *model.buffers()):
        if values.ndim == 4 and not values.is_meta and values.is_floating_point():
            values.data = values.data.to(memory_format=torch.channels_last)


def _device(model: nn.Module) -> torch.device:
    """Where a model is; the processor where it is in several places, or nowhere."""
    places = {values.device for values in (*model.parameters(), *model.buffers())}
    return places.pop() if len(places) == 1 else torch.device("cpu")


def _check_real_inputs(real_inputs: bool, activation_bits: int, exact: bool) -> None:
    real_kernels(activation_bits)
    if not checks.boolean("real_inputs", real_inputs):
        if activation_bits != 24:
            raise ValueError(
                f"activation_bits={activation_bits} is for layers of float inputs: pass real_inputs=True as well"
            )
    elif exact:
        raise ValueError(
            "exact must be False where real_inputs=True: sums of float inputs are rounded otherwise than torch's"
        )


def _packed(model: nn.Module, kernel: str, exact: bool, prefix: str) -> tuple[nn.Module, list[LayerRecord]]:
    """The packed model, and its records under a prefix; children one by one where it cannot be traced."""
    if not any(_is_binary(module) for module in model.modules()):
        return model, [_real(model, prefix)] if isinstance(model, LAYERS) else []
    if isinstance(model, LAYERS):
        return model, [_real(model, prefix)]
    traced = trace(model)
    if isinstance(traced, GraphModule):
        records = [record.under(prefix, "network.") for record in fuse(traced, kernel)]
        return PackedModel(traced, model, exact, within=bool(prefix)), records
    records = []
    for name, child in list(model.named_children()):
        replaced, found = _packed(child, kernel, exact, f"{prefix}{name}.")
        setattr(model, name, replaced)
        records += found
    return model, records


def _with_real_inputs(
    packed: nn.Module, records: list[LayerRecord], activation_bits: int
) -> tuple[nn.Module, list[LayerRecord]]:
    """The model with its remaining binary linear layers packed for float inputs, wherever they are."""
    places: dict[str, str] = {}
    for path, module in list(packed.named_modules()):
        if type(module) is not nn.Linear or module.weight.dtype != torch.float32 or has_hooks(module):
            continue
        if _is_binary(module):
            layer = PackedRealLinear(module, activation_bits=activation_bits)
            if not path:
                return layer, [
                    replace(records[0], packed="", kind="floats to floats", kernel=layer.kernel, why="")
                ]
            home, _, name = path.rpartition(".")
            setattr(packed.get_submodule(home), name, layer)
            places[_name_before(packed, path)] = path
    return packed, [
        replace(
            record, packed=places[record.name], kind="floats to floats", why="",
            kernel=packed.get_submodule(places[record.name]).kernel,  # type: ignore[arg-type]
        )
        if not record.packed and record.name in places
        else record
        for record in records
    ]  # fmt: skip


def _name_before(packed: nn.Module, path: str) -> str:
    """The name of a module in the model that was packed, which traced models keep inside another module."""
    names, module = [], packed
    for name in path.split("."):
        if not isinstance(module, PackedModel):
            names.append(name)
        module = getattr(module, name)
    return ".".join(names)


def _is_binary(module: nn.Module) -> bool:
    return (
        isinstance(module, LAYERS)
        and split_rows(module.weight, Layout(tuple(module.weight.shape))) is not None
    )


def _real(layer: nn.Module, prefix: str) -> LayerRecord:
    why = "its inputs are unknown, since the model around it cannot be traced"
    assert isinstance(layer, LAYERS)
    return LayerRecord(
        prefix.removesuffix("."), "", str(layer.weight.dtype)[6:], "torch", why, layer.weight.numel()
    )
