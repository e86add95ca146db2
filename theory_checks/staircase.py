"""R4: how many columns suffice, and how a certificate that fails shows the way on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

import vispa
from solvers.certificates import dual_bound as certificate
from solvers.linalg import sphere
from solvers.problems.problem import Elliptope
from solvers.problems.solution import relative_gap
from theory_checks import instances
from theory_checks.claim import Claim, Measurement, Trial, at_least, at_most, claim
from theory_checks.oracles import cube
from theory_checks.plants import planted

Array = NDArray[np.float64]

SIZE = 15
# The least k with k(k+1)/2 > N.
WIDTH = 6
TOLERANCE = 1e-6


@claim(
    "R4",
    title="about sqrt(2N) columns suffice, and a failed certificate leads on",
    statement="For almost every C a second-order critical V with k(k+1)/2 > N is optimal; some optimum has "
    "rank r with r(r+1)/2 <= N. Where S is not PSD, a zero column moved along its negative eigenvector u "
    "has slope zero and curvature 2 u^T S u < 0, so the staircase goes on to the optimum from any start.",
    source="Barvinok (1995); Pataki (1998); Boumal, Voroninski and Bandeira (2016); Boumal (2015) for the "
    "staircase.",
    computed="Random C, N = 15: the gap where plain descent at k = 6 ends, without any escape; numerical "
    "rank of the optimum; starts at the worst one-flip local minimum, a spurious critical point of width "
    "1; slope and curvature at a critical V with a planted negative eigenvalue, by differences of the "
    "objective.",
    falsified_by="A random C with a spurious optimum at k = 6, an optimum of higher rank, or a start never "
    "left.",
)
def staircase(trial: Trial) -> Iterator[Measurement]:
    """Solve from random and from spurious starts; differentiate at a failed certificate."""
    problems = [Elliptope(instances.symmetric(trial.rng, SIZE)) for _ in range(trial.count(4))]
    descents = [_descend(problem, trial.rng) for problem in problems for _ in range(2)]
    solved = [vispa.low_rank(problem, rank=WIDTH, tol=TOLERANCE, rng=trial.rng) for problem in problems]
    spurious = [_spurious_start(problem) for problem in problems]
    escaped = [
        vispa.low_rank(problem, start=start, tol=TOLERANCE, rng=trial.rng)
        for problem, start in zip(problems, spurious, strict=True)
    ]
    trapped = min(
        (float(problem.evaluate(start[:, 0])) - solution.value) / abs(solution.value)
        for problem, start, solution in zip(problems, spurious, escaped, strict=True)
    )
    ranks = [_numerical_rank(solution.factor) for solution in solved]
    yield at_most("k = 6, plain descent from random starts: largest gap", max(descents), 1e-5)
    yield at_most("k = 6, low_rank: largest gap", max(s.gap for s in solved), TOLERANCE)
    yield at_most("largest r(r+1)/2 of an optimum", max(r * (r + 1) // 2 for r in ranks), SIZE)
    yield at_least("spurious starts: smallest height above the optimum, relative", trapped, 1e-3)
    yield at_most("spurious starts: largest gap in the end", max(s.gap for s in escaped), TOLERANCE)
    slope, curvature = _escape_derivatives(trial.rng)
    yield at_most("|slope| along the negative eigenvector", slope, 1e-6)
    yield at_most("|curvature - 2 lambda_min|, relative", curvature, 1e-5)


def _spurious_start(problem: Elliptope) -> Array:
    """Find the worst point of the cube that no single flip improves; width 1 makes it critical."""
    points = cube(problem.size)
    C = np.asarray(problem.cost @ np.eye(problem.size))
    values = ((points @ C) * points).sum(axis=1)
    changes = -4.0 * points * (points @ C) + 4.0 * np.diag(C)
    stuck = (changes >= 0).all(axis=1)
    return points[stuck][np.argmax(values[stuck])][:, None]


def _descend(problem: Elliptope, rng: np.random.Generator) -> float:
    """Relative gap where conjugate gradients on the spheres ends at width 6; nothing here escapes from anything."""
    cost = np.asarray(problem.cost @ np.eye(problem.size))

    def objective(flat: Array) -> tuple[float, Array]:
        rows = flat.reshape(problem.size, WIDTH)
        V = sphere.normalise(rows)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        gradient = 2.0 * sphere.tangent(V, cost @ V) / lengths
        return float(certificate.dual_vector(cost, V).sum()), gradient.ravel()

    start = sphere.random_rows(problem.size, WIDTH, rng).ravel()
    end = optimize.minimize(objective, start, jac=True, method="CG", options={"gtol": 1e-6, "maxiter": 300})
    y = certificate.dual_vector(cost, sphere.normalise(end.x.reshape(problem.size, WIDTH)))
    return relative_gap(float(y.sum()), certificate.dual_bound(cost, y).bound, float(np.linalg.norm(cost)))


def _numerical_rank(factor: Array) -> int:
    return int((np.linalg.svd(factor, compute_uv=False) > 1e-3).sum())


def _escape_derivatives(rng: np.random.Generator) -> tuple[float, float]:
    """Differences of the objective at a critical V, along an added column that follows the eigenvector."""
    plant = planted(rng, 12, 3, descent=0.25)
    cost, V = plant.problem.cost, plant.factor
    S = np.asarray(cost @ np.eye(12)) - np.diag(certificate.dual_vector(cost, V))
    u = np.linalg.eigh(S)[1][:, :1]
    wide, direction = np.hstack([V, np.zeros_like(u)]), np.hstack([np.zeros_like(V), u])
    smallest = certificate.dual_bound(cost, certificate.dual_vector(cost, V)).smallest_eigenvalue

    def objective(t: float) -> float:
        return float(certificate.dual_vector(cost, sphere.retract(wide, t * direction)).sum())

    step = 1e-3
    ahead, here, behind = objective(step), objective(0.0), objective(-step)
    second = (ahead - 2.0 * here + behind) / step**2
    return abs(ahead - behind) / (2.0 * step), abs(second - 2.0 * smallest) / abs(2.0 * smallest)


CLAIMS: tuple[Claim, ...] = (staircase,)
