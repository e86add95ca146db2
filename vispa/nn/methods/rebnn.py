"""ReBNN: a learned scale of a channel, and a penalty that keeps latent weights near their binary ones."""

from __future__ import annotations

from torch import Tensor

from vispa.nn.methods.surrogate import signs, straight_through

__all__ = ["rebnn_penalty", "rebnn_weight"]

# The binary weight before its scale, as published.
STEP = 0.02


def rebnn_weight(rows: Tensor, scale: Tensor, *, published_zero: bool = False) -> Tensor:
    """Return ``s b`` with ``b = 0.02 sgn(W)``, differentiated as ``s W``, in s too; ``s = |scale|`` of a row.

    Examples
    --------
    >>> import torch
    >>> rebnn_weight(torch.tensor([[0.5, -2.0]]), torch.tensor([[1.0]])).tolist()
    [[0.019999..., -0.019999...]]
    """
    size = scale.abs()
    return straight_through(size * STEP * signs(rows, published_zero), size * rows)


def rebnn_penalty(rows: Tensor, scale: Tensor, strength: float, *, published_zero: bool = False) -> Tensor:
    """Return ``strength / 2 |W - s b|^2``, b constant: its gradient is what the published backward adds.

    Examples
    --------
    >>> import torch
    >>> float(rebnn_penalty(torch.tensor([[0.02, -2.02]]), torch.tensor([[1.0]]), 0.5))
    1.0
    """
    distance = rows - scale.abs() * STEP * signs(rows, published_zero)
    return 0.5 * strength * distance.square().sum()
