"""Method ``ste``: deterministic signs, a kernel as the gradient of the sign, means clipped to [-1, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vispa.estimators.kernels import Kernel, KernelFunction, as_kernel, identity_kernel
from vispa.nn.methods.base import Method
from vispa.nn.methods.surrogate import straight_through
from vispa.nn.weights.autograd import sign
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.layout import Layout
from vispa.nn.weights.noise_scope import Noise

__all__ = ["STE", "StraightThroughWeight"]


class StraightThroughWeight(BinaryWeight):
    """``sgn(mean)``, differentiated by a kernel, the mean clipped to [-1, 1]."""

    def __init__(self, mean: Tensor, layout: Layout, method: STE) -> None:
        super().__init__(mean, layout, channel_scale=method.channel_scale)
        self.kernel = as_kernel(method.kernel)

    def hard_weight(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return signs times one scale a channel, in rows; the identity has a faster way."""
        if self.kernel is identity_kernel:
            return super().hard_weight(rows, noise)
        slope = self.kernel(rows.detach())
        return self.scaled(straight_through(sign(rows.detach()), slope * rows), rows)

    def project(self, mean: Tensor) -> None:
        """Clip the mean to [-1, 1], in place: the box that means fill exactly (claim G3 of theory_checks)."""
        with torch.no_grad():
            mean.clamp_(-1.0, 1.0)


@dataclass(frozen=True)
class STE(Method):
    """Deterministic ``sgn(mean)``, means clipped to [-1, 1] after every step.

    Parameters
    ----------
    kernel : str, Kernel or callable, default "identity"
        What multiplies the gradient on its way through the sign, as in :class:`vispa.SignActivation`.
    channel_scale : {"learned", "mean", "none"}
        ``alpha``: a parameter; ``mean |mean_i|`` over the channel, without a gradient; or 1.
    """

    name: ClassVar[str] = "ste"
    weight_class: ClassVar[type[BinaryWeight]] = StraightThroughWeight

    kernel: str | Kernel | KernelFunction = "identity"
    channel_scale: str = "learned"

    def __post_init__(self) -> None:
        super().__post_init__()
        as_kernel(self.kernel)
