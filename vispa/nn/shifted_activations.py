"""Activations of ReActNet: a sign and a PReLU with learned shifts of every channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import prelu

from solvers import checks
from vispa.estimators.kernels import Kernel, KernelFunction, as_kernel
from vispa.nn.methods.surrogate import signs, straight_through

__all__ = ["RPReLU", "RSign", "scaled_by_sample"]


def _over_channels(values: Tensor, inputs: Tensor) -> Tensor:
    """View one value a channel so that it adds to inputs of shape (batch, channels, ...)."""
    return values.view(1, -1, *[1] * (inputs.ndim - 2))


class RSign(nn.Module):
    """``sgn(x + b)`` with a learned shift b of every channel.

    Parameters
    ----------
    channels : int
        Size of the second axis of the inputs.
    kernel : str, Kernel or callable, default "bi-real"
        Of ``x + b``, as in :class:`vispa.SignActivation`.
    published_zero : bool, default False
        Whether ``sgn(0) = 0``, as published.

    References
    ----------
    Liu et al., ReActNet, ECCV 2020.

    Examples
    --------
    >>> activation = RSign(1)
    >>> _ = activation.shift.data.fill_(0.5)
    >>> activation(torch.tensor([[-0.25], [-0.75]])).tolist()
    [[1.0], [-1.0]]
    """

    def __init__(
        self,
        channels: int,
        kernel: str | Kernel | KernelFunction = "bi-real",
        *,
        published_zero: bool = False,
    ) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(checks.integer("channels", channels, minimum=1)))
        self.kernel = as_kernel(kernel)
        self.published_zero = checks.boolean("published_zero", published_zero)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the signs."""
        moved = inputs + _over_channels(self.shift, inputs)
        slope = self.kernel(moved.detach())
        return straight_through(signs(moved, self.published_zero), slope * moved)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"{self.shift.numel()}, kernel={self.kernel.name!r}"


class RPReLU(nn.Module):
    """``PReLU(x + b) + b'`` with learned shifts and slope of every channel.

    Parameters
    ----------
    channels : int
        Size of the second axis of the inputs.

    References
    ----------
    Liu et al., ReActNet, ECCV 2020.

    Examples
    --------
    >>> RPReLU(1)(torch.tensor([[-4.0], [2.0]])).tolist()
    [[-1.0], [2.0]]
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        channels = checks.integer("channels", channels, minimum=1)
        self.shift_in = nn.Parameter(torch.zeros(channels))
        self.slope = nn.Parameter(torch.full((channels,), 0.25))
        self.shift_out = nn.Parameter(torch.zeros(channels))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the values."""
        values = prelu(inputs + _over_channels(self.shift_in, inputs), self.slope)
        return values + _over_channels(self.shift_out, inputs)

    def extra_repr(self) -> str:
        """Return the options."""
        return str(self.slope.numel())


def scaled_by_sample(inputs: Tensor, eps: float = 1e-5) -> Tensor:
    """Return inputs divided by the deviation of each sample over all its entries, as ReCU and BiPer train.

    The variance has ``n - 1`` below and ``eps`` added; signs stay, and the kernel behind sees one size.

    Examples
    --------
    >>> scaled_by_sample(torch.tensor([[3.0, -3.0]]), eps=0.0)
    tensor([[ 0.7071, -0.7071]])
    """
    variance = inputs.var(tuple(range(1, inputs.ndim)), keepdim=True)
    return inputs / torch.sqrt(variance + eps)
