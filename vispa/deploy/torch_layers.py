"""Reading torch's layers: signs and scales, paddings, sums of products, as packed layers keep them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vispa.deploy.geometry import Window
from vispa.deploy.layout import NIBBLES
from vispa.deploy.signs import split_rows
from vispa.nn.weights.layout import Layout

__all__ = [
    "bases_of",
    "detached",
    "one_padding_of",
    "pair",
    "sign",
    "signs_and_scale",
    "words_of_table",
    "zero_padding",
]


def sign(inputs: Tensor) -> Tensor:
    """Signs of floats as bits have them: +1 for zero, -1 for NaN."""
    return (inputs >= 0).to(inputs.dtype) * 2 - 1


def signs_and_scale(layer: nn.Linear | nn.Conv1d | nn.Conv2d) -> tuple[NDArray[np.bool_], Tensor]:
    """Signs (channels, taps, inputs) and scales of a layer that can be packed."""
    rows = split_rows(layer.weight, Layout(tuple(layer.weight.shape)))
    if rows is None:
        raise ValueError(
            "layer must have one absolute value in every output channel to be packed; pass a binarized or "
            "hardened model"
        )
    if layer.weight.dtype != torch.float32:
        raise ValueError(f"layer must be float32 to be packed; found {layer.weight.dtype}")
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        raise ValueError(f"padding_mode must be 'zeros' to be packed; found {layer.padding_mode!r}")
    shaped = rows.negative.reshape(len(rows.scale), layer.weight.shape[1], -1)
    return shaped.transpose(1, 2).contiguous().numpy(), rows.scale


def bases_of(negative: NDArray[np.bool_], window: Window, channels: int) -> NDArray[np.int32]:
    """Sums of all products where no sign differs, less those of taps on zeros: (classes, filled up channels)."""
    of_taps = negative.shape[2] - 2 * negative.sum(axis=2, dtype=np.int64)
    outside = ~window.inside()
    bases = np.zeros((len(outside), channels), dtype=np.int32)
    bases[:, : len(of_taps)] = negative[0].size - outside.astype(np.int64) @ of_taps.T
    return bases


def pair(value: Any) -> tuple[int, int]:
    """A number for both axes, or one each."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))


def zero_padding(layer: nn.Conv1d | nn.Conv2d) -> tuple[int, int, int, int]:
    """Padding above, below, left and right, which torch keeps from the last axis on, "same" included."""
    sizes = [0, 0, 0, 0]
    found = list(layer._reversed_padding_repeated_twice)
    sizes[4 - len(found) :] = found[2:] + found[:2]
    return tuple(sizes)  # type: ignore[return-value]


def one_padding_of(padding: tuple[int, ...], axes: int) -> tuple[int, int, int, int]:
    """One-padding of the last axes, as SignActivation has it, on both sides of two axes."""
    if len(padding) > axes:
        raise ValueError(f"one_padding must be of the {axes} axes of an image; found {padding}")
    down, across = (0, 0, *padding)[-2:]
    return down, down, across, across


def detached(values: Tensor | None) -> Tensor | None:
    """A tensor without its gradient, if there is one."""
    return None if values is None else values.detach()


def words_of_table(table: Tensor, count: int) -> Tensor:
    """The words (blocks, words, 32) that `layout.table_of` made nibbles of."""
    nibbles = table.numpy()[:, : 8 * count].astype(np.uint32)
    words = np.zeros((len(nibbles), count, 32), dtype=np.uint32)
    for place, shift in enumerate(NIBBLES):
        words |= nibbles[:, place::8] << np.uint32(shift)
    return torch.from_numpy(words.view(np.int32))
