"""The costs of a batch as solvers want them: symmetric, homogenised, scaled; built anew for a few at a time."""

from __future__ import annotations

import torch
from torch import Tensor

# Below this exponent a scale would overflow; such entries are subnormal numbers.
SMALLEST_EXPONENT = -1000


class BatchCosts:
    """Costs C of N = n or n + 1 rows, each divided by a power of two that leaves its entries below one.

    Only the caller's tensors are kept; `assemble` computes what is asked for, so that no second copy of the batch
    in float64 is ever held.

    Parameters
    ----------
    costs : (B, n, n) Tensor
    linear : (B, n) Tensor or None

    Attributes
    ----------
    order : int
        N.
    scale : (B,) float64 Tensor
        The powers of two.
    solvable : (B,) bool Tensor
        Whether all entries are finite and add up within the range of the dtype.
    """

    def __init__(self, costs: Tensor, linear: Tensor | None) -> None:
        self._costs = costs.detach()
        self._linear = None if linear is None else linear.detach()
        self.device = costs.device
        self.order = costs.shape[1] + (linear is not None)
        # without a copy of all absolute values; NaN wins a maximum, so that it is seen below
        largest = torch.maximum(self._costs.amax(dim=(1, 2)), -self._costs.amin(dim=(1, 2))).double()
        if self._linear is not None:
            largest = torch.maximum(largest, self._linear.abs().amax(dim=1).double())
        limit = torch.finfo(costs.dtype).max / (8.0 * self.order**2)
        self.solvable = largest <= limit
        exponent = torch.frexp(torch.where(self.solvable, largest, 0.0)).exponent
        self.scale = torch.pow(2.0, exponent.clamp(min=SMALLEST_EXPONENT).double())

    def assemble(self, which: Tensor) -> Tensor:
        """Costs of the problems ``which`` (b,) in float64: symmetric (b, N, N), scaled."""
        inverse = 0.5 / self.scale[which]
        halved = self._costs[which].double().mul_(inverse[:, None, None])
        symmetric = halved + halved.mT
        if self._linear is None:
            return symmetric
        order = self.order
        whole = symmetric.new_zeros(which.shape[0], order, order)
        whole[:, 1:, 1:] = symmetric
        half = self._linear[which].double() * inverse[:, None]
        whole[:, 0, 1:] = half
        whole[:, 1:, 0] = half
        return whole


def zero_diagonal(costs: Tensor) -> Tensor:
    """The costs with a zero diagonal, which sweeps need; in place."""
    costs.diagonal(dim1=1, dim2=2).zero_()
    return costs


def frobenius(costs: Tensor) -> Tensor:
    r"""\|C\|_F of each problem (b,)."""
    return torch.linalg.vector_norm(costs, dim=(1, 2))


def dominated_dual(costs: Tensor) -> Tensor:
    """The y (b, N) that makes C - Diag(y) diagonally dominant, whatever the costs (b, N, N) (Gershgorin)."""
    return costs.diagonal(dim1=1, dim2=2) - zero_diagonal(costs.abs()).sum(dim=2)
