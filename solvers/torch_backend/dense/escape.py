"""Away from critical factors that are not optimal: a new direction along the slack matrix's eigenvector."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from solvers.burer_monteiro.escape import STEPS
from solvers.torch_backend.dense.certificate import multipliers, normalised, slack

# A column whose squared singular value is below this share of the largest holds nothing but float32's rounding.
SPARE = 1e-11


class Escape(NamedTuple):
    """Factors (b, N, k) in float64, and which of them (b,) are an improvement."""

    factors: Tensor
    found: Tensor


def principal_columns(factors: Tensor) -> tuple[Tensor, Tensor]:
    """Rotate columns to principal axes, least first, and say whether the first is spare; V V^T stays."""
    gram, axes = torch.linalg.eigh(factors.mT @ factors)
    return factors @ axes, gram[:, 0] <= SPARE * gram[:, -1]


def escape(costs: Tensor, rotated: Tensor, worthwhile: Tensor) -> Escape:
    """Replace the first, spare column by a multiple of the eigenvector of least curvature; keep the best step.

    A step counts if it lowers the value by more than ``worthwhile`` (b,).

    At a critical V whose slack matrix has a negative eigenvalue the slope is zero and the curvature negative, so
    some step decreases the objective (Boumal 2015).
    """
    dual = multipliers(costs, rotated)
    nothing = torch.zeros_like(dual[:, 0])
    vectors = torch.linalg.eigh(slack(costs, dual, nothing)).eigenvectors[:, :, 0]
    direction = vectors * rotated.shape[1] ** 0.5
    value = dual.sum(dim=1)
    lowest = value - worthwhile
    best, found = rotated, torch.zeros_like(value, dtype=torch.bool)
    for step in STEPS:
        trial = rotated.clone()
        trial[:, :, 0] = step * direction
        trial = normalised(trial)
        reached = multipliers(costs, trial).sum(dim=1)
        better = reached < lowest
        best = torch.where(better[:, None, None], trial, best)
        lowest = torch.where(better, reached, lowest)
        found |= better
    return Escape(best, found)
