"""RBNN: weights turned towards the corners of the cube by a rotation, as far as a learned angle says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from solvers import checks
from vispa.nn.methods.base import Method, TransformedWeight
from vispa.nn.methods.irnet import ede_sharpness
from vispa.nn.methods.surrogate import signs, standardised, straight_through
from vispa.nn.weights.autograd import per_channel
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.layout import Layout
from vispa.nn.weights.noise_scope import Noise

__all__ = ["RBNN", "RBNNWeight", "near_square", "rbnn_kernel", "rbnn_weight", "rotate", "updated_rotation"]

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
    >>> rbnn_kernel(torch.tensor([0.0, 10.0]), torch.tensor(2.0).sqrt()).round(decimals=4).tolist()
    [2.0, 0.0]
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


class RBNNWeight(TransformedWeight):
    """A weight of `RBNN`; ``angle`` says how far a channel follows the rotation ``left``, ``right``."""

    angle: nn.Parameter
    left: Tensor
    right: Tensor
    sharpness: Tensor
    rotations: Tensor

    def __init__(self, mean: Tensor, layout: Layout, method: RBNN) -> None:
        super().__init__(mean, layout, channel_scale=method.channel_scale)
        angle = torch.full((layout.out_channels,), method.angle, dtype=mean.dtype, device=mean.device)
        self.angle = nn.Parameter(angle, requires_grad=mean.requires_grad)
        for name, size in zip(("left", "right"), near_square(layout.fan_in), strict=True):
            self.register_buffer(name, torch.eye(size, dtype=mean.dtype, device=mean.device))
        self.register_number("sharpness", method.t_start, mean)
        self.register_buffer("rotations", torch.tensor(-1, device=mean.device))

    def binary(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return the signs of rows turned as far as the angles say."""
        zero = self.method.published_zero
        return rbnn_weight(rows, self.angle, self.left, self.right, self.sharpness, published_zero=zero)

    @torch.no_grad()
    def anneal(self, mean: Tensor, progress: float) -> None:
        """Set t, and find the rotation anew when its time has come."""
        self.sharpness.fill_(ede_sharpness(progress, self.method.t_start, self.method.t_end))
        due = int(progress * self.method.updates)
        if due > int(self.rotations):
            left, right = updated_rotation(self.layout.rows(mean), self.left, self.right)
            self.left.copy_(left)
            self.right.copy_(right)
            self.rotations.fill_(due)


@dataclass(frozen=True)
class RBNN(Method):
    """Signs of rows turned towards the corners of the cube by a rotation of the layer.

    Parameters
    ----------
    t_start, t_end : float
        t of the triangular kernel, from the start of training to its end.
    angle : float, default pi / 2
        At the start. At the published pi / 2 no gradient reaches the latent weights until weight decay has
        moved the angle.
    updates : int, default 100
        How often in training the rotation is found anew; each time costs six SVDs a layer.
    channel_scale : {"learned", "mean", "none"}
        ``alpha``: a parameter, as published; ``mean |mean_i|`` over the channel, without a gradient; or 1.
    published_zero : bool, default False
        Whether ``sgn(0) = 0``, as published; such a weight is not binary.

    References
    ----------
    Lin et al., Rotated Binary Neural Network, NeurIPS 2020.
    """

    name: ClassVar[str] = "rbnn"
    weight_class: ClassVar[type[BinaryWeight]] = RBNNWeight
    least_fan_in: ClassVar[int] = 2

    t_start: float = 1e-2
    t_end: float = 10.0
    angle: float = math.pi / 2
    updates: int = 100
    channel_scale: str = "learned"
    published_zero: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.scalar("t_start", self.t_start, positive=True)
        checks.scalar("t_end", self.t_end, positive=True)
        checks.scalar("angle", self.angle)
        checks.integer("updates", self.updates, minimum=1)
