"""What the methods are written with: values that are differentiated as others, signs, statistics of a channel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from vispa.nn.weights.autograd import per_channel, sign

__all__ = ["channel_mean", "signs", "standardised", "straight_through"]


class _ValueOf(Function):
    """The first argument as value, the second as what is differentiated."""

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, surrogate: Tensor) -> Tensor:
        """Compute the value; see the class."""
        return values.view_as(values)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Keep nothing: the backward needs nothing."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        """Pass the gradient to the surrogate."""
        return None, grad


def straight_through(values: Tensor, surrogate: Tensor) -> Tensor:
    """Return ``values`` exactly, differentiated as if they were ``surrogate``.

    Every straight-through estimator is such a pair: the sign with the identity, with a clipped identity, with
    a steep tanh, or with ``kernel(x).detach() * x`` for any kernel.

    Examples
    --------
    >>> x = torch.tensor([-2.0, 0.5], requires_grad=True)
    >>> y = straight_through(x.sign(), x.clamp(-1.0, 1.0))
    >>> y.sum().backward()
    >>> y.tolist(), x.grad.tolist()
    ([-1.0, 1.0], [0.0, 1.0])
    """
    result: Tensor = _ValueOf.apply(values.detach(), surrogate)
    return result


def signs(values: Tensor, published_zero: bool) -> Tensor:
    """Return signs without a gradient, ``sgn(0) = +1``; as published, where ``sgn(0) = 0``, on request."""
    return values.detach().sign() if published_zero else sign(values.detach())


def channel_mean(rows: Tensor) -> Tensor:
    """Return the mean of every row, viewed so that it multiplies ``rows``."""
    return per_channel(rows.flatten(1).mean(1), rows)


def standardised(rows: Tensor) -> Tensor:
    """Return rows of mean 0 and deviation 1, the latter with ``n - 1``; a constant row becomes zeros.

    Examples
    --------
    >>> standardised(torch.tensor([[1.0, 3.0, 5.0], [2.0, 2.0, 2.0]])).tolist()
    [[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    centred = rows - channel_mean(rows)
    variance = centred.flatten(1).square().sum(1) / (centred[0].numel() - 1)
    # The root has no derivative at zero: a constant row is divided by one.
    deviation = torch.where(variance > 0, variance, 1.0).sqrt()
    return centred / per_channel(deviation, rows)
