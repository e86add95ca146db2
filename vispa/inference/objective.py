"""The free energy E[L] - T H over unit rows (mean, z, s): its stochastic gradient, and descent on the spheres."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vispa.estimators.losses import Loss
from vispa.estimators.registry import Estimator, draw_noise
from vispa.gaussian.sign_gaussian import SignGaussian
from vispa.inference.free_energy import mean_field_negentropy, semi_implicit_negentropy

# The least s where it is divided by: a smaller one changes a probability only where |x| < 0.005.
LEAST_ROOT_RESIDUAL = 1e-3


class ObjectiveSample(NamedTuple):
    """Signs (B, n) and losses (B,) drawn, the objective estimated from them, and its gradient (n, columns)."""

    signs: Tensor
    values: Tensor
    free_energy: float
    gradient: Tensor


@dataclass(frozen=True, eq=False)
class Objective:
    """E[L] - T H, with H the semi-implicit bound H_M, exact where the rank is 0.

    Attributes
    ----------
    loss : Loss
        The energy L.
    estimator : callable
        Of its gradient; one of `vispa.estimators.registry.ESTIMATORS`.
    rank : int
        K.
    temperature : float
        T >= 0.
    samples, mixtures : int
        B and M.
    generator : torch.Generator
        Source of all noise.
    """

    loss: Loss
    estimator: Estimator
    rank: int
    temperature: float
    samples: int
    mixtures: int
    generator: torch.Generator

    def sample(self, rows: Tensor) -> ObjectiveSample:
        """Estimate value and gradient at ``rows``."""
        draw = draw_noise(rows, self.rank, self.samples, generator=self.generator)
        signs, values, gradient = self.estimator(self.loss, rows, draw)
        energy = float(values.mean())
        if self.temperature == 0:
            return ObjectiveSample(signs, values, energy, gradient)
        if self.rank == 0:
            negentropy, slope = mean_field_negentropy(rows)
        else:
            log_marginals, slope = semi_implicit_negentropy(
                rows, draw, self.mixtures, generator=self.generator
            )
            negentropy = log_marginals.mean()
        free_energy = energy + self.temperature * float(negentropy)
        return ObjectiveSample(signs, values, free_energy, gradient + self.temperature * slope)


class SphereDescent:
    """Rows on unit spheres under Adam or momentum: tangent gradient in, retraction after every step.

    Parameters
    ----------
    rows : (n, columns) tensor
        Start; normalised here.
    optimizer : {"adam", "momentum"}
        Rule of the step.
    learning_rate : float
        At the start; it falls along a cosine to zero at ``max_iterations``.
    max_iterations : int
        Length of that schedule.
    has_root_residual : bool
        Whether the last column is s >= 0.
    least_root_residual : float
        Floor under s.
    """

    def __init__(
        self,
        rows: Tensor,
        *,
        optimizer: str,
        learning_rate: float,
        max_iterations: int,
        has_root_residual: bool,
        least_root_residual: float,
    ) -> None:
        self.rows = rows.clone()
        self._has_root_residual = has_root_residual
        self._floor = least_root_residual
        self._retract()
        rule = torch.optim.Adam if optimizer == "adam" else partial(torch.optim.SGD, momentum=0.9)
        self._optimizer = rule([self.rows], lr=learning_rate)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimizer, max_iterations)

    def move(self, gradient: Tensor) -> None:
        """Take one step against the gradient."""
        radial = (gradient * self.rows).sum(dim=1, keepdim=True)
        self.rows.grad = gradient - radial * self.rows
        self._optimizer.step()
        self._schedule.step()
        if not torch.isfinite(self.rows).all():
            raise ValueError(
                "loss must have gradients for which the rows stay finite; found steps that overflow. Rescale it, "
                'pass a smaller learning_rate, or optimizer="adam"'
            )
        self._retract()

    def posterior(self) -> SignGaussian:
        """Law of the current rows."""
        rows = self.rows.detach().to("cpu", torch.float64).numpy()
        if self._has_root_residual:
            return SignGaussian(rows[:, 0], rows[:, 1:-1], rows[:, -1] ** 2).projected()
        return SignGaussian(rows[:, 0], rows[:, 1:]).projected()

    def _retract(self) -> None:
        if self._has_root_residual:
            self.rows[:, -1] = self.rows[:, -1].abs()
        self._normalise()
        if self._floor > 0:
            self.rows[:, -1].clamp_min_(self._floor)
            self._normalise()

    def _normalise(self) -> None:
        # by the largest entry first: squares of large ones overflow
        self.rows /= self.rows.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(self.rows.dtype).tiny)
        norms = torch.linalg.vector_norm(self.rows, dim=1, keepdim=True)
        # A row is zero only if a step ended exactly at the centre: any unit row will do.
        self.rows /= norms.clamp_min(math.sqrt(torch.finfo(self.rows.dtype).tiny))


def start_rows(
    start: SignGaussian | None,
    n: int,
    rank: int,
    has_root_residual: bool,
    options: dict[str, object],
    generator: torch.Generator,
) -> Tensor:
    """Rows of a given law, or random ones with a small mean."""
    if start is None:
        rows = torch.randn((n, rank + 1 + has_root_residual), generator=generator, **options)  # type: ignore[call-overload]
        rows[:, 0] *= 0.1
        if has_root_residual:
            # As much own noise as all factors together.
            rows[:, -1] = math.sqrt(max(rank, 1))
        return rows
    unit = start.projected()
    columns = [unit.mean, unit.factor, np.sqrt(unit.residual)]
    stacked = np.column_stack(columns if has_root_residual else columns[:-1])
    return torch.from_numpy(stacked).to(**options)  # type: ignore[call-overload]
