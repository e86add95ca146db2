"""BayesBiNN: natural parameters of independent signs, relaxed samples of them, and a natural gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from vispa.nn.methods.surrogate import straight_through

__all__ = ["concrete_noise", "concrete_weight", "natural_scale"]

# As published, in both places where a fraction could be 0 / 0.
EPS = 1e-10


def concrete_noise(uniform: Tensor) -> Tensor:
    """Return ``log(u / (1 - u)) / 2``, logistic noise of scale 1/2, for u uniform on (0, 1)."""
    return 0.5 * torch.log(uniform / (1.0 - uniform))


def natural_scale(weight: Tensor, mean: Tensor, temperature: float) -> Tensor:
    r"""Return :math:`s = \frac{(1 - w^2 + \epsilon) / \tau}{1 - \mu^2 + \epsilon}`, epsilon = 1e-10.

    The derivative of the relaxed sample by the mean. In float32 ``1 - mu^2`` is exactly 0 from
    ``|lambda| = 9.01`` on, in float64 from 18.4 on: the method depends on the precision.
    """
    return ((1.0 - weight * weight + EPS) / temperature) / (1.0 - mean * mean + EPS)


def concrete_weight(natural: Tensor, noise: Tensor, mean: Tensor, temperature: float) -> Tensor:
    r"""Return the relaxed sample :math:`\tanh((\lambda + \delta) / \tau)`, its gradient times `natural_scale`.

    Parameters
    ----------
    natural : Tensor
        lambda, half the log odds of +1.
    noise : Tensor
        From `concrete_noise`.
    mean : Tensor
        mu, ``tanh(lambda)`` or, as published, that of the step before.
    temperature : float
        tau > 0.

    Examples
    --------
    >>> natural = torch.tensor([0.0, 1.0], requires_grad=True)
    >>> weight = concrete_weight(natural, torch.zeros(2), torch.zeros(2), 1.0)
    >>> weight.sum().backward()
    >>> natural.grad
    tensor([1.0000, 0.4200])
    """
    weight = torch.tanh((natural.detach() + noise) / temperature)
    return straight_through(weight, natural_scale(weight, mean, temperature) * natural)
