"""The networks that the paper trains on ImageNet: AlexNet, Bi-Real-18 and ResNet-18."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from vispa.networks.layers import (
    Residual,
    Shape,
    binary_input,
    checked_classes,
    checked_shape,
    checked_width,
    convolution,
)
from vispa.networks.resnet import Block, stages

__all__ = ["alexnet", "birealnet18", "resnet18"]


def alexnet(
    shape: Shape = (3, 224, 224), classes: int = 1000, *, width: int = 32, binary_activations: bool = True
) -> nn.Sequential:
    """AlexNet with batch normalisation: first convolution and last linear layer real.

    Convolutions 11 x 11 to 96 channels, 5 x 5 to 256, 3 x 3 to 384, 384 and 256, linear layers
    9216-4096-4096-classes; batch normalisation, which makes biases superfluous, before pooling; a little
    dropout before the binary linear layers.

    Parameters
    ----------
    shape : (channels, height, width), default (3, 224, 224)
        Of one image; height and width at least 63.
    classes : int, default 1000
        Number of logits.
    width : int, default 32
        The unit of all widths: 3, 8, 12, 12, 8 times in convolutions, 128 times in linear layers.
    binary_activations : bool, default True
        Whether the inputs of the binary layers are signs; ReLU follows every normalisation otherwise.

    Raises
    ------
    TypeError, ValueError
        If a size is not an integer, or too small.

    Examples
    --------
    >>> import torch
    >>> alexnet((3, 63, 63), 10, width=1)(torch.zeros(2, 3, 63, 63)).shape
    torch.Size([2, 10])
    """
    channels, height, across = checked_shape(shape, smallest=63)
    classes, width = checked_classes(classes), checked_width(width)

    def normalised(features: int, size: int = 2, eps: float = 1e-3) -> list[nn.Module]:
        normalisation = nn.BatchNorm2d(features, eps) if size == 2 else nn.BatchNorm1d(features, eps)
        return [normalisation] if binary_activations else [normalisation, nn.ReLU()]

    signs, units, hidden = binary_input, [3, 8, 12, 12, 8], 128 * width
    layers: list[nn.Module] = [
        nn.Conv2d(channels, 3 * width, 11, stride=4, padding=2, bias=False),
        *normalised(3 * width, eps=1e-5),
        nn.MaxPool2d(3, stride=2),
    ]
    for index, size in enumerate((5, 3, 3, 3)):
        before, after = (unit * width for unit in units[index : index + 2])
        layers += [
            *signs(binary_activations),
            convolution(before, after, size),
            *normalised(after),
        ]
        if index in (0, 3):
            layers.append(nn.MaxPool2d(3, stride=2))
    flat = 8 * width * _pooled(height) * _pooled(across)
    layers.append(nn.Flatten())
    for inputs in (flat, hidden):
        layers += [
            nn.Dropout(0.1),
            *signs(binary_activations),
            nn.Linear(inputs, hidden, bias=False),
            *normalised(hidden, size=1),
        ]
    return nn.Sequential(*layers, nn.Linear(hidden, classes))


def birealnet18(
    shape: Shape = (3, 224, 224), classes: int = 1000, *, width: int = 64, binary_activations: bool = True
) -> nn.Sequential:
    """Bi-Real-18: a shortcut around each of 16 binary convolutions, hardtanh after each sum.

    Shortcuts are real 1 x 1 convolutions where a stage begins: binarize it with
    ``keep=("first", "last", *REAL_SHORTCUTS)``.

    Parameters
    ----------
    shape : (channels, height, width), default (3, 224, 224)
        Of one image; height and width at least 32.
    classes : int, default 1000
        Number of logits.
    width : int, default 64
        Channels of the first stage; each later stage has twice as many.
    binary_activations : bool, default True
        Whether the inputs of the 16 convolutions are signs; hardtanh alone otherwise.

    Raises
    ------
    TypeError, ValueError
        If a size is not an integer, or too small.

    References
    ----------
    Liu et al., Bi-Real Net, ECCV 2018.
    """

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        branch = nn.Sequential(
            *binary_input(binary_activations),
            convolution(inputs, outputs, stride=stride),
            nn.BatchNorm2d(outputs),
        )
        return Residual(branch, _downsample(inputs, outputs, stride), nn.Hardtanh())

    return _large_image_resnet(shape, classes, width, 4, block, nn.Hardtanh())


def resnet18(shape: Shape = (3, 224, 224), classes: int = 1000, *, width: int = 64) -> nn.Sequential:
    """ResNet-18 with ReLU, for real activations; parameters, shortcuts and ``keep`` as `birealnet18`."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        branch = nn.Sequential(
            convolution(inputs, outputs, stride=stride),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            convolution(outputs, outputs),
            nn.BatchNorm2d(outputs),
        )
        return Residual(branch, _downsample(inputs, outputs, stride), nn.ReLU())

    return _large_image_resnet(shape, classes, width, 2, block, nn.ReLU())


def _downsample(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(convolution(inputs, outputs, size=1, stride=stride), nn.BatchNorm2d(outputs))


def _large_image_resnet(
    shape: Shape, classes: int, width: int, blocks: int, block: Block, activation: nn.Module
) -> nn.Sequential:
    channels, _, _ = checked_shape(shape, smallest=32)
    classes, width = checked_classes(classes), checked_width(width)
    stem = nn.Sequential(
        convolution(channels, width, size=7, stride=2),
        nn.BatchNorm2d(width),
        activation,
        nn.MaxPool2d(3, stride=2, padding=1),
    )
    return nn.Sequential(
        OrderedDict(
            stem=stem,
            **stages(width, blocks, block),
            pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            linear=nn.Linear(8 * width, classes),
        )
    )


def _pooled(size: int) -> int:
    """Pixels along one side before the linear layers: 6 of 224."""
    size = (size + 4 - 11) // 4 + 1
    for _ in range(3):
        size = (size - 3) // 2 + 1
    return size
