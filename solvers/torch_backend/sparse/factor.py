"""Unit rows on a device, made, widened and put back in order without a second array of their size."""

from __future__ import annotations

import torch
from torch import Tensor

# Entries handled at a time.
CHUNK = 2**24
# Norm of the new columns of a row, against one for the old: less takes more sweeps to grow, more undoes progress.
NEW_COLUMNS = 0.3


def random_factor(
    rows: int, width: int, *, dtype: torch.dtype, device: torch.device, generator: torch.Generator
) -> Tensor:
    """Rows drawn uniformly from the sphere, (rows, width)."""
    factor = torch.empty(rows, width, dtype=dtype, device=device).normal_(generator=generator)
    normalise_(factor)
    return factor


def normalise_(factor: Tensor) -> None:
    """Divide each row by its length, in place; a zero row becomes the first axis."""
    for block in factor.split(max(CHUNK // factor.shape[1], 1)):
        lengths = torch.linalg.vector_norm(block, dim=1)
        block[:, 0] += lengths == 0
        block.div_(torch.where(lengths > 0, lengths, 1.0)[:, None])


def widened(factor: Tensor, width: int, vector: Tensor, generator: torch.Generator) -> Tensor:
    """The factor with new columns: the first along ``vector``, of unit length, the others random."""
    rows, old = factor.shape
    result = torch.empty(rows, width, dtype=factor.dtype, device=factor.device)
    new = result[:, old:]
    # a strided view cannot be drawn into, so a block of rows at a time
    for target in new.split(max(CHUNK // width, 1)):
        target.copy_(torch.empty_like(target).normal_(generator=generator))
        target.mul_(NEW_COLUMNS / (width - old) ** 0.5)
    new[:, 0] = vector * (NEW_COLUMNS * rows**0.5 / (width - old) ** 0.5)
    result[:, :old] = factor
    normalise_(result)
    return result


def in_original_order(factor: Tensor, rows: Tensor) -> Tensor:
    """Row i of the result at ``rows[i]``; rows beyond the factor's are the first axis."""
    result = torch.zeros(rows.shape[0], factor.shape[1], dtype=factor.dtype, device=factor.device)
    result[:, 0] = 1.0
    result[rows[: factor.shape[0]]] = factor
    return result
