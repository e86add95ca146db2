"""R1: the semidefinite relaxation is Gaussian variational inference of the latent objective."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import aslinearoperator

from solvers import problem as problems
from theory_checks import instances
from theory_checks.claim import Claim, Measurement, Trial, at_most, claim
from theory_checks.oracles import cube

Array = NDArray[np.float64]

SIZE = 9


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
        max(_expectation_error(member, trial.rng) for member in family),
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


CLAIMS: tuple[Claim, ...] = (latent_objective,)
