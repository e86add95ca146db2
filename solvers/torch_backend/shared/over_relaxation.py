"""Coordinate sweeps over problems that share a matrix: one product with it serves all of them.

Factors lie row by row, (N, J, k), so that a block of rows of A meets all problems in one matrix product; the rows
of the block are then relaxed one after the other, as in `solvers.torch_backend.dense.over_relaxation`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from solvers.torch_backend.dense import backends
from solvers.torch_backend.dense.backends import LANES, choose_backend
from solvers.torch_backend.dense.over_relaxation import relax_rows

# (block (R, R), gradients (R, J, k), rows (R, J, k), beta (J,)) -> decrease (J,); rows change in place, and
# gradients may.
Relax: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

# Rows that meet the matrix together: a good matrix product, and little work inside the block.
BLOCK_ROWS = 32


def choose_relaxation(device: torch.device) -> Relax:
    """The fastest that this device and machine have, as for batches."""
    return {"compiled": relax_compiled, "triton": relax_triton, "torch": relax_torch}[
        choose_backend(None, device)[0]
    ]


def relax_torch(block: Tensor, gradients: Tensor, rows: Tensor, beta: Tensor) -> Tensor:
    """The reference."""
    return relax_rows(block[None], gradients.transpose(0, 1), rows.transpose(0, 1), beta)


def relax_triton(block: Tensor, gradients: Tensor, rows: Tensor, beta: Tensor) -> Tensor:
    """One program a problem."""
    return backends.relax_triton(block[None], gradients.transpose(0, 1), rows.transpose(0, 1), beta)


def relax_compiled(block: Tensor, gradients: Tensor, rows: Tensor, beta: Tensor) -> Tensor:
    """One problem after the other, on one thread; the product with the matrix uses them all."""
    from solvers.kernels.relax import relax_rows

    decreases = np.zeros(rows.shape[1])
    costs = block.clone().fill_diagonal_(1.0).numpy()
    flat = (gradients.reshape(-1).numpy(), rows.view(-1).numpy())
    relax_rows(costs, *flat, rows.shape[2], beta.contiguous().numpy(), decreases)
    return torch.from_numpy(decreases).to(rows.dtype)


def padded_width(width: int) -> int:
    """Columns that every implementation can work with: whole vector registers."""
    return width + -width % LANES


def sweep_shared(matrix: Tensor, half: Tensor, factors: Tensor, betas: Tensor, relax: Relax) -> Tensor:
    """Sweep every problem once for each column of ``betas`` (J, count), in place; return the last decrease (J,).

    ``matrix`` (n, n) has a zero diagonal and may be of lower precision than the rest: then so are the products with
    it, and nothing else.  ``half`` is (n, J), ``factors`` (n + 1, J, k), contiguous, with k from `padded_width`.
    """
    rest = factors[1:]
    last = torch.zeros_like(factors[0, :, 0])
    alone = factors.new_zeros(1, 1)
    # what meets the matrix, in its precision
    image = rest if rest.dtype == matrix.dtype else rest.to(matrix.dtype)
    for beta in betas.unbind(dim=1):
        # one product of a row and a matrix for each problem
        gradient = torch.bmm(half.mT[:, None], rest.transpose(0, 1))
        last = relax(alone, gradient.transpose(0, 1).contiguous(), factors[:1], beta)
        for first in range(0, matrix.shape[0], BLOCK_ROWS):
            here = slice(first, min(first + BLOCK_ROWS, matrix.shape[0]))
            gradient = (matrix[here] @ image.flatten(1)).to(factors.dtype)
            gradient = torch.addcmul(gradient.reshape(rest[here].shape), half[here, :, None], factors[0])
            last = last + relax(matrix[here, here].to(factors.dtype), gradient, rest[here], beta)
            if image is not rest:
                image[here] = rest[here]
    return last
