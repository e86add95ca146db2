"""Over-relaxed coordinate sweeps over many dense problems at once, in torch.

With every other row fixed, row i enters the objective through 2 <g_i, v_i>, where g_i = sum_j c_ij v_j; on the
sphere its minimiser is u = -g_i/|g_i|.  The update goes past it by a factor 1 + beta and returns to the sphere.
With e = |v_i - u|^2/2 the new row is (u - beta (v_i - u))/s, s^2 = 1 + 2 (1 + beta) beta e, and the objective falls
by 2 |g_i| (e - beta^2 e (2 - e)/(s (s + 1 + beta e))): no difference of nearly equal numbers, so that a decrease
means something in float32 too.

Rows follow one another, problems do not: each step works on one row of every problem.  Rows are taken in blocks:
what everything outside a block adds to their gradients is one matrix product; inside it each new row is added to
the gradients of the rows after it.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Rows a block: fewer make many small products, more make long updates inside the block.
BLOCK_ROWS = 16


def relax_rows(block: Tensor, gradient: Tensor, rows: Tensor, beta: Tensor) -> Tensor:
    """Relax the rows of a block one after the other, in place, in every problem.

    Parameters
    ----------
    block : (B or 1, R, R) Tensor
        Symmetric costs among these rows, with a zero diagonal.
    gradient : (B, R, k) Tensor
        g_i of each row before the first is moved.
    rows : (B, R, k) Tensor
        Unit rows; overwritten.
    beta : (B,) Tensor
        Over-relaxation of each problem, 0 <= beta < 1.

    Returns
    -------
    (B,) Tensor
        The decrease of each objective.
    """
    # problems last: then every step below runs along contiguous memory
    gradients, block = gradient.permute(1, 2, 0).contiguous(), block.permute(1, 2, 0).contiguous()
    old = rows.permute(1, 2, 0).contiguous()
    new = old.clone()
    tiny = torch.finfo(rows.dtype).tiny
    for i in range(old.shape[0]):
        length = _lengths(gradients[i])
        past = torch.addcmul(beta * old[i], gradients[i], (1.0 + beta) / length.clamp_min(tiny))
        past /= -_lengths(past).clamp_min(tiny)
        # a row that nothing gradients stays where it is
        moved = (past - old[i]).mul_(length > tiny)
        new[i] += moved
        if i + 1 < old.shape[0]:
            gradients[i + 1 :].addcmul_(block[i + 1 :, i, None], moved)
    rows.copy_(new.permute(2, 0, 1))
    # no later row has touched a gradient: each is still the one that its own row followed
    lengths = _lengths(gradients.transpose(0, 1))
    apart = old + gradients / lengths.clamp_min(tiny)[:, None]
    return decrease(lengths, 0.5 * apart.square_().sum(dim=1), beta).sum(dim=0)


def _lengths(columns: Tensor) -> Tensor:
    """Euclidean lengths along the first dimension; torch's own norm takes tens of times as long there."""
    return columns.square().sum(dim=0).sqrt_()


def decrease(lengths: Tensor, distances: Tensor, beta: Tensor) -> Tensor:
    """What each row's step takes off the objective; see the module."""
    ahead = 1.0 + beta * distances
    norm = torch.sqrt(1.0 + 2.0 * (1.0 + beta) * beta * distances)
    after = beta * beta * distances * (2.0 - distances) / (norm * (norm + ahead))
    return 2.0 * lengths * (distances - after)


def sweep_batch(costs: Tensor, factors: Tensor, betas: Tensor) -> Tensor:
    """Sweep every problem once for each column of ``betas`` (B, count), in place; return the last decrease (B,).

    ``costs`` is (B, N, N), symmetric with a zero diagonal; ``factors`` (B, N, k).  One sweep costs O(B N^2 k).
    """
    rows = factors.shape[1]
    last = torch.zeros_like(factors[:, 0, 0])
    for beta in betas.unbind(dim=1):
        last = torch.zeros_like(last)
        for first in range(0, rows, BLOCK_ROWS):
            here = slice(first, min(first + BLOCK_ROWS, rows))
            gradient = torch.bmm(costs[:, here], factors)
            last += relax_rows(costs[:, here, here], gradient, factors[:, here], beta)
    return last
