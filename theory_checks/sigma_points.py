"""S9: the points that integrate quadratics in the factor noise."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

import vispa
from theory_checks import instances
from theory_checks.claim import Claim, Measurement, Trial, at_least, at_most, claim
from vispa.nn.weights.autograd import CorrelatedLatent

Array = NDArray[np.float64]

SIZE = 5


@claim(
    "S9",
    title="2 K points integrate quadratics in the factor noise exactly",
    statement="The points +-sqrt(K) e_k with weights 1/(2K) give E[L(mu + Z g)] and its gradients exactly for "
    "quadratic L, K >= 1, d = 0; degree 3 too, degree 4 not.",
    source="Second moments K / (2K) (1 + 1) = 1; odd moments vanish. McNamee and Stenger (1967). Derived.",
    computed="`sigma_points`, K = 1..6: means of random quadratics against <A, Z Z^T + mu mu^T> + b^T mu; the mean "
    "of `CorrelatedLatent`'s gradients; all moments of degree 1 to 4 against those of the normal law.",
    falsified_by="A quadratic or a moment up to degree 3 with an error, or K = 0 accepted.",
)
def sigma_point_rule(trial: Trial) -> Iterator[Measurement]:
    """Integrate quadratics and monomials."""
    value_error, gradient_error, moment_error, fourth = 0.0, 0.0, 0.0, math.inf
    for rank in range(1, 7):
        points = vispa.sigma_points(rank)
        problem = instances.quadratic(trial.rng, SIZE)
        A, b = np.asarray(problem.A), problem.b
        mean, Z = trial.rng.normal(size=SIZE), trial.rng.normal(size=(SIZE, rank))
        latent = mean + points.numpy() @ Z.T
        found = float((((latent @ A) * latent).sum(axis=1) + latent @ b).mean())
        exact = float((A * (Z @ Z.T + np.outer(mean, mean))).sum() + b @ mean)
        size = float(np.abs(A).sum() + np.abs(b).sum()) * (1.0 + float((Z**2).sum() + (mean**2).sum()))
        value_error = max(value_error, abs(found - exact) / size)
        gradient_error = max(gradient_error, _quadratic_gradient_error(A, b, mean, Z, points) / size)
        first, second, third, last = _moments(points.numpy())
        moment_error = max(
            moment_error, np.abs(first).max(), np.abs(second - np.eye(rank)).max(), np.abs(third).max()
        )
        normal = _normal_fourth(rank)
        fourth = min(fourth, float(np.abs(last - normal).max()))
    yield at_most("largest |mean over points - E[L]|, relative", value_error, 1e-14)
    yield at_most("largest error of the layer's gradient, relative", gradient_error, 1e-14)
    yield at_most("largest error of a moment of degree 1 to 3", moment_error, 1e-14)
    yield at_least("smallest over K of the largest error of a moment of degree 4", fourth, 0.5)
    yield at_most("K = 0 accepted", _accepts_rank_zero(), 0)


def _quadratic_gradient_error(A: Array, b: Array, mean: Array, Z: Array, points: torch.Tensor) -> float:
    count = points.shape[0]
    means = torch.from_numpy(np.tile(mean, (count, 1))).requires_grad_()
    factors = torch.from_numpy(np.tile(Z.T, (count, 1, 1))).requires_grad_()
    latent = CorrelatedLatent.apply(means, factors, points, 1.0)
    cost = torch.from_numpy(A)
    (((latent @ cost) * latent).sum(dim=1) + latent @ torch.from_numpy(b)).mean().backward()
    assert means.grad is not None
    assert factors.grad is not None
    errors = (
        means.grad.numpy().sum(axis=0) - 2.0 * A @ mean - b,
        factors.grad.numpy().sum(axis=0).T - 2.0 * A @ Z,
    )
    return max(float(np.abs(error).max()) for error in errors)


def _moments(points: Array) -> list[Array]:
    count = len(points)
    return [
        np.asarray(
            np.einsum(
                ",".join(f"n{letter}" for letter in "ijkl"[:degree]) + "->" + "ijkl"[:degree],
                *[points] * degree,
            )
            / count
        )
        for degree in (1, 2, 3, 4)
    ]


def _normal_fourth(rank: int) -> Array:
    unit = np.eye(rank)
    pairs = ("ij,kl->ijkl", "ik,jl->ijkl", "il,jk->ijkl")
    return np.asarray(sum(np.einsum(pair, unit, unit) for pair in pairs))


def _accepts_rank_zero() -> bool:
    try:
        vispa.sigma_points(0)
    except ValueError:
        return False
    return True


CLAIMS: tuple[Claim, ...] = (sigma_point_rule,)
