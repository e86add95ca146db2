"""Bias, noise and cost of one estimator of one gradient, against the gradient by enumeration."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vispa.estimators import biased as heuristics
from vispa.estimators import registry as estimators
from vispa.estimators.exact_gradient import exact_gradient
from vispa.estimators.latent import Estimator, draw_noise
from vispa.estimators.losses import CallableLoss
from vispa.gaussian.enumeration import all_signs
from vispa.gaussian.sign_gaussian import SignGaussian

Array = NDArray[np.float64]

BATCHES = 40
# A sign counts as wrong only if the estimate is so many standard errors on the wrong side of zero.
SIGNIFICANCE = 4.5

ESTIMATORS: dict[str, Estimator] = {
    "deterministic": heuristics.deterministic,
    "deterministic, hard-tanh": partial(heuristics.deterministic, kernel=estimators.hard_tanh_kernel),
    "straight-through": estimators.straight_through,
    "through hard-tanh": heuristics.through_kernel(estimators.hard_tanh_kernel),
    **{
        f"through EDE, t = {sharpness:g}": heuristics.through_kernel(estimators.ede_kernel(sharpness))
        for sharpness in (1.0, 3.0, 10.0)
    },
    "marginal": heuristics.marginal,
    "at mean": heuristics.at_mean,
    **{
        name: estimators.ESTIMATORS[name]
        for name in ("gaussian", "rao-blackwell", "local", "score", "conditional")
    },
}


class CountingLoss:
    """A loss that counts the points at which it is evaluated, with or without a gradient."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self._loss = CallableLoss(function)
        self.points = 0

    def values(self, points: Tensor) -> Tensor:
        """Losses of the rows of ``points``."""
        self.points += points.shape[0]
        return self._loss.values(points)

    def gradients(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Losses and gradients."""
        self.points += points.shape[0]
        return self._loss.gradients(points)


@dataclass(frozen=True)
class Quality:
    """One estimator on one instance; the truth is the gradient with respect to the means unless said otherwise.

    Attributes
    ----------
    cosine : float
        Between the estimator's mean and the truth.
    row_cosine : float
        The same for whole rows (mean, z, s), tangent to the gauge.
    wrong_signs : float
        Share of coordinates whose mean has, significantly, the wrong sign.
    bias : float
        Distance of the mean from the truth over the length of the truth; NaN where that is zero.
    noise : float
        Root of the variance of one draw, summed over coordinates, over the length of its mean.
    evaluations : float
        Points a draw at which the loss, or its gradient, is evaluated; in all, where that is one point.
    seconds : float
        Processor time a draw, in batches.
    """

    cosine: float
    row_cosine: float
    wrong_signs: float
    bias: float
    noise: float
    evaluations: float
    seconds: float


def measure(
    estimator: Estimator,
    function: Callable[[Tensor], Tensor],
    rows: Tensor,
    truth: Array,
    draws: int,
    generator: torch.Generator,
) -> Quality:
    """Average an estimator over batches and compare it with the exact gradient ``truth`` in the rows' shape."""
    loss, size = CountingLoss(function), draws // BATCHES
    noise = [draw_noise(rows, 1, size, generator=generator) for _ in range(BATCHES)]
    began = time.process_time()
    found = np.stack([estimator(loss, rows, draw).gradient.numpy() for draw in noise])
    seconds = (time.process_time() - began) / (size * BATCHES)
    mean, variance = found.mean(axis=0), found.var(axis=0, ddof=1)
    slope, error = truth[:, 0], np.sqrt(variance[:, 0] / BATCHES)
    noise_level = float(np.sqrt(variance[:, 0].sum() * size) / np.linalg.norm(mean[:, 0]))
    is_exact = noise_level < 1e-9  # rounding
    wrong = mean[:, 0] * np.sign(slope) < -SIGNIFICANCE * error - 1e-12
    return Quality(
        cosine=_cosine(mean[:, 0], slope),
        row_cosine=_cosine(_tangent(mean, rows.numpy()), _tangent(truth, rows.numpy())),
        wrong_signs=float(wrong.mean()),
        bias=float(np.linalg.norm(mean[:, 0] - slope) / np.linalg.norm(slope)),
        noise=0.0 if is_exact else noise_level,
        evaluations=loss.points / BATCHES if loss.points == BATCHES else loss.points / (size * BATCHES),
        seconds=seconds,
    )


def truth_of(function: Callable[[Tensor], Tensor], law: SignGaussian, columns: int) -> Array:
    """Exact gradient in the shape of the estimators' rows."""
    points = torch.from_numpy(all_signs(law.n).astype(np.float64))
    return exact_gradient(function(points).numpy(), law).rows()[:, :columns]


def _cosine(first: Array, second: Array) -> float:
    return float((first * second).sum() / (np.linalg.norm(first) * np.linalg.norm(second)))


def _tangent(gradient: Array, rows: Array) -> Array:
    return gradient - (gradient * rows).sum(axis=1, keepdims=True) * rows
