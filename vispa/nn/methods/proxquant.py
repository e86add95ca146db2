"""ProxQuant: real weights, moved towards their nearest sign by a proximal step after every step."""

from __future__ import annotations

from torch import Tensor

from vispa.nn.methods.surrogate import straight_through

__all__ = ["lazy_weight", "prox"]


def prox(weights: Tensor, strength: Tensor | float) -> Tensor:
    r"""Return weights moved by up to ``strength`` towards the nearer of -1 and +1; zero stays zero.

    The proximal map of ``strength`` times the distance to {-1, 1}.

    Examples
    --------
    >>> import torch
    >>> prox(torch.tensor([0.5, -0.75, 1.5, 0.0]), 0.25)
    tensor([ 0.7500, -1.0000,  1.2500,  0.0000])
    """
    excess = weights.abs() - 1.0
    return weights.sign() * (1.0 + excess.sign() * (excess.abs() - strength).clamp_min(0.0))


def lazy_weight(weights: Tensor) -> Tensor:
    """Return ``prox(w, 1)`` differentiated as w: the published baseline, BinaryConnect within [-2, 2]."""
    return straight_through(prox(weights, 1.0), weights)
