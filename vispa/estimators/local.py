"""Estimators from differences of the loss along edges of the cube: exact for every loss, gradient or not."""

from __future__ import annotations

import torch
from torch import Tensor

from vispa.estimators.kernels import gaussian_kernel
from vispa.estimators.latent import (
    Draw,
    GradientEstimate,
    carry_to_rows,
    latent,
    probability_arguments,
    signs_of,
)
from vispa.estimators.losses import Loss


def edge_differences(loss: Loss, points: Tensor) -> Tensor:
    """Half the difference of the loss between the two ends of an edge, for each i at each point.

    Parameters
    ----------
    loss : Loss
        Evaluated at 2 B n points.
    points : (B, n) or (B, n, n) tensor
        Points of the cube; in the second form row i of each matrix is the point for coordinate i.

    Returns
    -------
    (B, n) tensor
        D_i = (L(w_i = +1) - L(w_i = -1)) / 2.

    Examples
    --------
    >>> from vispa.estimators.losses import CallableLoss
    >>> edge_differences(CallableLoss(lambda w: w[:, 0] + 3.0 * w[:, 0] * w[:, 1]), torch.tensor([[1.0, -1.0]]))
    tensor([[-2.,  3.]])
    """
    if points.dim() == 2:
        points = points[:, None, :].expand(-1, points.shape[1], -1)
    batch, n, _ = points.shape
    diagonal = torch.eye(n, dtype=torch.bool, device=points.device)
    ends = [loss.values(torch.where(diagonal, end, points).reshape(-1, n)) for end in (1.0, -1.0)]
    return 0.5 * (ends[0] - ends[1]).reshape(batch, n)


def local(loss: Loss, rows: Tensor, draw: Draw) -> GradientEstimate:
    """Local expectation gradients given the factor noise (Titsias and Lazaro-Gredilla 2015)."""
    arguments = probability_arguments(rows, draw.factor)
    signs = signs_of(arguments + draw.own)
    latent_gradient = gaussian_kernel(arguments) * edge_differences(loss, signs) / rows[:, -1]
    gradient = carry_to_rows(latent_gradient, draw.factor, -arguments)
    return GradientEstimate(signs, loss.values(signs), gradient)


def conditional(loss: Loss, rows: Tensor, draw: Draw) -> GradientEstimate:
    r"""Draw the other weights given x_i = 0, for each i: the only condition under which w_i matters.

    With Sigma = Z Z^T + Diag(s^2) and sigma_i^2 = Sigma_ii, the derivative of E[L] along any direction of x_i is
    the density of x_i at 0 times the mean of 2 D_i times that direction, given x_i = 0 (claim S6).  A draw is
    moved onto the condition by subtracting x_i / sigma_i^2 times the covariance with x_i from everything:
    from the other x_j, from g and from e_i (Matheron's rule).  The noise of a weight may be zero, s = 0, as long
    as no other weight vanishes with it for certain.  O(B n (n + K)), and 2 B n losses.
    """
    rank = draw.factor.shape[1]
    values = latent(rows, draw)
    factor = rows[:, 1 : rank + 1]
    own_scale = rows[:, rank + 1] if rows.shape[1] == rank + 2 else torch.zeros_like(rows[:, 0])
    covariance = factor @ factor.T + torch.diag(own_scale.square())
    variance = covariance.diagonal()
    # A row without noise never changes sign by a small move: its kernel is zero.
    share = torch.where(variance > 0, values / variance.clamp_min(torch.finfo(rows.dtype).tiny), 0.0)
    conditioned = signs_of(values[:, None, :] - share[:, :, None] * covariance)
    latent_gradient = _marginal_kernel(rows[:, 0], variance) * edge_differences(loss, conditioned)
    columns = [latent_gradient.mean(dim=0)[:, None]]
    noise = draw.factor[:, None, :] - share[:, :, None] * factor
    columns.append((latent_gradient[:, :, None] * noise).mean(dim=0))
    if rows.shape[1] == rank + 2:
        own = draw.own - share * own_scale
        columns.append((latent_gradient * own).mean(dim=0)[:, None])
    signs = signs_of(values)
    return GradientEstimate(signs, loss.values(signs), torch.cat(columns, dim=1))


def _marginal_kernel(mean: Tensor, variance: Tensor) -> Tensor:
    """2 phi(mean / sigma) / sigma, the slope of E[w_i]; 0 where sigma = 0."""
    deviation = variance.sqrt()
    safe = torch.where(deviation > 0, deviation, 1.0)
    return torch.where(deviation > 0, gaussian_kernel(mean / safe) / safe, 0.0)
