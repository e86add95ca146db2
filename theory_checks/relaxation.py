"""R1 and R2: the relaxation is Gaussian variational inference, and where it stands in the chain of bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import aslinearoperator

import vispa
from solvers.heuristics import rounding
from solvers.problems import problem as problems
from theory_checks import instances
from theory_checks.claim import Claim, Measurement, Trial, at_least, at_most, claim
from theory_checks.oracles import cube

Array = NDArray[np.float64]

SIZE = 9
TOLERANCE = 1e-6


@claim(
    "R1",
    title="the SDP objective is the Gaussian's expected latent objective",
    statement="For x ~ N(mu, Sigma): E[x^T A x + b^T x] = <A, Sigma + mu mu^T> + b^T mu = <C, Y>, with C = "
    "[[0, b^T/2], [b/2, A]] and Y = [[1, mu^T], [mu, Sigma + mu mu^T]]. On the cube, <C, (1,w)(1,w)^T> = "
    "w^T A w + b^T w, and for MaxCut -<C, w w^T> is the weight of the edges cut.",
    source="Second moments of a Gaussian; homogenisation as in Shor (1987); Goemans and Williamson (1995).",
    computed="The expectation by the cubature mu +- sqrt(n) L e_k, Sigma = L L^T, exact for quadratics, "
    "against the cost that `relaxation()` builds; both objectives at all 2^n points; cuts edge by edge.",
    falsified_by="A Gaussian, or a point of the cube, where the two objectives differ by more than rounding.",
)
def latent_objective(trial: Trial) -> Iterator[Measurement]:
    """Compare `relaxation` and `evaluate` with the objective as it is written."""
    dense = instances.quadratic(trial.rng, SIZE)
    sparse = instances.sparse_quadratic(trial.rng, SIZE)
    operator = problems.BinaryQuadratic(aslinearoperator(_entries(dense.A)), dense.b, dense.constant)
    homogeneous = instances.quadratic(trial.rng, SIZE, linear=False)
    family = (dense, sparse, operator, homogeneous)
    yield at_most(
        "largest |E[f(x)] - <C, Y>| over dense, sparse and operator A, with and without b",
        max(_expectation_error(member, trial.rng) for member in family * trial.count(1)),
        1e-12,
    )
    yield at_most(
        "largest |f(w) - <C, (1,w)(1,w)^T>| over all points of the cube",
        max(_cube_error(member) for member in family),
        1e-12,
    )
    yield at_most(
        "largest difference between a cut, counted edge by edge, and -<C, w w^T>",
        _cut_error(instances.graph(trial.rng, SIZE)),
        1e-12,
    )


def _entries(cost: problems.Cost) -> Array:
    """C as an array, column by column, whatever form it has."""
    return np.asarray(cost @ np.eye(cost.shape[0]))


def _expectation_error(problem: problems.BinaryQuadratic, rng: np.random.Generator) -> float:
    A, n = _entries(problem.A), problem.n
    mean = rng.normal(size=n) if problem.has_linear_term else np.zeros(n)
    spread = rng.normal(size=(n, n))
    points = np.concatenate([mean + np.sqrt(n) * spread.T, mean - np.sqrt(n) * spread.T])
    values = ((points @ A) * points).sum(axis=1) + points @ problem.b + problem.constant
    moments = spread @ spread.T + np.outer(mean, mean)
    relaxed = problem.relaxation()
    if relaxed.homogenised:
        moments = np.block([[np.ones((1, 1)), mean[None, :]], [mean[:, None], moments]])
    inner = float((_entries(relaxed.cost) * moments).sum()) + relaxed.constant
    return abs(values.mean() - inner) / float(np.abs(moments).sum())


def _cube_error(problem: problems.BinaryQuadratic) -> float:
    points = cube(problem.n)
    A = _entries(problem.A)
    expected = ((points @ A) * points).sum(axis=1) + points @ problem.b + problem.constant
    relaxed = problem.relaxation()
    lifted = np.column_stack([np.ones(len(points)), points]) if relaxed.homogenised else points
    errors = (problem.evaluate(points) - expected, relaxed.evaluate(lifted) - expected)
    return max(float(np.abs(error).max()) for error in errors) / float(np.abs(A).sum())


def _cut_error(problem: problems.MaxCut) -> float:
    points = cube(problem.n)
    weights = problem.graph.toarray()
    separated = points[:, :, None] != points[:, None, :]
    cuts = 0.5 * (weights * separated).sum(axis=(1, 2))
    errors = (problem.evaluate(points) - cuts, -problem.relaxation().evaluate(points) - cuts)
    return max(float(np.abs(error).max()) for error in errors) / float(weights.sum())


@claim(
    "R2",
    title="dual <= SDP <= binary optimum <= any rounded point",
    statement="max {1^T y : C - Diag(y) PSD} = min {<C, Y> : Y PSD, diag(Y) = 1} <= min f over {-1, 1}^n <= "
    "f(w) for every rounded w. For bipartite MaxCut all are equal.",
    source="Weak and strong conic duality (Slater at Y = I); rank-one Y are the points of the cube.",
    computed="Dense, sparse and MaxCut problems, n = 9: both solvers' values and bounds against each other "
    "and the enumerated optimum; 200 samples of both roundings; a bipartite graph, where the chain "
    "collapses.",
    falsified_by="A bound above any feasible value, a duality gap above the tolerance, or a rounded value "
    "below the optimum.",
)
def chain(trial: Trial) -> Iterator[Measurement]:
    """Put everything the library computes about one problem in order."""
    dense, sparse = instances.quadratic(trial.rng, SIZE), instances.sparse_quadratic(trial.rng, SIZE)
    bipartite = instances.bipartite_graph(trial.rng, SIZE)
    more = [instances.quadratic(trial.rng, SIZE) for _ in range(trial.count(1) - 1)]
    graph = instances.graph(trial.rng, SIZE)
    tried: list[problems.Problem] = [*more, dense, sparse, graph, bipartite]
    links = [_links(problem, trial.rng) for problem in tried]
    yield at_most(
        "largest bound - feasible value, across solvers, relative", max(k.weak for k in links), 1e-12
    )
    yield at_most("largest gap of a solver (no duality gap)", max(k.gap for k in links), TOLERANCE)
    yield at_most("largest bound - binary optimum, relative", max(k.above_optimum for k in links), 1e-12)
    yield at_most(
        "largest |brute force - enumerated optimum|, relative", max(k.enumeration for k in links), 1e-14
    )
    yield at_least("smallest rounded value - optimum, relative", min(k.rounded for k in links), -1e-14)
    yield at_most("bipartite: best rounded value - bound, relative", links[-1].collapse, 1e-6)


class _Links(NamedTuple):
    """Signed distances between neighbours of the chain, over max(|optimum|, |C|_F)."""

    weak: float
    gap: float
    above_optimum: float
    enumeration: float
    rounded: float
    collapse: float


def _links(problem: problems.Problem, rng: np.random.Generator) -> _Links:
    relaxed = problem.relaxation()
    sense = -1.0 if relaxed.maximised else 1.0
    optimum = float((sense * problem.evaluate(cube(SIZE))).min())
    scale = max(abs(optimum - relaxed.constant), float(np.linalg.norm(_entries(relaxed.cost))))
    found = (vispa.exact(problem), vispa.low_rank(problem, tol=TOLERANCE, rng=rng))
    enumerated = vispa.brute_force(problem)
    at_point = sense * float(problem.evaluate(enumerated.point))
    bound = max(solution.lower_bound for solution in found)
    rounds = [
        method(solution, samples=200, local_search=search, rng=rng)
        for method in (rounding.round_homogeneous, rounding.round_fixed_mean)
        for solution in found
        for search in (False, True)
    ]
    lowest = min(min(r.values.min(), r.value, sense * float(problem.evaluate(r.signs))) for r in rounds)
    return _Links(
        weak=(bound - min(solution.value for solution in found)) / scale,
        gap=max(solution.gap for solution in found),
        above_optimum=(bound - optimum) / scale,
        enumeration=max(abs(enumerated.value - optimum), abs(at_point - optimum)) / scale,
        rounded=float(lowest - optimum) / scale,
        collapse=float(lowest - bound) / scale,
    )


CLAIMS: tuple[Claim, ...] = (latent_objective, chain)
