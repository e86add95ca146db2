"""What a factor on a device says about its own quality: multipliers, value, and curvature on its range."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from solvers.tensors.sparse_layout import HeavyRows, Layout
from solvers.tensors.sparse_sweep import BLOCK_LOOK, blocks, pull_heavy, pull_rows

# Axes of V whose squared singular value is below this share of the largest are noise.
NEGLIGIBLE_AXIS = 1e-4


class Look(NamedTuple):
    """Multipliers y_i = <(C V)_i, v_i>, their sum, |(C - Diag(y)) V|_F, and the least Ritz value on V's range.

    ``vector`` is V times the coefficients of that Ritz value: an approximate eigenvector of C - Diag(y).
    """

    multipliers: Tensor
    value: float
    gradient_norm: float
    curvature: float
    vector: Tensor


def look(layout: Layout, factor: Tensor, *, fused: bool) -> Look:
    """Gather C V once, in blocks that are never kept.

    Notes
    -----
    O(nnz k + n k^2) time; beside the result, one block of C V.
    """
    width = factor.shape[1]
    multipliers = torch.empty(layout.order, dtype=factor.dtype, device=factor.device)
    gram = torch.zeros(width, width, dtype=torch.float64, device=factor.device)
    projected, squares = torch.zeros_like(gram), gram.new_zeros(())
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
            squares += torch.linalg.vecdot(gradient, gradient).sum(dtype=torch.float64)
    curvature, coefficients = _least_ritz(gram, projected)
    return Look(
        multipliers,
        float(multipliers.sum(dtype=torch.float64)),
        float(squares.sqrt()),
        curvature,
        factor @ coefficients.to(factor.dtype),
    )


def _least_ritz(gram: Tensor, projected: Tensor) -> tuple[float, Tensor]:
    values, axes = torch.linalg.eigh(gram)
    kept = values > NEGLIGIBLE_AXIS * values[-1]
    if not bool(kept.any()):
        return 0.0, torch.zeros_like(values)
    basis = axes[:, kept] / values[kept].sqrt()
    small = basis.mT @ projected @ basis
    ritz, vectors = torch.linalg.eigh(0.5 * (small + small.mT))
    return float(ritz[0]), basis @ vectors[:, 0]
