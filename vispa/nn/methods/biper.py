"""BiPer: weights are sin(f W), first as they are, then by their signs."""

from __future__ import annotations

import torch
from torch import Tensor

from vispa.nn.methods.surrogate import signs, straight_through

__all__ = ["biper_penalty", "periodic_sign", "periodic_weight"]


def periodic_weight(rows: Tensor, frequency: float) -> Tensor:
    """Return ``sin(f W)``, the weight of the first stage."""
    return torch.sin(frequency * rows)


def periodic_sign(rows: Tensor, frequency: float, *, published_zero: bool = False) -> Tensor:
    """Return ``sgn(sin(f W))``, differentiated as ``sin(f W)``: the weight of the second stage.

    Examples
    --------
    >>> periodic_sign(torch.tensor([[0.1, 0.2]]), 20.0).tolist()
    [[1.0, -1.0]]
    """
    wave = periodic_weight(rows, frequency)
    return straight_through(signs(wave, published_zero), wave)


def biper_penalty(rows: Tensor, frequency: float, strength: float) -> Tensor:
    """Return ``strength * mean(sin^2(f W))``, one layer's term of the loss, as published."""
    return strength * periodic_weight(rows, frequency).square().mean()
