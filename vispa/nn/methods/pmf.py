"""Proximal mean-field: weights are means of a softmax over the two levels, with a backward of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from vispa.nn.methods.surrogate import straight_through

__all__ = ["mean_field_weight"]


def mean_field_weight(
    low: Tensor, high: Tensor, beta: Tensor | float, *, softmax_twice: bool = True
) -> Tensor:
    r"""Return ``f_1 - f_0`` for ``f = softmax(beta u)``, u the scores of the levels -1 and +1.

    With :math:`g = (-G, G)` the backward is :math:`\beta (g - (g^\top p) p)`: :math:`I - p p^\top` where the
    derivative of a softmax has :math:`\mathrm{Diag}(p) - p p^\top`, and p = softmax(beta f) where it has f. Both
    are as published.

    Parameters
    ----------
    low, high : Tensor
        Scores u_0 and u_1, of one shape.
    beta : float or Tensor of one element
    softmax_twice : bool, default True
        False takes p = f, as another published implementation does.

    Examples
    --------
    >>> mean_field_weight(torch.tensor([0.0]), torch.tensor([1.0]), 1e3)
    tensor([1.])
    """
    levels = torch.softmax(torch.stack([beta * low.detach(), beta * high.detach()]), dim=0)
    minus, plus = torch.softmax(beta * levels, dim=0) if softmax_twice else levels
    # g^T p is G (plus - minus); the surrogate is linear in the scores.
    lean = plus - minus
    surrogate = beta * ((1.0 - lean * plus) * high - (1.0 + lean * minus) * low)
    return straight_through(levels[1] - levels[0], surrogate)
