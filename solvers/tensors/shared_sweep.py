"""Coordinate sweeps over problems that share a matrix: one product with it serves all of them.

Factors lie row by row, (N, J, k), so that a block of rows of A meets all problems in one matrix product; the rows
of the block are then relaxed one after the other, as in `solvers.tensors.relaxation`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from solvers.tensors import triton_relaxation
from solvers.tensors.relaxation import relax_rows

# (block, pull, rows, beta) -> decrease; rows change in place.
Relax: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

# Rows that meet the matrix together: a good matrix product, and little work inside the block.
BLOCK_ROWS = 32


def choose_relaxation(device: torch.device) -> Relax:
    """The Triton kernel where there is a GPU and triton for it, torch otherwise."""
    return triton_relaxation.relax_block if triton_relaxation.usable(device) else relax_rows


def sweep_shared(matrix: Tensor, half: Tensor, factors: Tensor, betas: Tensor, relax: Relax) -> Tensor:
    """Sweep every problem once for each column of ``betas`` (J, count), in place; return the last decrease (J,).

    ``matrix`` (n, n) has a zero diagonal and may be of lower precision than the rest: then so are the products with
    it, and nothing else.  ``half`` is (n, J), ``factors`` (n + 1, J, k).
    """
    rest = factors[1:]
    last = torch.zeros_like(factors[0, :, 0])
    alone = factors.new_zeros(1, 1, 1)
    for beta in betas.unbind(dim=1):
        pull = torch.einsum("nj,njk->jk", half, rest)
        last = relax(alone, pull[:, None], factors[:1].transpose(0, 1), beta)
        for first in range(0, matrix.shape[0], BLOCK_ROWS):
            here = slice(first, min(first + BLOCK_ROWS, matrix.shape[0]))
            pull = (matrix[here] @ rest.flatten(1).to(matrix.dtype)).to(factors.dtype)
            pull = pull.reshape(rest[here].shape) + half[here, :, None] * factors[0]
            block = matrix[None, here, here].to(factors.dtype)
            last = last + relax(block, pull.transpose(0, 1), rest[here].transpose(0, 1), beta)
    return last
