"""ReActNet (and AdamBNN, Bi-Real): a scale without a gradient, and a clipped identity that it does not multiply."""

from __future__ import annotations

import torch
from torch import Tensor

from vispa.nn.methods.surrogate import channel_mean, signs, straight_through

__all__ = ["hard_binary_weight"]


def hard_binary_weight(rows: Tensor, *, published_zero: bool = False) -> Tensor:
    """Return ``mean_c |W| sgn(W)``, differentiated as ``clamp(W, -1, 1)``.

    Examples
    --------
    >>> rows = torch.tensor([[0.5, -2.0]], requires_grad=True)
    >>> weight = hard_binary_weight(rows)
    >>> weight.sum().backward()
    >>> weight.tolist(), rows.grad.tolist()
    ([[1.25, -1.25]], [[1.0, 0.0]])
    """
    scale = channel_mean(rows.detach().abs())
    return straight_through(scale * signs(rows, published_zero), torch.clamp(rows, -1.0, 1.0))
