"""Momentum with a corrected start and a pull towards a prior: the steps of BayesBiNN and AdaSTE."""

from __future__ import annotations

from torch import Tensor

__all__ = ["natural_step"]


def natural_step(
    natural: Tensor,
    gradient: Tensor,
    momentum: Tensor,
    *,
    step: int,
    rate: float,
    beta: float,
    reweight: float = 1.0,
    prior: Tensor | float = 0.0,
) -> tuple[Tensor, Tensor]:
    r"""Return parameters and momentum after one step, changing none of the arguments.

    .. math:: m \leftarrow \beta m + (1 - \beta) (g + \rho (\lambda - \lambda_0)), \qquad
        \lambda \leftarrow \lambda - \eta \, m / (1 - \beta^t)

    Parameters
    ----------
    natural, gradient, momentum : Tensor
        lambda, g and m, of one shape.
    step : int
        t, from 1.
    rate, beta, reweight : float
        eta, beta, rho.
    prior : Tensor or float
        lambda_0.

    Examples
    --------
    >>> import torch
    >>> natural_step(torch.tensor([1.0]), torch.tensor([2.0]), torch.zeros(1), step=1, rate=0.1, beta=0.9)[0]
    tensor([0.7000])
    """
    momentum = beta * momentum + (1.0 - beta) * (gradient + reweight * (natural - prior))
    return natural - rate * momentum / (1.0 - beta**step), momentum
