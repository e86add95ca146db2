"""RBNN: weights turned towards the corners of the cube by a rotation, as far as a learned angle says."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vispa.nn.methods.surrogate import signs, standardised, straight_through
from vispa.nn.weights.autograd import per_channel

__all__ = ["near_square", "rbnn_kernel", "rbnn_weight", "rotate", "updated_rotation"]

ROUNDS = 3


def near_square(size: int) -> tuple[int, int]:
    """Return ``a <= b`` with ``a b = size``, as near to each other as can be.

    Examples
    --------
    >>> near_square(36), near_square(24), near_square(7)
    ((6, 6), (4, 6), (1, 7))
    """
    a = next(a for a in range(math.isqrt(size), 0, -1) if size % a == 0)
    return a, size // a


def rbnn_kernel(x: Tensor, sharpness: Tensor) -> Tensor:
    r"""Return :math:`\max(k (2 \sqrt{t^2/2} - t^2 |x|), 0)`, a triangle, with :math:`k = \max(1/t, 1)`.

    Examples
    --------
    >>> rbnn_kernel(torch.tensor([0.0, 10.0]), torch.tensor(2.0).sqrt())
    tensor([2., 0.])
    """
    square = sharpness * sharpness
    slope = torch.clamp_min(1.0 / sharpness, 1.0)
    return torch.clamp_min(slope * (2.0 * torch.sqrt(square / 2.0) - square * x.abs()), 0.0)


def rotate(values: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return ``left^T X right`` for every row of ``values``, viewed as a matrix X."""
    matrices = values.reshape(values.shape[0], left.shape[0], right.shape[0])
    return (left.T @ matrices @ right).reshape(values.shape)


def rbnn_weight(
    rows: Tensor,
    angle: Tensor,
    left: Tensor,
    right: Tensor,
    sharpness: Tensor,
    *,
    published_zero: bool = False,
) -> Tensor:
    """Return the signs of ``v + |sin angle| (rotated v - v)``, v standardised, with `rbnn_kernel` as slope.

    The rotated rows have no gradient, so that of v is multiplied by ``1 - |sin angle|``: zero at the published
    start, angle pi / 2.

    Parameters
    ----------
    rows : Tensor of shape (out_channels, ...)
        Latent weights, at least two a row.
    angle : Tensor of shape (out_channels,)
    left, right : Tensor of shape (a, a) and (b, b)
        Orthogonal; a b is the length of a row.
    sharpness : Tensor of one element
        t > 0.
    published_zero : bool, default False
        Whether ``sgn(0) = 0``, as published.
    """
    values = standardised(rows)
    share = per_channel(torch.sin(angle).abs(), rows)
    turned = rotate(values.detach(), left, right)
    moved = values + share * (turned - values)
    slope = rbnn_kernel(moved.detach(), sharpness)
    return straight_through(signs(moved, published_zero), slope * moved)


def updated_rotation(rows: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return rotations that bring the standardised rows nearer to their signs, by rounds of two SVDs.

    Each maximises ``sum_c <sgn, left^T X_c right>`` over one rotation, the signs and the other one fixed.

    Examples
    --------
    >>> rows = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    >>> left, right = updated_rotation(rows, torch.eye(2), torch.eye(3))
    >>> torch.allclose(left @ left.T, torch.eye(2), atol=1e-6)
    True
    """
    matrices = standardised(rows).reshape(rows.shape[0], left.shape[0], right.shape[0])
    for _ in range(ROUNDS):
        corners = (left.T @ matrices @ right).sign()
        left = _nearest_rotation((matrices @ right @ corners.mT).sum(0))
        right = _nearest_rotation((matrices.mT @ left @ corners).sum(0))
    return left, right


def _nearest_rotation(matrix: Tensor) -> Tensor:
    first, _, second = torch.linalg.svd(matrix)
    nearest: Tensor = first @ second
    return nearest
