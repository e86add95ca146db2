"""For the few problems whose factor neither converges nor escapes: an interior point method on the dual.

The step is the one that `solvers.methods.interior_point` derives, with X = mu S^-1, so that no X is kept: on the
central path, where mu diag(S^-1) = 1, that is feasible and its gap is N mu.  Off the path S^-1 scaled to unit
diagonal is still feasible, so each step yields a bound and a point.  Nothing here knows of ranks or spurious
points: it costs some dozens of N^3 where a sweep costs N^2 k, and is limited by rounding alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from solvers.torch_backend.dense.certificate import (
    SHARE,
    Bound,
    confirmed,
    multipliers,
    newton_step,
    normalised,
    rounding,
)

MAX_STEPS = 100
# A run of this many steps that leaves more than this share of the gap is the end of what float64 can do; on the way
# from a boundary to the central path it may take a dozen to get on.
STALLED_STEPS = 30
STALLED_SHARE = 0.9
# Eigenvalues below these shares of the largest are dropped, the first that leaves the gap within what is allowed.
NARROWER = (1e-3, 1e-4, 1e-5, 1e-6, 1e-8)
# Of the gap allowed, what dropping columns may use up: rounding the rest to float32 costs something too.
KEPT = 0.95
# Up to this order all eigenvectors of a point are computed.
MAX_WHOLE_ORDER = 300
SPARE_AXES = 16
SUBSPACE_STEPS = 4


class Interior(NamedTuple):
    """Bounds and their y, and factors (b, N, N) with the columns that matter first."""

    bound: Bound
    factors: Tensor


def interior(
    costs: Tensor, start: Bound, factors: Tensor, allowed: Tensor, expired: Callable[[], bool]
) -> Interior:
    """Close the gap to within ``allowed`` (b,) where float64 can, and time allows.

    ``start`` holds y strictly inside S > 0 and ``factors`` (b, N, k) the points known so far, in float64.
    """
    points = factors @ factors.mT
    value = (costs * points).sum(dim=(1, 2))
    # a step toward the central path may cost some of the bound: the best y is kept apart from the last
    bound, best, dual = start.bound.clone(), start.dual.clone(), start.dual.clone()
    going = torch.arange(costs.shape[0], device=costs.device)
    milestone, reached_at = value - bound, torch.zeros_like(going)
    for step in range(MAX_STEPS):
        gap = value - bound
        progressed = gap <= STALLED_SHARE * milestone
        milestone = torch.where(progressed, gap, milestone)
        reached_at = torch.where(progressed, step, reached_at)
        open_ = (gap > 0.5 * SHARE * allowed) & (step - reached_at < STALLED_STEPS)
        going = going[open_[going]]
        if going.numel() == 0 or expired():
            break
        here = costs[going]
        stepped, inverse = newton_step(here, dual[going], gap[going])
        dual[going] = stepped
        found = stepped.sum(dim=1) - costs.shape[1] * rounding(here, stepped)
        better = found > bound[going]
        bound[going[better]], best[going[better]] = found[better], stepped[better]
        point = _unit_diagonal(inverse)
        reached = (here * point).sum(dim=(1, 2))
        better = reached < value[going]
        value[going[better]], points[going[better]] = reached[better], point[better]
    proved = confirmed(costs, Bound(bound, best), start)
    return Interior(proved, _narrow(costs, points, proved.bound + KEPT * allowed))


def _unit_diagonal(matrices: Tensor) -> Tensor:
    """D^-1/2 X D^-1/2 with D the diagonal of X; NaN, which no comparison prefers, where X was never formed."""
    scale = torch.rsqrt(matrices.diagonal(dim1=1, dim2=2))
    return matrices * scale[:, :, None] * scale[:, None, :]


def _narrow(costs: Tensor, points: Tensor, target: Tensor) -> Tensor:
    """Factors of the points, with as few columns in use as keep the value at the target, the largest first."""
    values, vectors = _principal_axes(points)
    values, vectors = values.flip(1).clamp_min(0.0), vectors.flip(2)
    whole = vectors * values.sqrt()[:, None, :]
    result = normalised(whole)
    for share in reversed(NARROWER):
        trial = normalised(whole * (values > share * values[:, :1])[:, None, :])
        good = multipliers(costs, trial).sum(dim=1) <= target
        result = torch.where(good[:, None, None], trial, result)
    return result


def _principal_axes(points: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (b, m) and vectors (b, N, m) of points, the largest last; all where N is small.

    Some optimum has no more than sqrt(2 N) axes (claim R4 of theory_checks), and points near it hardly more: of
    large ones, a subspace iteration finds those that count.
    """
    order = points.shape[1]
    if order <= MAX_WHOLE_ORDER:
        return torch.linalg.eigh(points)
    generator = torch.Generator(points.device).manual_seed(0)
    width = math.ceil(math.sqrt(2 * order)) + SPARE_AXES
    basis = torch.randn(order, width, dtype=points.dtype, device=points.device, generator=generator)
    basis = basis.expand(points.shape[0], -1, -1)
    for _ in range(SUBSPACE_STEPS):
        basis = torch.linalg.qr(points @ basis).Q
    values, axes = torch.linalg.eigh(basis.mT @ (points @ basis))
    return values, basis @ axes
