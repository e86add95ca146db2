"""Mirror descent: weights tanh(beta theta) under a rising beta, or a step of mirror descent on the weights."""

from __future__ import annotations

import torch
from torch import Tensor

from vispa.nn.methods.surrogate import straight_through

__all__ = ["annealed_beta", "mirror_step", "tanh_weight"]

# As published: keeps both fractions finite at weights of exactly one.
TINY = 1e-20


def tanh_weight(rows: Tensor, beta: Tensor | float, *, chain: bool = False) -> Tensor:
    """Return ``tanh(beta theta)``, differentiated as theta (MD-tanh-S), or as it is with ``chain`` (GD-tanh).

    Examples
    --------
    >>> theta = torch.tensor([0.0, 9.0], requires_grad=True)
    >>> tanh_weight(theta, 10.0).sum().backward()
    >>> theta.grad.tolist()
    [1.0, 1.0]
    """
    weight = torch.tanh(beta * rows)
    return weight if chain else straight_through(weight, rows)


def mirror_step(weights: Tensor, direction: Tensor, rate: float, beta: float) -> Tensor:
    r"""Return weights in (-1, 1) after a step of mirror descent with the entropy of two levels (MD-tanh).

    :math:`E = \frac{1 + w}{1 - w} e^{-2 \eta \beta d}`, :math:`w \leftarrow (E - 1) / (E + 1)`: in exact arithmetic
    ``tanh(atanh(w) - eta beta d)``.

    Examples
    --------
    >>> mirror_step(torch.tensor([0.0]), torch.tensor([1.0]), 0.5, 1.0)
    tensor([-0.4621])
    """
    ratio = (1.0 + weights) / (1.0 - weights + TINY) * torch.exp(-2.0 * rate * beta * direction)
    return (ratio - 1.0) / (ratio + 1.0 + TINY)


def annealed_beta(progress: float, end: float) -> float:
    """Return beta at a share of training: from 1 to ``end``, multiplied by as much in every step.

    Examples
    --------
    >>> annealed_beta(0.5, 10_000.0)
    100.0
    """
    return float(end**progress)
