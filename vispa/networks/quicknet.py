"""QuickNet: the network that Larq's authors made for their engine of one-bit convolutions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from solvers import checks
from vispa.networks.layers import Residual, Shape, checked_classes, checked_shape, checked_width, convolution
from vispa.nn import SignActivation

__all__ = ["REAL_TRANSITIONS", "Blur", "quicknet"]

# What stays real between the sections, with ``"stem"`` and ``"last"``.
REAL_TRANSITIONS = tuple(f"transition{number}" for number in (2, 3, 4))


class Blur(nn.Module):
    """A fixed 3 x 3 binomial filter of every channel, at every second pixel: pooling that shifts little.

    References
    ----------
    Zhang, Making convolutional networks shift-invariant again, ICML 2019.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        row = torch.tensor([1.0, 2.0, 1.0])
        self.filter: Tensor
        self.register_buffer("filter", (torch.outer(row, row) / 16).expand(channels, 1, 3, 3).clone())

    def forward(self, inputs: Tensor) -> Tensor:
        """Return half the height and width, rounded up."""
        return conv2d(inputs, self.filter, stride=2, padding=1, groups=self.channels)


def quicknet(
    shape: Shape = (3, 224, 224),
    classes: int = 1000,
    *,
    width: int = 64,
    blocks: Sequence[int] = (4, 4, 4, 4),
    binary_activations: bool = True,
) -> nn.Sequential:
    """QuickNet: a light real stem, four sections of binary 3 x 3 convolutions with shortcuts, real transitions.

    A block is signs padded by +1, convolution, ReLU, batch normalisation, and the sum with its input. Binarize it
    with ``keep=("stem", *REAL_TRANSITIONS, "last")``.

    Parameters
    ----------
    shape : (channels, height, width), default (3, 224, 224)
        Of one image; height and width at least 32.
    classes : int, default 1000
        Number of logits.
    width : int, default 64
        Channels of the first section, a multiple of 4; each later section has twice as many.
    blocks : four int, default (4, 4, 4, 4)
        Blocks of each section; (6, 8, 12, 6) is QuickNetLarge.
    binary_activations : bool, default True
        Whether the inputs of the convolutions in blocks are signs; they are padded by zeros otherwise.

    Raises
    ------
    TypeError, ValueError
        If a size is not an integer, or too small, or ``width`` is no multiple of 4.

    Notes
    -----
    Strided convolutions are padded on both sides, as torch does, where TensorFlow pads one.

    References
    ----------
    Bannink et al., Larq Compute Engine, MLSys 2021; ``larq_zoo.sota.QuickNet``, whose weights were clipped at 1.25.

    Examples
    --------
    >>> import torch
    >>> quicknet((3, 32, 32), 10, width=4, blocks=(1, 1, 1, 1))(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    channels, _, _ = checked_shape(shape, smallest=32)
    classes, width = checked_classes(classes), checked_width(width)
    if width % 4:
        raise ValueError(f"width must be a multiple of 4, for the stem has a quarter of it; found {width}")
    if len(blocks) != 4:
        raise ValueError(f"blocks must be four numbers, one a section; found {tuple(blocks)}")
    binary = checks.boolean("binary_activations", binary_activations)
    parts: OrderedDict[str, nn.Module] = OrderedDict(stem=_stem(channels, width))
    for number, count in enumerate(blocks, start=1):
        features = width * 2 ** (number - 1)
        if number > 1:
            parts[f"transition{number}"] = _transition(features // 2, features)
        several = range(checks.integer("blocks", count, minimum=1))
        parts[f"section{number}"] = nn.Sequential(*(_block(features, binary) for _ in several))
    parts["pool"] = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    parts["linear"] = nn.Linear(8 * width, classes)
    return nn.Sequential(parts)


def _stem(channels: int, width: int) -> nn.Module:
    quarter = width // 4
    return nn.Sequential(
        convolution(channels, quarter, stride=2),
        nn.BatchNorm2d(quarter),
        nn.ReLU(),
        nn.Conv2d(quarter, quarter, 3, stride=2, padding=1, groups=quarter, bias=False),
        nn.BatchNorm2d(quarter, affine=False),
        convolution(quarter, width, size=1),
        nn.BatchNorm2d(width),
    )


def _block(features: int, binary: bool) -> nn.Module:
    signs = [SignActivation(one_padding=1)] if binary else []
    layer = nn.Conv2d(features, features, 3, padding=0 if binary else 1, bias=False)
    branch = nn.Sequential(*signs, layer, nn.ReLU(), nn.BatchNorm2d(features))
    return Residual(branch, nn.Identity(), nn.Identity())


def _transition(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(),
        nn.MaxPool2d(2, stride=1),
        Blur(inputs),
        convolution(inputs, outputs, size=1),
        nn.BatchNorm2d(outputs),
    )
