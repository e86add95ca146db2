"""Convolutions that stay real, as the compiled loop between packed layers takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn import functional

from vispa.deploy.chains import module_of
from vispa.deploy.processor import has
from vispa.deploy.torch_layers import detached, pair, zero_padding

__all__ = ["RealConvolution", "real_convolution"]

# Pixels of a stretch: as many as let a pass through the weights pay.
STRETCH = 48
# Products up to which one thread is as good as several.
FEW = 4_000_000


@dataclass(frozen=True)
class RealConvolution:
    """A convolution over images, of all channels together or of each alone.

    Attributes
    ----------
    weight : Tensor (outputs, inputs of a group, height, width)
    bias : Tensor, optional
    stride, padding, dilation : (int, int)
        Padding is of zeros, above and left, as much below and right.
    alone : bool
        Whether each channel is convolved by itself.
    """

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    alone: bool

    @property
    def channels(self) -> int:
        """The number of output channels."""
        return len(self.weight)

    @property
    def filled_up(self) -> int:
        """Output channels to whole vectors of 16."""
        return -(-self.channels // 16) * 16

    def pays(self, source: Tensor, last: Tensor) -> bool:
        """Whether a loop on one thread is worth it: torch takes as many as it is allowed to."""
        products = source.shape[0] * last.shape[2] * last.shape[3] * self.weight.numel()
        return torch.get_num_threads() == 1 or products <= FEW

    def outputs(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what comes out."""
        down, across = (
            (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, padding, dilation, kernel, stride in zip(
                (height, width), self.padding, self.dilation, self.weight.shape[2:], self.stride, strict=True
            )
        )
        return down, across

    def arguments(self, source: Tensor) -> tuple[Any, ...]:
        """What `convolve_and_follow` takes between the values of images and the shape of what comes out."""
        _, inputs, height, width = source.shape
        tall, wide = self.outputs(height, width)
        (above, left), (down, across) = self.padding, self.dilation
        together = min(max(2 if above or left else 1, -(-STRETCH // wide)), tall)
        row = (width + 2 * left) * inputs
        rows, columns = np.arange(together) * self.stride[0] * row, np.arange(wide) * self.stride[1] * inputs
        kernel = self.weight.shape[2:]
        offsets = (
            np.arange(kernel[0])[:, None] * down * row + np.arange(kernel[1]) * across * inputs
        ).ravel()
        filled = self.weight.new_zeros((*kernel, self.weight.shape[1], self.filled_up))
        filled[..., : self.channels] = self.weight.permute(2, 3, 1, 0)
        layer = (
            self.stride[0], above, left, (kernel[0] - 1) * down + 1, together,
            0 if self.alone else inputs, _vectors(self.filled_up), self.filled_up,
        )  # fmt: skip
        starts = (rows[:, None] + columns).ravel()
        return (height, width, inputs), layer, starts, offsets, filled.numpy().reshape(-1)


def real_convolution(network: GraphModule, node: Node) -> RealConvolution | None:
    """The convolution that a node calls, by a module or a function, if the loop can do it."""
    module = module_of(network, node)
    if type(module) is nn.Conv2d and module.padding_mode == "zeros":
        above, below, left, right = zero_padding(module)
        if (above, left) != (below, right):
            return None
        return _checked(
            module.weight,
            module.bias,
            pair(module.stride),
            (above, left),
            pair(module.dilation),
            module.groups,
        )
    if node.op != "call_function" or node.target is not functional.conv2d or len(node.args) != 2:
        return None
    options = dict(node.kwargs)
    weight, bias = _constant(network, node.args[1]), _constant(network, options.pop("bias", None))
    stride, padding, dilation, groups = (
        options.pop(name, default)
        for name, default in (("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1))
    )
    if weight is None or options or isinstance(padding, str) or not isinstance(groups, int):
        return None
    return _checked(weight, bias, pair(stride), pair(padding), pair(dilation), groups)


def _checked(
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> RealConvolution | None:
    alone = groups > 1
    if weight.dtype != torch.float32 or (
        alone and (groups % 16 or weight.shape[1] != 1 or len(weight) != groups)
    ):
        return None
    return RealConvolution(weight.detach(), detached(bias), stride, padding, dilation, alone)


def _constant(network: GraphModule, node: Any) -> Tensor | None:
    """The tensor of the network that a node fetches."""
    if not isinstance(node, Node) or node.op != "get_attr":
        return None
    home, _, name = str(node.target).rpartition(".")
    found = getattr(network.get_submodule(home), name)
    return found if isinstance(found, Tensor) else None


def _vectors(channels: int) -> int:
    """Vectors of 16 channels whose sums stay in registers together."""
    if not has("avx512f"):
        return 1
    return next(count for count in (4, 2, 1) if channels % (16 * count) == 0)
