"""R6: the law of homogeneous rounding, its guarantees, and rounding at the fixed mean."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

import vispa
from solvers.heuristics import rounding
from solvers.problems.problem import BinaryQuadratic, Elliptope, MaxCut
from solvers.problems.solution import Solution
from theory_checks import instances
from theory_checks.claim import Claim, Measurement, Trial, at_least, at_most, claim
from theory_checks.monte_carlo import ERROR_PROBABILITY, hoeffding_radius
from theory_checks.oracles import cube
from vispa.gaussian.sign_gaussian import SignGaussian

Array = NDArray[np.float64]

SIZE = 9


@claim(
    "R6",
    title="rounding: the arcsine law, 0.87856, 2/pi, and the fixed mean",
    statement="w_i = sgn(v_i.r) sgn(v_0.r) has E[w_i w_j] = (2/pi) arcsin(v_i.v_j). Hence 0.87856 of the "
    "bound for MaxCut with non-negative weights and 2/pi for the maximisation of PSD forms. At the fixed "
    "mean the samples follow sgn(mu + Z g) instead.",
    source="Goemans and Williamson (1995), lemma 3.5; Nesterov (1998); Sheppard (1899).",
    computed="The closed form for planar rows by enumeration of the arcs on which no sign changes; sample "
    "means of both roundings against their exact expectations (Hoeffding); ratios at the SDP's optimum; "
    "the minimum of (2/pi) t / (1 - cos t).",
    falsified_by="A sample mean off its expectation by more than its radius, or a ratio below its guarantee.",
)
def rounding_law(trial: Trial) -> Iterator[Measurement]:
    """Compare expectations with enumerated arcs and with samples, and ratios with their guarantees."""
    yield at_most("planar rows: |expected value - sum over arcs|, relative", _planar_error(trial.rng), 1e-8)
    problem = instances.quadratic(trial.rng, SIZE)
    solution = vispa.low_rank(problem, rng=trial.rng)
    values = problem.evaluate(cube(SIZE))
    samples = trial.count(40_000)
    radius = hoeffding_radius(float(values.max() - values.min()), samples)
    for name, method in (
        ("homogeneous", rounding.round_homogeneous),
        ("fixed mean", rounding.round_fixed_mean),
    ):
        drawn = method(solution, samples=samples, local_search=False, rng=trial.rng)
        exact = _fixed_mean_value(problem, solution) if drawn.expected_value is None else drawn.expected_value
        error = abs(float(drawn.values.mean()) - exact)
        yield at_most(
            f"{name}: |sample mean - expectation|", error, radius, error_probability=ERROR_PROBABILITY
        )

    cuts, forms = _ratios(trial.rng, trial.count(5))
    guarantee = optimize.minimize_scalar(
        lambda t: 2.0 / math.pi * t / (1.0 - math.cos(t)), bounds=(1.0, 3.1), method="bounded"
    )
    yield at_most("|minimum of (2/pi) t / (1 - cos t) - 0.87856|", abs(float(guarantee.fun) - 0.87856), 1e-5)
    yield at_least("smallest expected cut over the SDP's value", cuts, 0.87856)
    yield at_least("smallest expected PSD form over the SDP's value", forms, 2.0 / math.pi)


def _planar_error(rng: np.random.Generator) -> float:
    """Rows of width 2: r turns once around, and between sign changes the signs stay."""
    angles = rng.uniform(0.0, 2.0 * math.pi, size=SIZE)
    rows = np.column_stack([np.cos(angles), np.sin(angles)])
    changes = np.sort(np.concatenate([angles + 0.5 * math.pi, angles - 0.5 * math.pi]) % (2.0 * math.pi))
    edges = np.append(changes, changes[0] + 2.0 * math.pi)
    middles = 0.5 * (edges[1:] + edges[:-1])
    signs = np.sign(np.column_stack([np.cos(middles), np.sin(middles)]) @ rows.T)
    problem = Elliptope(instances.symmetric(rng, SIZE))
    exact = float(np.diff(edges) @ problem.evaluate(signs)) / (2.0 * math.pi)
    drawn = rounding.round_homogeneous(instances.solution_at(problem, rows), samples=1, rng=rng)
    return abs(float(drawn.expected_value or 0.0) - exact) / float(np.linalg.norm(np.asarray(problem.cost)))


def _fixed_mean_value(problem: BinaryQuadratic, solution: Solution) -> float:
    posterior = SignGaussian.from_solution(solution)
    quadratic = float((np.asarray(problem.A) * posterior.second_moments()).sum())
    return quadratic + float(problem.b @ posterior.mean_signs()) + problem.constant


def _ratios(rng: np.random.Generator, count: int) -> tuple[float, float]:
    """Smallest expected value over SDP value: cuts of graphs (odd cycles among them), PSD forms."""
    cycle = np.roll(np.eye(5), 1, axis=1)
    graphs = [MaxCut(cycle + cycle.T), *(instances.graph(rng, SIZE) for _ in range(count))]
    halves = [rng.normal(size=(SIZE, rank)) for rank in (1, 2, 4, 9)]
    forms = [Elliptope(-half @ half.T, maximised=True) for half in halves]
    return _smallest_ratio(graphs, rng), _smallest_ratio(forms, rng)


def _smallest_ratio(problems: list[MaxCut] | list[Elliptope], rng: np.random.Generator) -> float:
    smallest = math.inf
    for problem in problems:
        solution = vispa.low_rank(problem, tol=1e-7, rng=rng)
        drawn = rounding.round_homogeneous(solution, samples=1, rng=rng)
        smallest = min(smallest, float(drawn.expected_value or 0.0) / solution.value)
    return smallest


CLAIMS: tuple[Claim, ...] = (rounding_law,)
