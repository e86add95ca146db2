"""ReCU: rectified clamp units, which pull the tails of the weights back to a quantile."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vispa.nn.methods.surrogate import channel_mean, signs, straight_through
from vispa.nn.weights.autograd import per_channel

__all__ = ["clamp_quantile", "recu_latent", "recu_weight"]

EPS = 1e-5


def recu_latent(rows: Tensor) -> Tensor:
    r"""Return rows of mean 0 and deviation :math:`2 \sqrt 2`, up to 1e-5 in the variance."""
    centred = rows - channel_mean(rows)
    variance = centred.flatten(1).square().sum(1) / (centred[0].numel() - 1)
    deviation = torch.sqrt(variance + EPS) / (2.0 * math.sqrt(2.0))
    return centred / per_channel(deviation, rows)


def recu_weight(rows: Tensor, tau: Tensor, *, published_zero: bool = False) -> Tensor:
    r"""Return the signs of normalised rows, differentiated as the rows clamped to :math:`[-Q, Q]`.

    :math:`Q = -\mathrm{mean} |w| \ln(2 - 2 \tau)` over the layer is the quantile tau of a Laplace law.

    Parameters
    ----------
    rows : Tensor of shape (out_channels, ...)
        Latent weights, at least two a row.
    tau : Tensor of one element
        In (1/2, 1).
    published_zero : bool, default False
        Whether ``sgn(0) = 0``, as published.

    Examples
    --------
    >>> rows = torch.tensor([[1.0, 1.0, -1.0, 30.0]], requires_grad=True)
    >>> recu_weight(rows, torch.tensor(0.85)).tolist()
    [[-1.0, -1.0, -1.0, 1.0]]
    """
    values = recu_latent(rows)
    bound = -values.detach().abs().mean() * torch.log(2.0 - 2.0 * tau)
    clamped = torch.clamp(values, -bound, bound)
    return straight_through(signs(clamped, published_zero), clamped)


def clamp_quantile(progress: float, start: float, end: float) -> float:
    """Return tau at a share of training: from ``start`` to ``end`` along an exponential.

    Examples
    --------
    >>> clamp_quantile(0.0, 0.85, 0.99), clamp_quantile(1.0, 0.85, 0.99)
    (0.85, 0.99)
    """
    return start + (end - start) * (math.exp(progress) - 1.0) / (math.e - 1.0)
