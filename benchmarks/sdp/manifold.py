"""pymanopt's conjugate gradients and trust regions on the oblique manifold, with the same rank and certificate."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from benchmarks.sdp.accuracy import measure
from benchmarks.sdp.clock import repeated
from benchmarks.sdp.instances import Instance
from benchmarks.sdp.outcome import Outcome
from solvers.certificates.dual_bound import dual_bound, dual_vector
from solvers.linalg.rank import default_rank
from solvers.linalg.sphere import random_rows
from solvers.problems.solution import relative_gap

ABSENT = "pymanopt is not installed"
OPTIMIZERS = ("ConjugateGradient", "TrustRegions")
UNLIMITED = 10**9
# Gradient norms are asked for in turn, from where certificates begin to succeed, until one does.
TIGHTER = 0.25
MAX_ROUNDS = 6


def installed() -> bool:
    """Whether pymanopt can be imported."""
    return importlib.util.find_spec("pymanopt") is not None


def run_pymanopt(optimizer: str, instance: Instance, optimum: float, tol: float, limit: float) -> Outcome:
    """Time from a random point to a point whose gap our certificate puts within ``tol``, bound included."""
    name = f"pymanopt {optimizer}"
    if not installed():
        return Outcome(name, None, note=ABSENT)
    timed = repeated(lambda seed: _certified(optimizer, instance, optimum, tol, limit, seed))
    # a start from which it stalls short of the tolerance is not held against it where others succeed
    certified = timed.where(lambda found: found[1] <= tol)
    shown = certified if certified.results else timed
    factor, gap = shown.results[-1]
    seconds = shown.median()
    reached = measure(instance, factor)
    return Outcome(
        name,
        seconds.processor if certified.results else None,
        seconds.wall if certified.results else None,
        reached.value,
        reached.gap,
        reached.dense_gap,
        len(timed.results),
        f"{len(certified.results)} of {len(timed.results)} starts certified"
        if certified.results
        else f"gap {gap:.1e} after {seconds.wall:.3g} s",
    )


def _certified(
    optimizer: str, instance: Instance, optimum: float, tol: float, limit: float, seed: int
) -> tuple[NDArray[np.float64], float]:
    import pymanopt.optimizers

    problem = _problem(instance)
    rank = default_rank(instance.order)
    point = np.ascontiguousarray(random_rows(instance.order, rank, np.random.default_rng(seed)).T)
    threshold = 8.0 * tol * abs(optimum) / np.sqrt(instance.order)
    spent, gap = 0.0, np.inf
    for _ in range(MAX_ROUNDS):
        result = getattr(pymanopt.optimizers, optimizer)(
            max_time=limit - spent,
            max_iterations=UNLIMITED,
            max_cost_evaluations=UNLIMITED,
            min_gradient_norm=threshold,
            min_step_size=1e-14,
            verbosity=0,
        ).run(problem, initial_point=point)
        point = result.point
        spent += result.time
        factor = np.ascontiguousarray(point.T)
        dual = dual_vector(instance.cost, factor)
        bound = dual_bound(instance.cost, dual, rng=seed).bound
        gap = relative_gap(float(dual.sum()), bound, instance.frobenius)
        if gap <= tol or spent >= limit:
            break
        threshold *= TIGHTER
    return factor, gap


def _problem(instance: Instance) -> Any:
    """<C, X^T X> over matrices X with unit columns; the product with C is shared by value and gradient."""
    import pymanopt
    from pymanopt.manifolds import Oblique

    manifold = Oblique(default_rank(instance.order), instance.order)
    product = _Product(instance.cost)

    @pymanopt.function.numpy(manifold)
    def cost(point: NDArray[np.float64]) -> float:
        return float(np.vdot(product(point), point))

    @pymanopt.function.numpy(manifold)
    def gradient(point: NDArray[np.float64]) -> NDArray[np.float64]:
        return 2.0 * product(point)

    @pymanopt.function.numpy(manifold)
    def hessian(point: NDArray[np.float64], direction: NDArray[np.float64]) -> NDArray[np.float64]:
        return 2.0 * product.apply(direction)

    return pymanopt.Problem(manifold, cost, euclidean_gradient=gradient, euclidean_hessian=hessian)


class _Product:
    """X -> X C, remembering the last point; optimisers ask for value and gradient at the same one."""

    def __init__(self, cost: sp.csr_array) -> None:
        self._cost = cost
        self._point: NDArray[np.float64] | None = None
        self._image: NDArray[np.float64] = np.empty(0)

    def __call__(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        if point is not self._point:
            self._point, self._image = point, self.apply(point)
        return self._image

    def apply(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self._cost @ point.T).T
