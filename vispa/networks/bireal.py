"""The block of Bi-Real Net: one binary convolution with a shortcut of real numbers around it."""

from __future__ import annotations

from torch import Tensor, nn

from solvers import checks
from vispa.networks.layers import convolution
from vispa.nn import SignActivation

__all__ = ["BiRealBlock"]


class BiRealBlock(nn.Module):
    """``x' + BN(conv3x3(sgn(x)))``, with ``x'`` the input or, where its shape changes, a real 1 x 1 convolution.

    The changed shortcut averages 2 x 2 pixels where the stride is 2, convolves and normalises; keep it real:
    ``vispa.binarize(..., keep=("first", "last", "*.shortcut.*"))``.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    stride : int
        1 or 2; height and width are even for 2.

    Raises
    ------
    ValueError
        If a number of channels is below 1, or the stride another.

    References
    ----------
    Liu et al., Bi-Real Net, ECCV 2018.

    Examples
    --------
    >>> import torch
    >>> BiRealBlock(4, 8, 2)(torch.ones(1, 4, 6, 6)).shape
    torch.Size([1, 8, 3, 3])
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        checks.integer("inputs", inputs, minimum=1)
        checks.integer("outputs", outputs, minimum=1)
        checks.integer("stride", stride, minimum=1, maximum=2)
        self.sign = SignActivation()
        self.spatial = convolution(inputs, outputs, stride=stride)
        self.norm = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride == 2 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride), convolution(inputs, outputs, size=1), nn.BatchNorm2d(outputs)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the activations, which are real."""
        outputs: Tensor = self.norm(self.spatial(self.sign(inputs))) + self.shortcut(inputs)
        return outputs
