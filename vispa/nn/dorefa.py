"""DoReFa's quantisers of a few bits: activations in [0, 1], weights in [-1, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from solvers import checks
from vispa.nn.methods.surrogate import straight_through

__all__ = ["dorefa_activations", "dorefa_weights"]


def _rounded(values: Tensor, bits: int) -> Tensor:
    """Round values in [0, 1] to ``2^bits`` levels, halves to even, differentiated as the identity."""
    steps = 2 ** checks.integer("bits", bits, minimum=1) - 1
    return straight_through(torch.round(steps * values) / steps, values)


def dorefa_activations(inputs: Tensor, bits: int = 2) -> Tensor:
    """Return inputs clipped to [0, 1] and rounded to ``2^bits`` levels; the gradient is that of the clip.

    References
    ----------
    Zhou et al., DoReFa-Net, 2016.

    Examples
    --------
    >>> dorefa_activations(torch.tensor([-1.0, 0.25, 0.6, 2.0]), 2).tolist()
    [0.0, 0.333..., 0.666..., 1.0]
    """
    return _rounded(torch.clamp(inputs, 0.0, 1.0), bits)


def dorefa_weights(weights: Tensor, bits: int = 2) -> Tensor:
    r"""Return :math:`2\, \mathrm{round}(\tanh w / (2 \max |\tanh w|) + 1/2) - 1` on ``2^bits`` levels.

    The gradient is that of ``tanh w / max |tanh w|``, the maximum a constant.

    Examples
    --------
    >>> dorefa_weights(torch.tensor([-1.0, 0.1, 1.0]), 1).tolist()
    [-1.0, 1.0, 1.0]
    """
    waves = torch.tanh(weights)
    largest = waves.detach().abs().max()
    return 2.0 * _rounded(waves / (2.0 * largest) + 0.5, bits) - 1.0
