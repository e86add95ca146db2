"""Small plain torch networks.  `vispa.binarize` makes the middle layers binary; first and last stay float."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from solvers import checks
from vispa.nn import SignActivation

Activation = Callable[[], nn.Module]
Shape = tuple[int, int, int]


def convolutional(shape: Shape, classes: int, activation: Activation, *, width: int = 32) -> nn.Module:
    """Three 3 x 3 convolutions of width, 2 width, 2 width channels, and one linear layer.

    Pooling comes first and last, before the batch normalisation whose signs go on: 8 x 8 images cost little.

    Parameters
    ----------
    shape : (channels, height, width)
        Of one image; height and width at least 4.
    classes : int
        Number of logits.
    activation : callable
        Makes one activation module; `vispa.SignActivation` for binary activations, `nn.Hardtanh` for float.
    width : int, optional
        Channels of the first convolution.

    Examples
    --------
    >>> import torch
    >>> network = convolutional((1, 8, 8), 10, nn.Hardtanh)
    >>> network(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """
    channels, height, across = shape
    double = 2 * width
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(width),
        activation(),
        nn.Conv2d(width, double, 3, padding=1, bias=False),
        nn.BatchNorm2d(double),
        activation(),
        nn.Conv2d(double, double, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(double),
        activation(),
        nn.Flatten(),
        nn.Linear(double * (height // 4) * (across // 4), classes),
    )


def multilayer(shape: Shape, classes: int, activation: Activation, *, width: int = 128) -> nn.Module:
    """Two hidden linear layers of the given width; parameters as in `convolutional`."""
    channels, height, across = shape
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * height * across, width, bias=False),
        nn.BatchNorm1d(width),
        activation(),
        nn.Linear(width, width, bias=False),
        nn.BatchNorm1d(width),
        activation(),
        nn.Linear(width, classes),
    )


MODELS: dict[str, Callable[[Shape, int, Activation], nn.Module]] = {
    "convolutional": convolutional,
    "multilayer": multilayer,
}


def build(name: str, shape: Shape, classes: int, *, binary_activations: bool) -> nn.Module:
    """Build the model of the given name, initialised from torch's default generator.

    Raises
    ------
    ValueError
        If there is no model of that name.
    """
    builder = MODELS[checks.choice("model", name, tuple(MODELS))]
    return builder(shape, classes, SignActivation if binary_activations else nn.Hardtanh)
