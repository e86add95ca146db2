"""ResNet-18 for small images, in the two forms that the paper trains on CIFAR and Tiny-ImageNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import nn

from vispa.networks.layers import (
    PadChannels,
    Residual,
    Shape,
    binary_input,
    checked_classes,
    checked_shape,
    checked_width,
    convolution,
)

__all__ = ["REAL_SHORTCUTS", "resnet18_1w1a", "resnet18_1w32a", "stages"]

Block = Callable[[int, int, int], nn.Module]

# The shortcuts with a convolution: those of the first block of every stage but the first.
REAL_SHORTCUTS = tuple(f"stage{number}.0.shortcut" for number in (2, 3, 4))


def resnet18_1w1a(
    shape: Shape = (3, 32, 32), classes: int = 10, *, width: int = 64, binary_activations: bool = True
) -> nn.Sequential:
    """ResNet-18 for small images with hardtanh, and shortcuts without weights.

    A real 3 x 3 stem, four stages of two blocks, global average, batch normalisation, a real linear layer.
    A block: signs, convolution, batch normalisation, hardtanh, and again without the last; shortcuts
    average 2 x 2 pixels and append channels of zeros where a stage begins.

    Parameters
    ----------
    shape : (channels, height, width), default (3, 32, 32)
        Of one image; height and width at least 8.
    classes : int, default 10
        Number of logits.
    width : int, default 64
        Channels of the first stage; each later stage has twice as many.
    binary_activations : bool, default True
        Whether the inputs of the 16 convolutions in blocks are signs; hardtanh alone otherwise.

    Raises
    ------
    TypeError, ValueError
        If a size is not an integer, or too small.

    Examples
    --------
    >>> import torch, vispa
    >>> from vispa.nn import binary_layers
    >>> network = vispa.binarize(resnet18_1w1a())
    >>> sum(layer.mean.numel() for layer in binary_layers(network))
    10985472
    """

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        branch = nn.Sequential(
            *binary_input(binary_activations),
            convolution(inputs, outputs, stride=stride),
            nn.BatchNorm2d(outputs),
            nn.Hardtanh(),
            *binary_input(binary_activations),
            convolution(outputs, outputs),
            nn.BatchNorm2d(outputs),
        )
        return Residual(branch, _averaging_shortcut(inputs, outputs, stride), nn.Hardtanh())

    return _small_image_resnet(shape, classes, width, block, [])


def resnet18_1w32a(shape: Shape = (3, 32, 32), classes: int = 10, *, width: int = 64) -> nn.Sequential:
    """ResNet-18 for small images with ReLU, and 1 x 1 convolutions as shortcuts where a stage begins.

    The shortcuts stay real: binarize it with ``keep=("first", "last", *REAL_SHORTCUTS)``. Their batch
    normalisation has no scale and shift.

    Parameters
    ----------
    shape : (channels, height, width), default (3, 32, 32)
        Of one image; height and width at least 8. Tiny-ImageNet: (3, 64, 64).
    classes : int, default 10
        Number of logits.
    width : int, default 64
        Channels of the first stage; each later stage has twice as many.

    Raises
    ------
    TypeError, ValueError
        If a size is not an integer, or too small.

    Examples
    --------
    >>> import torch, vispa
    >>> from vispa.nn import binary_layers
    >>> network = vispa.binarize(resnet18_1w32a(), keep=("first", "last", *REAL_SHORTCUTS))
    >>> sum(layer.mean.numel() for layer in binary_layers(network))
    10985472
    """

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        branch = nn.Sequential(
            convolution(inputs, outputs, stride=stride),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            convolution(outputs, outputs),
            nn.BatchNorm2d(outputs),
        )
        shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            normalisation = nn.BatchNorm2d(outputs, momentum=0.2, affine=False)
            shortcut = nn.Sequential(convolution(inputs, outputs, size=1, stride=stride), normalisation)
        return Residual(branch, shortcut, nn.ReLU())

    return _small_image_resnet(shape, classes, width, block, [nn.ReLU()])


def stages(width: int, blocks: int, block: Block) -> OrderedDict[str, nn.Module]:
    """Four stages by name, doubling the channels and, from the second on, halving height and width."""
    found: OrderedDict[str, nn.Module] = OrderedDict()
    before = width
    for index in range(4):
        after, stride = width * 2**index, 1 if index == 0 else 2
        modules = [block(before, after, stride), *(block(after, after, 1) for _ in range(blocks - 1))]
        found[f"stage{index + 1}"] = nn.Sequential(*modules)
        before = after
    return found


def _averaging_shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    # Odd sizes round up, as those of the convolution do.
    return nn.Sequential(nn.AvgPool2d(stride, ceil_mode=True), PadChannels(outputs - inputs))


def _small_image_resnet(
    shape: Shape, classes: int, width: int, block: Block, activation: list[nn.Module]
) -> nn.Sequential:
    channels, _, _ = checked_shape(shape, smallest=8)
    classes, width = checked_classes(classes), checked_width(width)
    features = 8 * width
    return nn.Sequential(
        OrderedDict(
            stem=nn.Sequential(convolution(channels, width), nn.BatchNorm2d(width), *activation),
            **stages(width, 2, block),
            pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            norm=nn.BatchNorm1d(features),
            linear=nn.Linear(features, classes),
        )
    )
