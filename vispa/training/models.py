"""Networks by name: two small ones defined here, and those of `vispa.networks`."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from solvers import checks
from vispa.networks import NETWORKS
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


SMALL: dict[str, Callable[..., nn.Module]] = {"convolutional": convolutional, "multilayer": multilayer}
MODELS = (*SMALL, *NETWORKS)


def build(name: str, shape: Shape, classes: int, *, binary_activations: bool) -> nn.Module:
    """Build a model, initialised from torch's default generator.

    Parameters
    ----------
    name : str
        One of `MODELS`; ``"resnet18-1w1a:16"`` has 16 channels where the network has its own number.
    shape : (channels, height, width)
        Of one image.
    classes : int
        Number of logits.
    binary_activations : bool
        False leaves activations real; those of the 1W32A networks always are.

    Raises
    ------
    ValueError
        If there is no model of that name, or the images are too small for it.

    Examples
    --------
    >>> import torch
    >>> build("resnet18-1w1a:4", (3, 32, 32), 10, binary_activations=True)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    base, width = _parse(name)
    options = {} if width is None else {"width": width}
    if base in NETWORKS:
        return NETWORKS[base].build(shape, classes, binary_activations=binary_activations, **options)
    return SMALL[base](shape, classes, SignActivation if binary_activations else nn.Hardtanh, **options)


def kept_real(name: str) -> tuple[str, ...]:
    """Return what `vispa.binarize` is to keep real in the model of that name."""
    base, _ = _parse(name)
    return NETWORKS[base].keep if base in NETWORKS else ("first", "last")


def image_size_of(name: str) -> int | None:
    """Return height and width of the images that the paper trains the model on; None for our own models."""
    base, _ = _parse(name)
    return NETWORKS[base].shape[1] if base in NETWORKS else None


def _parse(name: str) -> tuple[str, int | None]:
    base, colon, width = name.partition(":") if isinstance(name, str) else (name, "", "")
    checks.choice("model", base, MODELS)
    if not colon:
        return base, None
    if not (width.isascii() and width.isdigit() and int(width) >= 1):
        raise ValueError(f"model must have a positive number after the colon, its width; found {name!r}")
    return base, int(width)
