"""R8 and T1: what triangle and larger clique inequalities add to the relaxation, and why any multipliers prove."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

import vispa
from solvers.cuts import strengthen as strengthening
from solvers.cuts.cliques import CliqueCuts, canonical
from solvers.problems.problem import BinaryQuadratic, Elliptope, MaxCut, Problem
from theory_checks import instances
from theory_checks.claim import Claim, Measurement, Trial, at_least, at_most, claim
from theory_checks.oracles import cube

Array = NDArray[np.float64]

SIZE = 9
# What rounds of multipliers leave of a bound, relative to the sum of the cost's entries.
UNFINISHED = 2e-3


@claim(
    "R8",
    title="triangle inequalities lift the relaxation, and settle graphs without a K_5 minor",
    statement="The least <C, Y> over the elliptope with all triangle inequalities is at least the Shor bound and "
    "at least that of the metric polytope, at most the binary optimum, and equal to it where the graph of C "
    "has no K_5 minor: grids, K_{3,3}, the Wagner graph V_8. On K_5 the largest cut is 6, triangles leave the "
    "Shor bound 25/4, and the pentagonal inequality gives 6.",
    source="Barahona and Mahjoub (1986); Barahona (1983) with Wagner's theorem (1937); Deza and Laurent (1997).",
    computed="`strengthen` against the enumerated optimum, `low_rank` and a linear program over the metric "
    "polytope: random dense quadratics and graphs, n = 9; grids, K_{3,3} and V_8 with normal weights; K_5.",
    falsified_by="A bound above the optimum, or below the Shor or the metric one by more than rounds leave; a "
    "graph without a K_5 minor with a gap; another bound on K_5.",
)
def triangles(trial: Trial) -> Iterator[Measurement]:
    """Bound dense problems and graphs without a K_5 minor."""
    rng = trial.rng
    dense: list[Problem] = [instances.quadratic(rng, SIZE) for _ in range(trial.count(2))]
    dense += [instances.graph(rng, SIZE, density=0.9) for _ in range(trial.count(2))]
    minor_free: list[Problem] = [MaxCut(_weighted(rng, graph)) for graph in (_grid(), _utility(), _wagner())]
    above, below_shor, below_metric, lifts, left = -np.inf, -np.inf, -np.inf, [], 0.0
    for problem in [*dense, *minor_free]:
        cost = _cost(problem)
        scale = float(np.abs(cost).sum())
        optimum, constant = _optimum(cost), problem.relaxation().constant
        found = (strengthening.strengthen(problem, largest_clique=3, rng=0).lower_bound - constant) / scale
        shor = (vispa.low_rank(problem, tol=1e-8, rng=0).lower_bound - constant) / scale
        above = max(above, found - optimum / scale)
        below_shor = max(below_shor, shor - found)
        below_metric = max(below_metric, _metric_bound(cost) / scale - found)
        lifts.append(found - shor)
        if problem in minor_free:
            left = max(left, optimum / scale - found)
    yield at_most("largest bound - optimum, relative to the sum of |C_ij|", above, 1e-12)
    yield at_most("largest Shor bound - bound with triangles, relative", below_shor, UNFINISHED)
    yield at_most("largest metric bound - bound with triangles, relative", below_metric, UNFINISHED)
    yield at_least("largest lift above the Shor bound, relative", max(lifts), 1e-2)
    yield at_most("no K_5 minor: largest optimum - bound, relative", left, UNFINISHED)
    complete = MaxCut(1.0 - np.eye(5))
    three = -strengthening.strengthen(complete, largest_clique=3, rng=0).lower_bound
    five = -strengthening.strengthen(complete, rng=0).lower_bound
    yield at_most("K_5: |bound with triangles - 25/4|", abs(three - 6.25), 1e-3)
    yield at_most("K_5: |bound with pentagons - 6|", abs(five - 6.0), 1e-3)


def _weighted(rng: np.random.Generator, graph: Array) -> Array:
    upper = np.triu(rng.normal(size=graph.shape) * graph, 1)
    return np.asarray(upper + upper.T)


def _grid() -> Array:
    path = np.eye(3, k=1) + np.eye(3, k=-1)
    return np.kron(path, np.eye(3)) + np.kron(np.eye(3), path)


def _utility() -> Array:
    return np.asarray(np.kron(1.0 - np.eye(2), np.ones((3, 3))), dtype=np.float64)


def _wagner() -> Array:
    distance = np.abs(np.subtract.outer(np.arange(8), np.arange(8)))
    return np.asarray(np.isin(distance, (1, 4, 7)), dtype=np.float64)


def _cost(problem: Problem) -> Array:
    """C, its diagonal included."""
    return np.asarray(problem.relaxation().cost @ np.eye(problem.relaxation().cost.shape[0]))


def _optimum(cost: Array) -> float:
    points = cube(cost.shape[0])
    return float(((points @ cost) * points).sum(axis=1).min())


def _metric_bound(cost: Array) -> float:
    """The least <C, Y> over symmetric Y with unit diagonal and all triangle inequalities, PSD or not."""
    order = cost.shape[0]
    place = {pair: index for index, pair in enumerate(itertools.combinations(range(order), 2))}
    rows = []
    for i, j, k in itertools.combinations(range(order), 3):
        for b in ((1, 1, 1), (1, 1, -1), (1, -1, 1), (1, -1, -1)):
            row = np.zeros(len(place))
            row[[place[i, j], place[i, k], place[j, k]]] = b[0] * b[1], b[0] * b[2], b[1] * b[2]
            rows.append(-row)
    prices = [2.0 * cost[pair] for pair in place]
    solved = optimize.linprog(prices, A_ub=np.array(rows), b_ub=np.ones(len(rows)), bounds=(-1.0, 1.0))
    return float(solved.fun) + float(np.trace(cost))


@claim(
    "T1",
    title="clique inequalities hold on the cube, and any multipliers give a bound",
    statement="For p = 3, 5, 7 vertices and signs b, sum_{a<c} b_a b_c w_a w_c >= (1 - p)/2 for every sign vector, "
    "with equality at some. For every g >= 0, g^T r + min <C - sum_m g_m T_m, Y> over the elliptope is at "
    "most the optimum; the multipliers that `strengthen` returns and its dual vector prove its bound.",
    source="Deza and Laurent (1997), hypermetric inequalities; Lagrangian duality.",
    computed="Random cliques at all 2^9 points, term by term; random multipliers, whose bound from `low_rank` "
    "is compared with the optimum and with <C, Y> less the priced slacks at its own Y; the smallest "
    "eigenvalue of the slack matrix of a strengthened bound.",
    falsified_by="A point of the cube that violates an inequality or none that meets it with equality, a bound "
    "above the optimum, or multipliers that do not prove what is reported.",
)
def multipliers(trial: Trial) -> Iterator[Measurement]:
    """Check inequalities at every point and bounds at random multipliers."""
    rng, points = trial.rng, cube(SIZE)
    cuts = _random_cuts(rng, 10)
    grams = points[:, :, None] * points[:, None, :]
    slacks = np.array([cuts.slacks(gram) for gram in grams])
    expected = np.array([[_slack(gram, cuts, m) for m in range(cuts.count)] for gram in grams[::37]])
    yield at_most("largest |slack - its sum term by term|", np.abs(slacks[::37] - expected).max(), 1e-12)
    yield at_least("smallest slack at a point of the cube", slacks.min(), 0.0)
    yield at_most("largest over inequalities of the smallest slack", slacks.min(axis=0).max(), 0.0)
    excess, apart = -np.inf, 0.0
    for _ in range(trial.count(4)):
        cost = instances.symmetric(rng, SIZE)
        np.fill_diagonal(cost, 0.0)
        weights = rng.exponential(0.3, cuts.count)
        solved = vispa.low_rank(Elliptope(cuts.priced(cost, weights)), tol=1e-8, rng=0)
        gram = solved.factor @ solved.factor.T
        direct = float((cost * gram).sum()) - sum(
            weight * _slack(gram, cuts, m) for m, weight in enumerate(weights)
        )
        scale = float(np.abs(cost).sum())
        offset = float(weights @ cuts.sides)
        excess = max(excess, (solved.lower_bound + offset - _optimum(cost)) / scale)
        apart = max(apart, abs(solved.value + offset - direct) / scale)
    yield at_most("random multipliers: largest bound - optimum, relative", excess, 0.0)
    yield at_most("random multipliers: |value - (<C, Y> - priced slacks)|, relative", apart, 1e-12)
    yield from _strengthened(instances.quadratic(rng, 14))


def _strengthened(problem: BinaryQuadratic) -> Iterator[Measurement]:
    found = strengthening.strengthen(problem, rng=0)
    cost = _cost(problem)
    constant = problem.constant + float(np.trace(cost))
    np.fill_diagonal(cost, 0.0)
    slack = found.cuts.priced(cost, found.multipliers) - np.diag(found.dual)
    scale = float(np.abs(cost).sum())
    proved = float(found.dual.sum() + found.multipliers @ found.cuts.sides) + constant
    yield at_least("strengthened: smallest eigenvalue, relative", np.linalg.eigvalsh(slack)[0] / scale, -1e-9)
    yield at_least("strengthened: smallest multiplier", found.multipliers.min(), 0.0)
    yield at_most("|bound - what multipliers prove|, relative", abs(proved - found.lower_bound) / scale, 1e-7)


def _random_cuts(rng: np.random.Generator, each: int) -> CliqueCuts:
    families = []
    for size in (3, 5, 7):
        vertices = np.array([rng.choice(SIZE, size, replace=False) for _ in range(each)])
        families.append(canonical(vertices, rng.choice([-1, 1], vertices.shape)))
    return families[0].join(families[1]).join(families[2])


def _slack(gram: Array, cuts: CliqueCuts, m: int) -> float:
    """((b^T w)^2 - 1)/2 over the clique's vertices, as a sum over pairs."""
    members = [(v, b) for v, b in zip(cuts.vertices[m], cuts.signs[m], strict=True) if b]
    total = sum(b * c * gram[i, j] for (i, b), (j, c) in itertools.combinations(members, 2))
    return float(total) + 0.5 * (len(members) - 1)


CLAIMS: tuple[Claim, ...] = (triangles,)
PROOFS: tuple[Claim, ...] = (multipliers,)
