"""Rows of one absolute value as bits: which weights are binary, and how their signs are laid out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from vispa.nn.activation import SignActivation, plain_sign
from vispa.nn.conversion.layer_kinds import find_sites
from vispa.nn.weights.layout import Layout

__all__ = ["SignRows", "binary_weights", "pack_signs", "sign_padding", "split_rows", "unpack_signs"]

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class SignRows(NamedTuple):
    """A binary weight in two parts: ``weight = scale[:, None] * (1 - 2 * negative)``, a row an output channel."""

    negative: Tensor
    """Boolean (rows, fan in): which entries are below zero, or are -0.0."""
    scale: Tensor
    """Absolute value of each row, in the dtype of the weight; never negative."""


def split_rows(weight: Tensor, layout: Layout) -> SignRows | None:
    """The signs and absolute values of a weight; None where a row has more than one absolute value.

    Examples
    --------
    >>> import torch
    >>> weight = torch.tensor([[0.5, -0.5], [-2.0, -2.0]])
    >>> split_rows(weight, Layout((2, 2))).scale.tolist()
    [0.5, 2.0]
    >>> split_rows(torch.tensor([[0.5, 1.0]]), Layout((1, 2))) is None
    True
    """
    if weight.dtype not in FLOATING or weight.numel() == 0 or weight.is_meta:
        return None
    rows = layout.rows(weight.detach()).flatten(1)
    sizes = rows.abs()
    # NaN differs from itself and infinity from nothing: both are left as they are
    if not bool((sizes == sizes[:, :1]).all()) or not bool(torch.isfinite(sizes[:, 0]).all()):
        return None
    return SignRows(torch.signbit(rows), sizes[:, 0].clone())


def binary_weights(model: nn.Module) -> dict[str, tuple[Layout, SignRows]]:
    """The binary weights of a plain model by their name in its state dict, with the order of their rows."""
    found: dict[str, tuple[Layout, SignRows]] = {}
    for name, site in find_sites(model).items():
        for attribute in site.weights:
            layout = site.layout(attribute)
            if rows := split_rows(getattr(site.module, attribute), layout):
                found[f"{name}.{attribute}" if name else attribute] = (layout, rows)
    return found


def pack_signs(negative: Tensor) -> Tensor:
    """The bits of boolean rows (rows, K) as uint8 (rows, ceil(K / 8)), the first entry in the lowest bit.

    Examples
    --------
    >>> import torch
    >>> pack_signs(torch.tensor([[True, False, True]])).tolist()
    [[5]]
    """
    return torch.from_numpy(np.packbits(negative.cpu().numpy(), axis=1, bitorder="little"))


def unpack_signs(packed: Tensor, count: int) -> Tensor:
    """The boolean rows (rows, count) that :func:`pack_signs` made bytes of."""
    bits = np.unpackbits(packed.cpu().numpy(), axis=1, count=count, bitorder="little")
    return torch.from_numpy(bits.astype(bool))


def sign_padding(module: nn.Module) -> tuple[int, ...] | None:
    """The ``one_padding`` of a sign module, the trainable one or what harden makes of it; None for others."""
    if isinstance(module, SignActivation):
        return module.one_padding
    if not isinstance(module, GraphModule):
        return None
    padding: tuple[int, ...] = ()
    for node in module.graph.nodes:
        if node.op == "call_function" and getattr(node.target, "__name__", "") == "pad":
            widths = node.args[1] if len(node.args) == 2 else None
            if not isinstance(widths, list | tuple) or not all(
                type(width) is int and width >= 0 for width in widths
            ):
                return None  # another's graph
            padding = tuple(reversed(widths[::2]))
    same = plain_sign(SignActivation(one_padding=padding or 0))
    return padding if same.code == module.code else None
