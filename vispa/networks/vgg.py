"""The two networks of VGG's kind that the paper trains on CIFAR."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from vispa.networks.layers import (
    Shape,
    binary_input,
    checked_classes,
    checked_shape,
    checked_width,
    convolution,
)

__all__ = ["vgg16", "vgg_small"]

VGG16_STAGES = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))


def vgg_small(
    shape: Shape = (3, 32, 32), classes: int = 10, *, width: int = 128, binary_activations: bool = True
) -> nn.Sequential:
    """VGG-Small: a real convolution, five binary ones, a real linear layer.

    Each binary convolution: signs, convolution, max-pooling after the first, third and fifth, batch
    normalisation, PReLU.

    Parameters
    ----------
    shape : (channels, height, width), default (3, 32, 32)
        Of one image; height and width at least 8.
    classes : int, default 10
        Number of logits.
    width : int, default 128
        Channels of the first convolution; the others have one, two and four times as many.
    binary_activations : bool, default True
        Whether the inputs of the five convolutions are signs; PReLU alone otherwise.

    Raises
    ------
    TypeError, ValueError
        If a size is not an integer, or too small.

    Examples
    --------
    >>> import torch, vispa
    >>> from vispa.nn import binary_layers
    >>> network = vispa.binarize(vgg_small())
    >>> sum(layer.mean.numel() for layer in binary_layers(network))
    4571136
    """
    channels, height, across = checked_shape(shape, smallest=8)
    classes, width = checked_classes(classes), checked_width(width)
    widths = [width, width, 2 * width, 2 * width, 4 * width, 4 * width]
    layers: list[nn.Module] = [convolution(channels, width), nn.BatchNorm2d(width), nn.PReLU(width)]
    for index in range(5):
        before, after = widths[index : index + 2]
        layers += [*binary_input(binary_activations), convolution(before, after)]
        if index % 2 == 0:
            layers.append(nn.MaxPool2d(2))
        layers += [nn.BatchNorm2d(after), nn.PReLU(after)]
    linear = nn.Linear(4 * width * (height // 8) * (across // 8), classes)
    return nn.Sequential(*layers, nn.Flatten(), linear)


def vgg16(shape: Shape = (3, 32, 32), classes: int = 10, *, width: int = 64) -> nn.Sequential:
    """VGG-16 as the paper trains it with real activations: all 13 convolutions and 3 linear layers binary.

    Convolution, max-pooling at the end of a stage, batch normalisation without scale and shift, ReLU; the
    logits are normalised too. Binarize it with ``keep=()``.

    Parameters
    ----------
    shape : (channels, height, width), default (3, 32, 32)
        Of one image; height and width at least 32.
    classes : int, default 10
        Number of logits.
    width : int, default 64
        Channels of the first stage; the others have 2, 4, 8 and 8 times as many.

    Raises
    ------
    TypeError, ValueError
        If a size is not an integer, or too small.

    Examples
    --------
    >>> import torch, vispa
    >>> from vispa.nn import binary_layers
    >>> network = vispa.binarize(vgg16(classes=100), keep=())
    >>> sum(layer.mean.numel() for layer in binary_layers(network))
    15285952
    """
    channels, height, across = checked_shape(shape, smallest=32)
    classes, width = checked_classes(classes), checked_width(width)
    features = 8 * width
    flat = features * (height // 32) * (across // 32)
    return nn.Sequential(
        *_vgg16_stages(channels, width),
        nn.Flatten(),
        nn.Linear(flat, features, bias=False),
        nn.BatchNorm1d(features, affine=False),
        nn.ReLU(),
        nn.Linear(features, features, bias=False),
        nn.BatchNorm1d(features, affine=False),
        nn.ReLU(),
        nn.Linear(features, classes, bias=False),
        nn.BatchNorm1d(classes, affine=False),
    )


def _vgg16_stages(channels: int, width: int) -> Iterator[nn.Module]:
    for stage in VGG16_STAGES:
        for index, multiple in enumerate(stage):
            yield convolution(channels, multiple * width)
            if index == len(stage) - 1:
                yield nn.MaxPool2d(2)
            yield nn.BatchNorm2d(multiple * width, momentum=0.2, affine=False)
            yield nn.ReLU()
            channels = multiple * width
