"""What rank buys: values, bounds and roundings of quadratics, minima of a network, tightness of entropies."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special

import vispa
from solvers.certificates import dual_bound as certificate
from solvers.heuristics import rounding
from solvers.problems.problem import BinaryQuadratic, Elliptope, MaxCut
from theory_checks import instances
from theory_checks.studies import relaxation_cases as cases
from vispa.gaussian.entropy import Estimate, sample_log_marginal
from vispa.gaussian.enumeration import all_signs

Array = NDArray[np.float64]

WIDTHS = (2, 3, 4, 6, 8)
STARTS, ROUNDINGS = 8, 20
RANKS = (0, 1, 2, 4, 8)
MIXTURES = (0, 1, 4, 16, 64, 256)
SAMPLES = 8000
# Of the relaxation's value, relative to the height of a random point.
REACHED = 1e-6


def quadratic(problem: BinaryQuadratic | MaxCut, rng: np.random.Generator) -> dict[str, Any]:
    """Everything about one quadratic, as heights: 0 at the binary optimum, 1 at the mean over the cube."""
    relaxation = problem.relaxation()
    cost = np.asarray(relaxation.cost @ np.eye(relaxation.size))
    best = vispa.brute_force(problem).value
    mean = float(np.trace(cost)) + relaxation.constant

    def height(value: float) -> float:
        return (value - best) / (mean - best)

    solution = vispa.low_rank(problem, tol=1e-9, rng=rng)
    rank = int((np.linalg.svd(solution.factor, compute_uv=False) > 1e-4).sum())
    found: dict[str, Any] = {
        "sdp": height(solution.value),
        "bound": height(solution.lower_bound),
        "rank": rank,
        "barvinok_pataki": int((math.sqrt(8 * relaxation.size + 1) - 1) / 2),
        "rounded": _rounded(relaxation, solution.factor, rng, height),
        "factorised": _factorised(problem, rng, height),
        "widths": {},
    }
    for width in WIDTHS:
        factors = [cases.descend(relaxation, width, rng) for _ in range(STARTS)]
        duals = [certificate.dual_vector(cost, V) for V in factors]
        values = np.array([height(float(y.sum()) + relaxation.constant) for y in duals])
        lowest = int(values.argmin())
        bounds = [height(certificate.dual_bound(cost, y, rng=0).bound + relaxation.constant) for y in duals]
        found["widths"][str(width)] = {
            "value": float(values.mean()),
            "reached": float((values <= found["sdp"] + REACHED).mean()),
            "bound": float(np.mean(bounds)),
            "rounded": _rounded(relaxation, factors[lowest], rng, height),
        }
    return found


def _rounded(
    relaxation: Elliptope, V: Array, rng: np.random.Generator, height: Callable[[float], float]
) -> dict[str, float]:
    at = instances.solution_at(relaxation, V)
    plain = rounding.round_homogeneous(at, samples=ROUNDINGS, local_search=False, rng=rng)
    searched = rounding.round_homogeneous(at, samples=ROUNDINGS, rng=rng)
    return {
        "expected": height(float(plain.expected_value or math.nan)),
        "best": height(plain.value),
        "searched": height(searched.value),
    }


def _factorised(
    problem: BinaryQuadratic | MaxCut, rng: np.random.Generator, height: Callable[[float], float]
) -> dict[str, float]:
    """K = 0: E[L] is multilinear in the means, and ends at a one-flip minimum (S5)."""
    sense = -1.0 if isinstance(problem, MaxCut) else 1.0
    starts = rng.choice(np.array([-1, 1], dtype=np.int8), size=(ROUNDINGS, problem.n))
    ends = rounding.one_flip(problem, starts)
    values = sense * np.asarray(problem.evaluate(ends))
    return {"mean": height(float(values.mean())), "best": height(float(values.min()))}


def network(rng: np.random.Generator) -> dict[str, Any]:
    """One binary network: its minimum by enumeration against the best points found, and its quadratic part."""
    loss = cases.network_loss(rng)
    points = all_signs(cases.NETWORK_SIZE).astype(np.float64)
    losses = loss(torch.from_numpy(points)).numpy()
    best, mean = float(losses.min()), float(losses.mean())
    part, explained = cases.quadratic_part(losses, points)
    solution = vispa.low_rank(part, rng=rng)
    drawn = vispa.SignGaussian.from_solution(solution).sample(ROUNDINGS, rng=rng)
    value = float(loss(torch.from_numpy(drawn.astype(np.float64))).min())
    found: dict[str, Any] = {"explained": explained, "quadratic": (value - best) / (mean - best), "ranks": {}}
    for rank in RANKS:
        heights = {}
        for estimator in ("straight-through", "conditional"):
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            result = vispa.minimize(
                loss, cases.NETWORK_SIZE, rank=rank, estimator=estimator, samples=8, max_iterations=150,
                evaluation_samples=50, generator=generator,
            )  # fmt: skip
            centre = float(loss(torch.from_numpy(result.posterior.signs()[None, :].astype(np.float64)))[0])
            heights[estimator] = {
                "best": (result.value - best) / (mean - best),
                "centre": (centre - best) / (mean - best),
            }
        found["ranks"][str(rank)] = heights
    return found


def entropies(problem: BinaryQuadratic, rng: np.random.Generator) -> dict[str, Any]:
    """Bounds E[L] - H_M at T = 1 above -log Z, by rank and M, at the law that each rank fits."""
    points = all_signs(problem.n)
    exact = -float(special.logsumexp(-np.asarray(problem.evaluate(points))))
    found: dict[str, Any] = {"free_energy": exact, "ranks": {}}
    for rank in (0, 1, 2, 3):
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        law = vispa.minimize(
            problem, rank=rank, temperature=1.0, samples=64, mixtures=64, max_iterations=300,
            evaluation_samples=2, generator=generator,
        ).posterior  # fmt: skip
        bounds = {}
        for mixtures in MIXTURES:
            bound = _bound(problem, law, mixtures, rng)
            bounds[str(mixtures)] = {"gap": bound.value - exact, "standard_error": bound.standard_error}
        true = _energy(problem, law) - law.entropy() - exact if rank <= 1 else None
        found["ranks"][str(rank)] = {"bounds": bounds, "true": true}
    return found


def _energy(problem: BinaryQuadratic, law: vispa.SignGaussian) -> float:
    quadratic_term = float((np.asarray(problem.A) * law.second_moments()).sum())
    return quadratic_term + float(problem.b @ law.mean_signs()) + problem.constant


def _bound(
    problem: BinaryQuadratic, law: vispa.SignGaussian, mixtures: int, rng: np.random.Generator
) -> Estimate:
    """E[L] - H_M, exact for M = 0; otherwise both terms over the same points, where their noise nearly cancels."""
    if mixtures == 0 or law.rank == 0:
        return Estimate(_energy(problem, law) - law.conditional_entropy().value, 0.0)
    signs, log_marginal = sample_log_marginal(
        law.mean, law.factor, np.sqrt(law.residual), mixtures=mixtures, samples=SAMPLES, rng=rng
    )
    return Estimate.of_mean(np.asarray(problem.evaluate(signs)) + log_marginal)
