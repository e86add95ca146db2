"""XNOR-Net: the mean magnitude of a channel as its scale, differentiated, over centred and clamped weights."""

from __future__ import annotations

from torch import Tensor

from vispa.nn.methods.surrogate import channel_mean, signs, straight_through

__all__ = ["centred_and_clamped", "xnor_weight"]


def centred_and_clamped(rows: Tensor) -> Tensor:
    """Return rows less their mean over input channels, clamped to [-1, 1]: where every step keeps them.

    Examples
    --------
    >>> import torch
    >>> centred_and_clamped(torch.tensor([[3.0, 0.0, 0.0]])).tolist()
    [[1.0, -1.0, -1.0]]
    """
    return (rows - rows.mean(dim=1, keepdim=True)).clamp(-1.0, 1.0)


def xnor_weight(rows: Tensor, *, published_zero: bool = False) -> Tensor:
    r"""Return ``alpha_c sgn(W)``, ``alpha_c = mean_c |W|``, with the gradient of the PyTorch port.

    It is that of ``alpha_c clamp(W)``, alpha differentiated too, times :math:`(1 - 1/C_{in}) n` for a row of n
    weights and :math:`C_{in}` input channels.

    Examples
    --------
    >>> import torch
    >>> xnor_weight(torch.tensor([[0.5, -0.25, -0.25, 1.0]])).tolist()
    [[0.5, -0.5, -0.5, 0.5]]
    """
    scale = channel_mean(rows.abs())
    weight = scale * straight_through(signs(rows, published_zero), rows.clamp(-1.0, 1.0))
    factor = (1.0 - 1.0 / rows.shape[1]) * rows[0].numel()
    return straight_through(weight, factor * weight)
