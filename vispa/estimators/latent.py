"""Latent Gaussian values behind the signs, for rows (mean, z, s) and one batch of noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vispa.estimators.losses import Loss


class Draw(NamedTuple):
    """Standard normal noise of a batch: ``factor`` (B, K), shared by all weights, and ``own`` (B, n)."""

    factor: Tensor
    own: Tensor


class GradientEstimate(NamedTuple):
    """Signs drawn (B, n), their losses (B,), and the gradient in the shape of the rows."""

    signs: Tensor
    values: Tensor
    gradient: Tensor


Estimator = Callable[[Loss, Tensor, Draw], GradientEstimate]


def draw_noise(rows: Tensor, rank: int, samples: int, *, generator: torch.Generator) -> Draw:
    """Draw the noise of a batch for rows (n, rank + 1) or (n, rank + 2)."""
    options = {"dtype": rows.dtype, "device": rows.device, "generator": generator}
    return Draw(
        torch.randn((samples, rank), **options),  # type: ignore[call-overload]
        torch.randn((samples, rows.shape[0]), **options),  # type: ignore[call-overload]
    )


def latent(rows: Tensor, draw: Draw) -> Tensor:
    """Latent values x = mean + Z g + s e, (B, n)."""
    rank = draw.factor.shape[1]
    values = rows[:, 0] + draw.factor @ rows[:, 1 : rank + 1].T
    return values + rows[:, rank + 1] * draw.own if rows.shape[1] == rank + 2 else values


def signs_of(values: Tensor) -> Tensor:
    """Signs with sgn(0) = +1, in the dtype of ``values``.

    Examples
    --------
    >>> signs_of(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([-1.,  1.,  1.])
    """
    return torch.where(values >= 0, 1.0, -1.0).to(values.dtype)


def probability_arguments(rows: Tensor, factor_noise: Tensor) -> Tensor:
    """U = (mean + Z g) / s for factor noise (..., K): P(w_i = 1 | g) = Phi(u_i)."""
    rank = factor_noise.shape[-1]
    if rows.shape[1] != rank + 2:
        raise ValueError(
            "rows must have a column of root residuals here, since given g the signs must stay random; "
            f"found {rows.shape[1]} columns at rank {rank}"
        )
    return (rows[:, 0] + factor_noise @ rows[:, 1 : rank + 1].T) / rows[:, rank + 1]


def carry_to_rows(latent_gradient: Tensor, factor_noise: Tensor, own: Tensor | None) -> Tensor:
    """Mean over the batch of H_i (1, g, t_i): (n, K + 2), or (n, K + 1) where ``own`` is None."""
    batch = latent_gradient.shape[0]
    columns = [latent_gradient.mean(dim=0)[:, None], latent_gradient.T @ factor_noise / batch]
    if own is not None:
        columns.append((latent_gradient * own).mean(dim=0)[:, None])
    return torch.cat(columns, dim=1)


def inverse_mills(signs: Tensor, arguments: Tensor) -> Tensor:
    """Derivative of log Phi(w u) with respect to u, for abs(u) <= 37 with relative error below 1e-12 in float64."""
    log_density = -0.5 * arguments.square() - 0.5 * math.log(2.0 * math.pi)
    return signs * torch.exp(log_density - torch.special.log_ndtr(signs * arguments))
