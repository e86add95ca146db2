"""A few points in place of the factor noise, exact for quadratics."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from solvers import checks

__all__ = ["sigma_points"]


def sigma_points(
    rank: int, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
) -> Tensor:
    r"""Return the 2 K points :math:`\pm\sqrt{K} e_k`, whose plain mean replaces g ~ N(0, I_K).

    Every weight is 1 / (2 K).  All polynomials of degree 3 are integrated exactly, among them E[L(mean + Z g)] of
    a quadratic L and its gradients; degree 4 is not.  Signs are no polynomials: for E[L(sgn(mean + Z g))] the
    points are an approximation.

    Parameters
    ----------
    rank : int
        K >= 1.
    dtype, device : optional
        Of the points.

    Returns
    -------
    (2 K, K) Tensor
        First the positive points; usable as the ``factor`` of `vispa.estimators.registry.Draw`.

    Raises
    ------
    TypeError, ValueError
        If the rank is no integer of at least 1.

    References
    ----------
    Arasaratnam and Haykin, Cubature Kalman Filters, IEEE Trans. Automatic Control 2009, section IV.

    Examples
    --------
    >>> sigma_points(2)
    tensor([[ 1.4142,  0.0000],
            [ 0.0000,  1.4142],
            [-1.4142,  0.0000],
            [ 0.0000, -1.4142]], dtype=torch.float64)
    """
    rank = checks.integer("rank", rank, minimum=1)
    positive = math.sqrt(rank) * torch.eye(rank, dtype=dtype, device=device)
    # Not -positive, which has negative zeros.
    return torch.cat([positive, 0.0 - positive])
