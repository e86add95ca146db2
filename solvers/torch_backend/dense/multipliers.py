r"""Multipliers of second order for a batch: what lets a certificate succeed many sweeps sooner.

As for a single problem (`solvers.certificates.multipliers`): with Q an orthonormal basis of the range of V, the
z of least norm with :math:`Q^T (S - Diag(z)) Q = 0` takes away what is negative in S = C - Diag(y) only because
V is not yet quite critical, and costs nothing in the bound, since V^T S V has trace zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Axes of V with a smaller share of the largest singular value are not in the range of the solution yet.
AXIS = 0.1
# Steps of conjugate gradient; each takes off more than half of what is left.
STEPS = 10


def corrected(rows: Tensor, dual: Tensor, gradient: Tensor) -> Tensor:
    """Y + z for unit rows (b, N, k), their multipliers y (b, N) and S V, all float64; O(b N k^2) a step."""
    squares, axes = torch.linalg.eigh(rows.mT @ rows)
    kept = squares > AXIS**2 * squares[:, -1:]
    # axes that are left out are columns of zeros
    coordinates = axes * torch.where(kept, squares.clamp_min(AXIS**2).rsqrt(), 0.0)[:, None, :]
    inside = coordinates.mT @ (rows.mT @ gradient) @ coordinates
    return dual + least_shift(rows @ coordinates, 0.5 * (inside + inside.mT), kept.sum(dim=1))


def least_shift(basis: Tensor, target: Tensor, rank: Tensor) -> Tensor:
    """The z (b, N) of least norm with Q^T Diag(z) Q = target, nearly: z_i = <q_i, L q_i> for some symmetric L.

    ``basis`` is (b, N, k) with ``rank`` (b,) orthonormal columns, the others zero, and ``target`` (b, k, k).
    """
    size = float(basis.shape[1])
    multiplier = torch.zeros_like(target)
    residual = target.clone()
    conditioned = _precondition(residual, size, rank)
    direction = conditioned.clone()
    product = (residual * conditioned).sum(dim=(1, 2))
    for _ in range(STEPS):
        image = basis.mT @ (_forms(basis, direction)[:, :, None] * basis)
        curvature = (direction * image).sum(dim=(1, 2))
        length = torch.where(curvature > 0.0, product / curvature, 0.0)[:, None, None]
        multiplier += length * direction
        residual -= length * image
        conditioned = _precondition(residual, size, rank)
        previous, product = product, (residual * conditioned).sum(dim=(1, 2))
        ratio = torch.where(previous > 0.0, product / previous, 0.0)
        direction = conditioned + ratio[:, None, None] * direction
    return _forms(basis, multiplier)


def _forms(basis: Tensor, matrices: Tensor) -> Tensor:
    """<q_i, M q_i> for each row, (b, N)."""
    return ((basis @ matrices) * basis).sum(dim=2)


def _precondition(matrices: Tensor, size: float, rank: Tensor) -> Tensor:
    """The inverse of L -> sum_i <q_i, L q_i> q_i q_i^T where the q_i are Gaussian: N/2 (L - tr(L)/(r + 2) I)."""
    result = 0.5 * size * matrices
    trace = matrices.diagonal(dim1=1, dim2=2).sum(dim=1)
    result.diagonal(dim1=1, dim2=2).sub_((0.5 * size * trace / (rank + 2.0))[:, None])
    return result
