"""Bounds for problems that share a matrix: by Cholesky as far as it is affordable, then by Lanczos."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from solvers.torch_backend.dense import certificate
from solvers.torch_backend.dense.certificate import SHARE
from solvers.torch_backend.shared.costs import SharedCosts
from solvers.torch_backend.shared.lanczos import smallest_eigenvalues

# Above this order Lanczos, whose products all problems share, costs less than factorisations; it is believed.
PROVED_ORDER = {"cpu": 4100, "cuda": 16400}
# Above this order a ladder of factorisations costs too much for a bound that proves no convergence.
CLIMBED_ORDER = 1100
# Entries of the matrices that are factorised together.
PIECE_ENTRIES = {"cpu": 2**21, "cuda": 2**26}


def certify(
    costs: SharedCosts,
    which: Tensor,
    dual: Tensor,
    value: Tensor,
    allowed: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Whether y (b, N) proves gaps within ``allowed`` (b,) of the values for ``which`` (b,), and the bounds."""
    if costs.order > PROVED_ORDER[costs.device.type]:
        room = (SHARE * allowed - value + dual.sum(dim=1)) / costs.order
        found = smallest_eigenvalues(costs, which, dual.mT, -room, generator)
        least = (found.value - found.error).clamp_max(0.0)
        return (least >= -room) & (room > 0.0), dual.sum(dim=1) + costs.order * least
    proved = torch.zeros_like(which, dtype=torch.bool)
    bound = torch.full_like(value, -torch.inf)
    for piece in torch.arange(which.numel(), device=which.device).split(pieces(costs)):
        proved[piece], bound[piece] = certificate.certify(
            costs.assemble(which[piece]), dual[piece], value[piece], allowed[piece], spare=True
        )
    return proved, bound


class Settled(NamedTuple):
    """Bounds (b,), the y (b, N) behind them, and whether factorisations say so."""

    bound: Tensor
    dual: Tensor
    proved: bool


def bounds(
    costs: SharedCosts, which: Tensor, dual: Tensor, allowed: Tensor, generator: torch.Generator
) -> Settled:
    """Bounds from y (b, N) for ``which`` (b,), however bad: estimates above `CLIMBED_ORDER`."""
    if costs.order > CLIMBED_ORDER:
        found = smallest_eigenvalues(costs, which, dual.mT, -allowed / costs.order, generator, sharply=True)
        least = (found.value - found.error).clamp_max(0.0)
        return Settled(dual.sum(dim=1) + costs.order * least, dual, False)
    climbed = [
        certificate.climb(costs.assemble(which[piece]), dual[piece], allowed[piece] / costs.order)
        for piece in torch.arange(which.numel(), device=which.device).split(pieces(costs))
    ]
    bound, dual = (torch.cat(column) for column in zip(*climbed, strict=True))
    return Settled(bound, dual, True)


def pieces(costs: SharedCosts) -> int:
    """How many problems are given matrices of their own at a time."""
    return max(1, PIECE_ENTRIES[costs.device.type] // costs.order**2)
