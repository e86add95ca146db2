"""Bounds for problems that share a matrix: Lanczos, which shares products, and then Cholesky, which is sure."""

from __future__ import annotations

import torch
from torch import Tensor

from solvers.tensors import batch_certificate as certificate
from solvers.tensors.batch_certificate import SHARE, Bound
from solvers.tensors.shared_costs import SharedCosts
from solvers.tensors.shared_lanczos import smallest_eigenvalues

# Up to this order a factorisation costs no more than the recurrence that would foretell its outcome.
DIRECT_ORDER = 1100
# Above this order it costs more than all the sweeps, and Lanczos is believed.
PROVED_ORDER = {"cpu": 4100, "cuda": 16400}
# Entries of the matrices that are factorised together.
PIECE_ENTRIES = {"cpu": 2**21, "cuda": 2**28}


def certify(
    costs: SharedCosts,
    which: Tensor,
    dual: Tensor,
    value: Tensor,
    allowed: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Whether y (b, N) proves gaps within ``allowed`` (b,) of the values for ``which`` (b,), and the bounds."""
    proved = torch.zeros_like(which, dtype=torch.bool)
    bound = torch.full_like(value, -torch.inf)
    places = torch.arange(which.numel(), device=which.device)
    if costs.order > DIRECT_ORDER:
        room = (SHARE * allowed - value + dual.sum(dim=1)) / costs.order
        found = smallest_eigenvalues(costs, which, dual.mT, -room, generator)
        places = ((found.value - found.error >= -room) & (room > 0.0)).nonzero()[:, 0]
        if costs.order > PROVED_ORDER[costs.device.type]:
            proved[places] = True
            least = (found.value - found.error).clamp_max(0.0)
            return proved, dual.sum(dim=1) + costs.order * least
    for piece in places.split(pieces(costs)):
        proved[piece], bound[piece] = certificate.certify(
            costs.assemble(which[piece]), dual[piece], value[piece], allowed[piece]
        )
    return proved, bound


def bounds(
    costs: SharedCosts, which: Tensor, dual: Tensor, allowed: Tensor, generator: torch.Generator
) -> Bound:
    """Bounds from y (b, N) for ``which`` (b,), however bad: estimates above `DIRECT_ORDER`."""
    if costs.order > DIRECT_ORDER:
        found = smallest_eigenvalues(costs, which, dual.mT, -allowed / costs.order, generator, sharply=True)
        least = (found.value - found.error).clamp_max(0.0)
        return Bound(dual.sum(dim=1) + costs.order * least, dual)
    climbed = [
        certificate.climb(costs.assemble(which[piece]), dual[piece], allowed[piece] / costs.order)
        for piece in torch.arange(which.numel(), device=which.device).split(pieces(costs))
    ]
    return Bound(torch.cat([one.bound for one in climbed]), torch.cat([one.dual for one in climbed]))


def pieces(costs: SharedCosts) -> int:
    """How many problems are given matrices of their own at a time."""
    return max(1, PIECE_ENTRIES[costs.device.type] // costs.order**2)
