"""ReActNet-A: MobileNet's widths, signs with learned shifts, a shortcut around every convolution."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from vispa.networks.layers import Shape, checked_classes, checked_shape, checked_width, convolution
from vispa.nn.shifted_activations import RPReLU, RSign

__all__ = ["ReActBlock", "reactnet_a"]

# Input and output channels over the width, and stride, of every block.
BLOCKS = (
    (1, 2, 1), (2, 4, 2), (4, 4, 1), (4, 8, 2), (8, 8, 1), (8, 16, 2), *((16, 16, 1),) * 5, (16, 32, 2),
    (32, 32, 1),
)  # fmt: skip


class ReActBlock(nn.Module):
    """Two convolutions, 3 x 3 and 1 x 1, of signs, each with a shortcut and an `RPReLU`.

    Where the channels double there are two 1 x 1 convolutions, whose results are laid side by side.

    Parameters
    ----------
    inputs, outputs : int
        Channels; the outputs are as many or twice as many.
    stride : int
        1, or 2: the first shortcut averages 2 x 2 pixels then.
    published_zero : bool, default False
        Whether ``sgn(0) = 0`` in its activations, as published.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, *, published_zero: bool = False) -> None:
        super().__init__()
        if outputs not in (inputs, 2 * inputs):
            raise ValueError(
                f"outputs must be {inputs} or {2 * inputs}, once or twice inputs; found {outputs}"
            )
        self.sign_in = RSign(inputs, published_zero=published_zero)
        self.spatial = convolution(inputs, inputs, stride=stride)
        self.spatial_norm = nn.BatchNorm2d(inputs)
        self.shortcut = nn.AvgPool2d(2, 2) if stride == 2 else nn.Identity()
        self.spatial_activation = RPReLU(inputs)
        self.sign_between = RSign(inputs, published_zero=published_zero)
        self.pointwise = nn.ModuleList(
            nn.Sequential(convolution(inputs, inputs, size=1), nn.BatchNorm2d(inputs))
            for _ in range(outputs // inputs)
        )
        self.pointwise_activation = RPReLU(outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the activations."""
        spatial = self.spatial_norm(self.spatial(self.sign_in(inputs)))
        between = self.spatial_activation(self.shortcut(inputs) + spatial)
        signs = self.sign_between(between)
        branches = [branch(signs) + between for branch in self.pointwise]
        joined = branches[0] if len(branches) == 1 else torch.cat(branches, dim=1)
        activations: Tensor = self.pointwise_activation(joined)
        return activations


def reactnet_a(shape: Shape = (3, 224, 224), classes: int = 1000, *, width: int = 32) -> nn.Sequential:
    """ReActNet-A: a real 3 x 3 stem of stride 2, thirteen blocks, global average, a real linear layer.

    Binarize it with ``keep=("first", "last")`` and ``method="reactnet"``; step 1 of the published recipe trains
    it as it is, with binary activations and real weights.

    Parameters
    ----------
    shape : (channels, height, width), default (3, 224, 224)
        Of one image; height and width divisible by 32, so that shortcuts and convolutions agree.
    classes : int, default 1000
        Number of logits.
    width : int, default 32
        Channels of the stem; the last blocks have 32 times as many.

    Raises
    ------
    TypeError, ValueError
        If a size is not an integer, or does not fit.

    References
    ----------
    Liu et al., ReActNet: Towards Precise Binary Neural Network with Generalized Activation Functions, ECCV 2020.

    Examples
    --------
    >>> import vispa
    >>> from vispa.nn import binary_layers
    >>> network = vispa.binarize(reactnet_a(), method="reactnet")
    >>> sum(layer.mean.numel() for layer in binary_layers(network))
    28253184
    """
    channels, height, across = checked_shape(shape, smallest=32)
    classes, width = checked_classes(classes), checked_width(width)
    if height % 32 or across % 32:
        raise ValueError(f"shape must have height and width divisible by 32 for this network; found {shape}")
    blocks = [ReActBlock(before * width, after * width, stride) for before, after, stride in BLOCKS]
    return nn.Sequential(
        OrderedDict(
            stem=nn.Sequential(convolution(channels, width, stride=2), nn.BatchNorm2d(width)),
            blocks=nn.Sequential(*blocks),
            pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            linear=nn.Linear(BLOCKS[-1][1] * width, classes),
        )
    )
