"""ReSTE: the sign differentiated as a power |x|^(1/o), from the identity to ever steeper ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from solvers import checks
from vispa.nn.methods.base import Method, TransformedWeight
from vispa.nn.methods.surrogate import signs, straight_through
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.layout import Layout
from vispa.nn.weights.noise_scope import Noise

__all__ = ["ReSTE", "ReSTEWeight", "power_kernel", "reste_exponent", "reste_weight"]

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


class ReSTEWeight(TransformedWeight):
    """A weight of `ReSTE`; ``exponent`` is o."""

    exponent: Tensor

    def __init__(self, mean: Tensor, layout: Layout, method: ReSTE) -> None:
        super().__init__(mean, layout, channel_scale="none")
        self.register_number("exponent", 1.0, mean)

    def binary(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return signs times the mean magnitude of the layer."""
        return reste_weight(rows, self.exponent, published_zero=self.method.published_zero)

    def anneal(self, mean: Tensor, progress: float) -> None:
        """Set o."""
        self.exponent.fill_(reste_exponent(progress, self.method.end))


@dataclass(frozen=True)
class ReSTE(Method):
    """Signs times the mean magnitude of the layer, differentiated as a power that grows steep.

    Parameters
    ----------
    end : float, default 3
        o at the end of training, at least 1; it starts at 1, the clipped identity.
    published_zero : bool, default False
        Whether ``sgn(0) = 0``, as published; such a weight is not binary.

    References
    ----------
    Wu et al., Estimator Meets Equilibrium Perspective: A Rectified Straight Through Estimator for Binary Neural
    Networks Training, ICCV 2023.
    """

    name: ClassVar[str] = "reste"
    weight_class: ClassVar[type[BinaryWeight]] = ReSTEWeight

    end: float = 3.0
    published_zero: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.scalar("end", self.end, minimum=1.0)
