"""What a factor on a device says about its own quality: the multipliers, and their sum, the value."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from solvers.torch_backend.sparse.colouring import Layout
from solvers.torch_backend.sparse.over_relaxation import BLOCK_LOOK, blocks, pull_heavy, pull_rows


class Look(NamedTuple):
    """Multipliers y_i = <(C V)_i, v_i>, in the dtype of V, and their sum in float64."""

    multipliers: Tensor
    value: float


def look(layout: Layout, factor: Tensor, *, fused: bool) -> Look:
    """Gather C V once, in blocks that are never kept.

    Notes
    -----
    O(nnz k) time; beside the result, one block of C V.
    """
    multipliers = torch.empty(layout.order, dtype=factor.dtype, device=factor.device)
    for rows in layout.classes:
        for first, last in blocks(rows, factor.shape[1], BLOCK_LOOK):
            pull = pull_rows(layout, factor, first, last, fused=fused)
            multipliers[first:last] = torch.linalg.vecdot(pull, factor[first:last])
        if rows.heavy is not None:
            pull = pull_heavy(rows.heavy, factor)
            multipliers[rows.light : rows.last] = torch.linalg.vecdot(pull, factor[rows.light : rows.last])
    return Look(multipliers, float(multipliers.sum(dtype=torch.float64)))
