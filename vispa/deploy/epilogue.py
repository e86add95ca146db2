"""What follows the sum of a packed layer, as numbers a channel that give torch's own floats bit for bit."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import batch_norm

__all__ = ["Epilogue", "is_activation", "is_norm"]

Normalisation = nn.BatchNorm1d | nn.BatchNorm2d
# Flags and rows as `kernels.steps` has them; that module is not imported before a kernel runs.
BIAS, NORM, FUSED, RESIDUAL, CLAMP, PRELU, RECTIFY = 1, 2, 4, 8, 16, 32, 64
LANES = 32


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a batch normalisation by fixed statistics, in float32 and by finite numbers.

    Torch subtracts a mean before it multiplies where values lie apart, which is the same but for infinities.
    """
    return (
        type(module) in (nn.BatchNorm1d, nn.BatchNorm2d)
        and module.running_mean is not None
        and module.running_mean.dtype == torch.float32
        and all(bool(torch.isfinite(numbers).all()) for numbers in _line(module))
    )


def is_activation(module: nn.Module) -> bool:
    """Whether an activation can be part of an epilogue."""
    return type(module) in (nn.Hardtanh, nn.ReLU, nn.ReLU6, nn.PReLU, nn.Identity)


@dataclass(frozen=True)
class Epilogue:
    """Scale and bias of the layer, then ReLU, a batch normalisation, a sum and an activation, each optional.

    Attributes
    ----------
    scale : Tensor (channels,)
        alpha, never negative.
    bias : Tensor (channels,), optional
    norm : BatchNorm1d or BatchNorm2d, optional
    residual : bool
        Whether another tensor is added to the normalised values.
    activation : Module, optional
    rectified : bool
        Whether ReLU comes before the normalisation.
    """

    scale: Tensor
    bias: Tensor | None = None
    norm: nn.Module | None = None
    residual: bool = False
    activation: nn.Module | None = None
    rectified: bool = False

    def __call__(self, sums: Tensor, residual: Tensor | None = None) -> Tensor:
        """What torch makes of sums (rows, channels) or (images, channels, ...), in float32."""
        shape = [-1 if axis == 1 else 1 for axis in range(sums.ndim)]
        values = sums * self.scale.view(shape)
        if self.bias is not None:
            values = values + self.bias.view(shape)
        if self.rectified:
            values = torch.relu(values)
        if self.norm is not None:
            values = _normalised(values, self.norm)
        if residual is not None:
            values = values + residual
        return values if self.activation is None else self.activation(values)

    def to(self, device: torch.device) -> Epilogue:
        """The epilogue on a device, itself if it is there; modules are copied, as others may have them."""
        if self.scale.device == device or device.type == "meta":
            return self
        moved = {
            name: deepcopy(value).to(device)
            for name in ("scale", "bias", "norm", "activation")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **moved)

    @torch.no_grad()
    def numbers(self) -> tuple[NDArray[np.float32], int]:
        """Seven numbers a channel, filled up to whole blocks, and which steps there are, as the kernels take them.

        The factor and offset of the normalisation are what torch itself computes; whether it rounds its product
        before the sum is tried on a range of values.
        """
        channels = len(self.scale)
        table = np.zeros((7, -(-channels // LANES) * LANES), dtype=np.float32)
        steps = (RESIDUAL if self.residual else 0) | (RECTIFY if self.rectified else 0)
        table[0, :channels] = self.scale
        if self.bias is not None:
            table[1, :channels], steps = self.bias, steps | BIAS
        if self.norm is not None:
            factor, offset = _line(self.norm)
            table[2, :channels], table[3, :channels] = factor, offset
            steps |= NORM | (FUSED if _rounds_once(self.norm, factor, offset) else 0)
        activation = self.activation
        if isinstance(activation, nn.Hardtanh):  # ReLU6 is one
            table[4], table[5], steps = activation.min_val, activation.max_val, steps | CLAMP
        elif isinstance(activation, nn.ReLU):
            table[4], table[5], steps = 0.0, np.inf, steps | CLAMP
        elif isinstance(activation, nn.PReLU):
            slopes = activation.weight.detach()
            table[6, :channels], steps = slopes.expand(channels), steps | PRELU
        return table, steps


def _normalised(values: Tensor, norm: nn.Module) -> Tensor:
    assert isinstance(norm, Normalisation)
    return batch_norm(
        values, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=False, eps=norm.eps
    )


@torch.no_grad()
def _line(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Factor and offset of a normalisation, as torch rounds them."""
    assert isinstance(norm, Normalisation)
    assert norm.running_mean is not None
    nothing = torch.zeros_like(norm.running_mean)
    bias = None if norm.bias is None else nothing
    offset = _normalised(nothing[None], norm)[0]
    factor = batch_norm(
        torch.ones_like(nothing)[None],
        nothing,
        norm.running_var,
        norm.weight,
        bias,
        training=False,
        eps=norm.eps,
    )[0]
    return factor, offset


def _rounds_once(norm: nn.Module, factor: Tensor, offset: Tensor) -> bool:
    # numbers with full mantissas, of which a product rounded before the sum differs often, where both are as large
    even = (offset / factor).abs().nan_to_num(1.0, posinf=1.0)
    values = torch.linspace(-3.3, 3.7, 257, dtype=factor.dtype, device=factor.device)[:, None]
    values = values * torch.where(even > 0, even, 1.0)
    expected = _normalised(values, norm)
    return not torch.equal(expected.nan_to_num(), (values * factor + offset).nan_to_num())
