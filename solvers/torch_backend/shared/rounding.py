"""From factors to signs, for problems that share a matrix: Gaussian rounding, then one-flip descent."""

from __future__ import annotations

import torch
from torch import Tensor

# Flips between looks at whether any problem still has one to make.
FLIPS_A_LOOK = 16
# Of the size of a flip: a smaller decrease is rounding, and would let a descent go in circles.
ROUNDING = 1e-12


def objective(matrix: Tensor, linear: Tensor, signs: Tensor) -> Tensor:
    """w^T A w + b_j^T w for signs (n, J), linear (n, J)."""
    return (signs * (matrix @ signs + linear)).sum(dim=0)


def round_shared(
    matrix: Tensor,
    linear: Tensor,
    factors: Tensor,
    known: Tensor,
    *,
    samples: int,
    generator: torch.Generator,
) -> Tensor:
    """The best of ``known`` (n, J) and ``samples`` homogeneous roundings of ``factors`` (J, N, k), each descended.

    A rounding is w_i = sgn(<v_i, r>) sgn(<v_0, r>) with one Gaussian r for all problems (claim R6 of
    theory_checks); where sgn(0) = +1.
    """
    best = one_flip_shared(matrix, linear, known)
    value = objective(matrix, linear, best)
    for _ in range(samples):
        direction = torch.randn(
            factors.shape[2], dtype=factors.dtype, device=factors.device, generator=generator
        )
        sides = torch.where((factors @ direction).mT >= 0.0, 1.0, -1.0).to(matrix.dtype)
        found = one_flip_shared(matrix, linear, sides[1:] * sides[0])
        reached = objective(matrix, linear, found)
        better = reached < value
        best, value = torch.where(better, found, best), torch.where(better, reached, value)
    return best


def one_flip_shared(matrix: Tensor, linear: Tensor, signs: Tensor) -> Tensor:
    """Flip the most profitable sign of each problem until none has one; ``signs`` (n, J) is not changed.

    Flipping w_i lowers the objective by 4 w_i (A w)_i - 4 a_ii + 2 b_i w_i.  A flip costs O(n) a problem, as a
    column of A and one pass over its fields.
    """
    signs = signs.clone()
    fields = 2.0 * (matrix @ signs - matrix.diagonal()[:, None] * signs) + linear
    problems = torch.arange(signs.shape[1], device=signs.device)
    noise = ROUNDING * fields.abs().amax(dim=0)
    while True:
        for _ in range(FLIPS_A_LOOK):
            gain, row = (signs * fields).max(dim=0)
            flip = torch.where(gain > noise, 2.0 * signs[row, problems], 0.0)
            signs[row, problems] -= flip
            # the diagonal has no part in a field
            own = fields[row, problems]
            fields -= 2.0 * flip * matrix[:, row]
            fields[row, problems] = own
        if not bool((flip != 0.0).any()):
            return signs
