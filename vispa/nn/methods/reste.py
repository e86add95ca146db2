"""ReSTE: the sign differentiated as a power |x|^(1/o), from the identity to ever steeper ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vispa.nn.methods.surrogate import signs, straight_through

__all__ = ["power_kernel", "reste_exponent", "reste_weight"]

# Where the slope of the power is cut off: below, it is that of the chord; above, zero.
INNER, OUTER = 0.1, 1.5


def power_kernel(x: Tensor, exponent: Tensor | float) -> Tensor:
    r"""Return the slope of :math:`\mathrm{sgn}(x) |x|^{1/o}`, of a chord up to 0.1, zero beyond 1.5.

    Examples
    --------
    >>> power_kernel(torch.tensor([0.0, 1.0, -1.0, 2.0]), 1.0)
    tensor([1., 1., 1., 0.])
    """
    exponent = torch.as_tensor(exponent, device=x.device)
    # Rounded to the exponent's own precision, as published.
    inverse, fall = (1.0 / exponent).to(x.dtype), ((1.0 - exponent) / exponent).to(x.dtype)
    size = x.abs()
    # Clamped, so that the power is finite where it is not used.
    inside = torch.where(size <= INNER, INNER**inverse / INNER, inverse * size.clamp_min(INNER) ** fall)
    return torch.where(size <= OUTER, inside, 0.0)


def reste_weight(rows: Tensor, exponent: Tensor, *, published_zero: bool = False) -> Tensor:
    """Return ``a sgn(W)`` with ``a = mean |W|`` of the layer, differentiated too, and `power_kernel` for the sign.

    Examples
    --------
    >>> reste_weight(torch.tensor([[0.5, -1.5]]), torch.tensor(1.0)).tolist()
    [[1.0, -1.0]]
    """
    kernel = power_kernel(rows.detach(), exponent)
    return rows.abs().mean() * straight_through(signs(rows, published_zero), kernel * rows)


def reste_exponent(progress: float, end: float = 3.0) -> float:
    r"""Return :math:`o = 1 + (1 - \cos(\pi p / 2)) (o_{end} - 1)`.

    Examples
    --------
    >>> reste_exponent(0.0), reste_exponent(1.0)
    (1.0, 3.0)
    """
    return 1.0 + (1.0 - math.cos(0.5 * math.pi * progress)) * (end - 1.0)
