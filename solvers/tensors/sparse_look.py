"""What a factor on a device says about its own quality: multipliers, value, and curvature on its range."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from solvers.tensors.sparse_layout import HeavyRows, Layout
from solvers.tensors.sparse_sweep import BLOCK_LOOK, blocks, pull_heavy, pull_rows

# Axes of V whose squared singular value is below this share of the largest may be noise in float32.
NEGLIGIBLE_AXIS = 1e-2


class Look(NamedTuple):
    """Multipliers y_i = <(C V)_i, v_i>, their sum, and the least Ritz value of C - Diag(y) on V's range."""

    multipliers: Tensor
    value: float
    curvature: float


def look(layout: Layout, factor: Tensor, *, fused: bool) -> Look:
    """Gather C V once, in blocks that are never kept.

    Notes
    -----
    O(nnz k + n k^2) time; beside the result, one block of C V.
    """
    width = factor.shape[1]
    multipliers = torch.empty(layout.order, dtype=factor.dtype, device=factor.device)
    gram = torch.zeros(width, width, dtype=torch.float64, device=factor.device)
    projected = torch.zeros_like(gram)
    for rows in layout.classes:
        ranges: list[tuple[int, int, HeavyRows | None]] = [
            (first, last, None) for first, last in blocks(rows, width, BLOCK_LOOK)
        ]
        if rows.heavy is not None:
            ranges.append((rows.light, rows.last, rows.heavy))
        for first, last, heavy in ranges:
            here = factor[first:last]
            if heavy is None:
                pull = pull_rows(layout, factor, first, last, fused=fused)
            else:
                pull = pull_heavy(heavy, factor)
            own = torch.linalg.vecdot(pull, here)
            multipliers[first:last] = own
            gradient = pull.addcmul_(here, own[:, None], value=-1.0)
            gram += (here.mT @ here).double()
            projected += (here.mT @ gradient).double()
    return Look(multipliers, float(multipliers.sum(dtype=torch.float64)), _least_ritz(gram, projected))


def _least_ritz(gram: Tensor, projected: Tensor) -> float:
    values, axes = torch.linalg.eigh(gram)
    kept = values > NEGLIGIBLE_AXIS * values[-1]
    if not bool(kept.any()):
        return 0.0
    basis = axes[:, kept] / values[kept].sqrt()
    small = basis.mT @ projected @ basis
    return float(torch.linalg.eigvalsh(0.5 * (small + small.mT))[0])
