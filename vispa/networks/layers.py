"""The pieces that the networks share: a residual branch, a shortcut without weights, checks of sizes."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import pad

from solvers import checks
from vispa.nn import SignActivation

__all__ = [
    "PadChannels",
    "Residual",
    "Shape",
    "binary_input",
    "checked_classes",
    "checked_shape",
    "checked_width",
    "convolution",
]

Shape = tuple[int, int, int]


class Residual(nn.Module):
    """``activation(branch(x) + shortcut(x))``."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.activation = activation

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the activated sum."""
        outputs: Tensor = self.activation(self.branch(inputs) + self.shortcut(inputs))
        return outputs


class PadChannels(nn.Module):
    """Appends channels of zeros, half of them before the others: (N, C, H, W) to (N, C + extra, H, W)."""

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.extra = extra

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the wider tensor."""
        before = self.extra // 2
        return pad(inputs, (0, 0, 0, 0, before, self.extra - before))

    def extra_repr(self) -> str:
        """Return the number of channels."""
        return f"extra={self.extra}"


def convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    """Square convolution without bias, padded so that stride 1 keeps height and width."""
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)


def binary_input(binary: bool) -> list[nn.Module]:
    """Return what stands before a binary layer: signs, or nothing where activations stay real."""
    return [SignActivation()] if binary else []


def checked_shape(shape: Shape, smallest: int) -> Shape:
    """Return (channels, height, width), refusing what is no shape of an image at least ``smallest`` wide."""
    if not isinstance(shape, tuple | list) or len(shape) != 3:
        raise ValueError(f"shape must be (channels, height, width) of one image; found {shape!r}")
    channels, height, width = (checks.integer("shape", size, minimum=1) for size in shape)
    if min(height, width) < smallest:
        raise ValueError(
            f"shape must have height and width of at least {smallest} for this network; found {tuple(shape)}"
        )
    return channels, height, width


def checked_classes(classes: int) -> int:
    """Return the number of logits."""
    return checks.integer("classes", classes, minimum=2)


def checked_width(width: int) -> int:
    """Return the number of channels that the others are multiples of."""
    return checks.integer("width", width, minimum=1)
