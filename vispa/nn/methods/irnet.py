"""IR-Net: standardised rows, a power of two as scale, and a tanh that grows steep."""

from __future__ import annotations

import torch
from torch import Tensor

from vispa.nn.methods.surrogate import channel_mean, signs, standardised, straight_through

__all__ = ["ede_sharpness", "irnet_weight"]


def irnet_weight(rows: Tensor, sharpness: Tensor, *, published_zero: bool = False) -> Tensor:
    r"""Return ``alpha sgn(v)`` for standardised rows v, differentiated as ``alpha k tanh(t v)``.

    :math:`\alpha = 2^{\mathrm{round} \log_2 \mathrm{mean}_c |v|}` without a gradient, :math:`k = \max(1/t, 1)`.

    Parameters
    ----------
    rows : Tensor of shape (out_channels, ...)
        Latent weights, at least two a row.
    sharpness : Tensor of one element
        t > 0.
    published_zero : bool, default False
        Whether ``sgn(0) = 0``, as published.

    Examples
    --------
    >>> irnet_weight(torch.tensor([[0.1, 0.2, -0.6]]), torch.tensor(0.1)).tolist()
    [[1.0, 1.0, -1.0]]
    """
    values = standardised(rows)
    scale = torch.exp2(torch.log2(channel_mean(values.detach().abs())).round())
    slope = torch.clamp_min(1.0 / sharpness, 1.0)
    return straight_through(
        scale * signs(values, published_zero), scale * slope * torch.tanh(sharpness * values)
    )


def ede_sharpness(progress: float, start: float, end: float) -> float:
    """Return t of the error decay estimator, ``start (end / start)^progress``.

    Examples
    --------
    >>> ede_sharpness(0.5, 0.1, 10.0)
    1.0
    """
    return float(start * (end / start) ** progress)
