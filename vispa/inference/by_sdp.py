"""`minimize_by_sdp`: the same posterior and the same result, read off the semidefinite relaxation."""

from __future__ import annotations

import time

import numpy as np

from solvers import checks
from solvers.problems.problem import BinaryQuadratic
from solvers.problems.solution import Status
from vispa.gaussian.entropy import Estimate
from vispa.gaussian.sign_gaussian import SignGaussian
from vispa.inference.result import InferenceResult, InferenceStatus

__all__ = ["minimize_by_sdp"]

# Of the posterior, for the mean loss.
SAMPLES = 2000


def minimize_by_sdp(
    problem: BinaryQuadratic,
    *,
    max_seconds: float | None = None,
    rng: np.random.Generator | int | None = None,
) -> InferenceResult:
    """Return what `vispa.minimize` returns at temperature 0, by `solvers.low_rank` instead of sampled gradients.

    The relaxation is the expectation of the quadratic over latent Gaussians: its solution is a posterior, from
    which signs are rounded and improved by flips. The solver chooses its own rank and stops by its certificate.

    Parameters
    ----------
    problem : BinaryQuadratic
    max_seconds : float, optional
        Wall-clock limit of the solver.
    rng : numpy.random.Generator or int, optional
        The same seed gives the same result.

    Returns
    -------
    InferenceResult
        Without history: there are no steps to report.

    Raises
    ------
    TypeError
        If ``problem`` is no BinaryQuadratic: other losses have no relaxation here; see `vispa.minimize`.
    ValueError
        If ``max_seconds`` is not positive, or ``rng`` no seed.

    Examples
    --------
    >>> problem = BinaryQuadratic(np.array([[0.0, 1.0], [1.0, 0.0]]))
    >>> result = minimize_by_sdp(problem, rng=0)
    >>> result.value, round(result.lower_bound, 6), int(result.signs.sum())
    (-2.0, -2.0, 0)
    """
    from solvers.heuristics.rounding import round_homogeneous
    from solvers.low_rank import low_rank

    began = time.perf_counter()
    if not isinstance(problem, BinaryQuadratic):
        raise TypeError(
            f"problem must be a BinaryQuadratic; found {type(problem).__name__}: vispa.minimize takes any loss"
        )
    limit = None if max_seconds is None else checks.scalar("max_seconds", max_seconds, positive=True)
    rng = checks.generator("rng", rng)
    solution = low_rank(problem, max_seconds=limit, rng=rng)
    posterior = SignGaussian.from_solution(solution)
    rounding = round_homogeneous(solution, rng=rng)
    status = {
        Status.TIME_LIMIT: InferenceStatus.TIME_LIMIT,
        Status.INTERRUPTED: InferenceStatus.INTERRUPTED,
    }.get(solution.status, InferenceStatus.COMPLETED)
    energy = Estimate.of_mean(np.asarray(problem.evaluate(posterior.sample(SAMPLES, rng=rng))))
    return InferenceResult(
        posterior, rounding.signs, rounding.value, energy.value, energy.standard_error, solution.lower_bound,
        (), status, time.perf_counter() - began,
    )  # fmt: skip
