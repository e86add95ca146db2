"""The smallest eigenvalue of C - Diag(y), by the Lanczos recurrence without restarts.

Only the extreme Ritz value matters, so no reorthogonalisation is needed: lost orthogonality repeats converged
Ritz values and leaves the extreme one correct (Paige 1980).  Memory is a few vectors; the Ritz vector, which
only an escape asks for, costs a second run of the recurrence.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg.lapack import dstebz, dstein

from solvers.linalg.threads import Wait, lockstep
from solvers.problems.cost import Cost

Vector = NDArray[np.float64]
# The last two basis vectors, not normalised, each with its length.
State = tuple[Vector, float, Vector, float]

# Rows that a thread handles at a time, about; the blocks are as many as two, four or eight threads share evenly.
BLOCK_ROWS = 12_500
SHARED_BY = 8
CHECK_EVERY = 15
BREAKDOWN = 1e-14
# Of the spectral radius: what the recurrence itself gets wrong.
ROUNDING = 1e-15
# Of the threshold: how sharp a Ritz value must be to be compared with it.
BRACKET = 0.01
# A Ritz value counts as isolated, so that its error is quadratic in its residual, at this share of the distance.
ISOLATED = 0.1
# LAPACK's word for eigenvalues that are chosen by their place in ascending order.
BY_NUMBER = 2


class Eigenpair(NamedTuple):
    """A Ritz value, an estimate of how far it lies above the eigenvalue, and its vector's coefficients."""

    value: float
    error: float
    products: int
    coefficients: Vector


class Krylov:
    """The recurrence from one start vector: alpha and beta grow, the basis is forgotten.

    Parameters
    ----------
    cost : (n, n) ndarray, csr_array or LinearOperator
        Symmetric C.
    dual : (n,) ndarray
        y.
    start : (n,) ndarray
        Unit vector.
    workers : int, optional
        Threads that share a step, if C is sparse; they do not change the result.
    """

    def __init__(self, cost: Cost, dual: Vector, start: Vector, workers: int = 1) -> None:
        self._start = start
        self._half_steps: HalfSteps = _SparseRows(cost, dual) if sp.issparse(cost) else _Whole(cost, dual)
        count = SHARED_BY * math.ceil(start.size / (SHARED_BY * BLOCK_ROWS))
        if not sp.issparse(cost) or start.size <= BLOCK_ROWS:
            count = 1
        self._blocks = list(pairwise(start.size * block // count for block in range(count + 1)))
        self._workers = min(workers, len(self._blocks))
        self._rewind()

    def _rewind(self) -> None:
        self._previous, self._norm_before = np.zeros_like(self._start), 1.0
        self._current, self._norm = self._start.copy(), 1.0
        self.diagonal: Vector = np.empty(0)
        self.offdiagonal: Vector = np.empty(0)

    def extend(self, count: int, coefficients: Vector | None = None, total: Vector | None = None) -> None:
        """Run ``count`` steps; add the basis vectors, weighted, to ``total`` where asked."""
        alphas, betas = np.empty(count), np.empty(count)
        sums = tuple([0.0] * len(self._blocks) for _ in range(2))
        state = lockstep(
            self._workers,
            lambda worker, barrier: self._steps(worker, barrier, sums, alphas, betas, coefficients, total),
        )
        self._previous, self._norm_before, self._current, self._norm = state
        self.diagonal = np.concatenate([self.diagonal, alphas])
        self.offdiagonal = np.concatenate([self.offdiagonal, betas])

    def _steps(
        self,
        worker: int,
        barrier: Wait,
        sums: tuple[list[float], ...],
        alphas: Vector,
        betas: Vector,
        coefficients: Vector | None,
        total: Vector | None,
    ) -> State:
        """One thread's share of some steps: the blocks that are its own."""
        previous, before, current, norm = self._previous, self._norm_before, self._current, self._norm
        blocks, half_steps = self._blocks, self._half_steps
        own = range(worker, len(blocks), self._workers)
        for step in range(alphas.size):
            scale = 1.0 / norm if norm > 0.0 else 0.0
            back = norm / before if before > 0.0 else 0.0
            for block in own:
                if coefficients is not None and total is not None:
                    rows = slice(*blocks[block])
                    total[rows] += coefficients[step] * scale * current[rows]
                sums[0][block] = half_steps.image(previous, current, *blocks[block], scale, back)
            barrier()
            alpha = scale * sum(sums[0])
            for block in own:
                sums[1][block] = half_steps.subtract(previous, current, *blocks[block], alpha * scale)
            barrier()
            before, norm = norm, math.sqrt(sum(sums[1]))
            previous, current = current, previous
            # every thread writes the same
            alphas[step], betas[step] = alpha, norm
        return previous, before, current, norm

    def ritz_vector(self, coefficients: Vector) -> Vector:
        """Run the recurrence again, bit for bit, and sum its vectors with the given coefficients."""
        self._rewind()
        total = np.zeros_like(self._start)
        self.extend(coefficients.size, coefficients, total)
        return total / np.linalg.norm(total)


class HalfSteps(Protocol):
    """The two halves of a step, over rows ``first`` .. ``last - 1``, as in `solvers.kernels.krylov`."""

    def image(
        self, previous: Vector, current: Vector, first: int, last: int, scale: float, back: float
    ) -> float:
        """Replace ``previous`` by scale (C - Diag(y)) current - back previous; return its product."""

    def subtract(self, previous: Vector, current: Vector, first: int, last: int, weight: float) -> float:
        """Subtract weight current from ``previous``; return what is left, squared."""


class _SparseRows:
    """Compiled, for a sparse cost."""

    def __init__(self, cost: sp.csr_array, dual: Vector) -> None:
        from solvers.kernels import krylov

        self.image = partial(krylov.image_rows, cost.indptr, cost.indices, cost.data, dual)
        self.subtract = krylov.subtract_rows


class _Whole:
    """By products with all rows at once, for a dense cost or an operator."""

    def __init__(self, cost: Cost, dual: Vector) -> None:
        self._cost = cost
        self._dual = dual

    def image(
        self, previous: Vector, current: Vector, first: int, last: int, scale: float, back: float
    ) -> float:
        previous *= -back
        previous += scale * (self._cost @ current - self._dual * current)
        return float(previous @ current)

    def subtract(self, previous: Vector, current: Vector, first: int, last: int, weight: float) -> float:
        previous -= weight * current
        return float(previous @ previous)


def smallest_eigenpair(
    krylov: Krylov,
    *,
    threshold: float | None = None,
    known: float = np.inf,
    tolerance: float = 1e-12,
    confirmation: float = 1.25,
    insist: bool = False,
    max_products: int = 5000,
) -> Eigenpair:
    r"""Estimate :math:`\lambda_{\min}`, stopping as soon as the question asked of it is settled.

    Parameters
    ----------
    krylov : Krylov
        A recurrence that has not run yet.
    threshold : float, optional
        Where given, stop once the Ritz value is below it (then so is :math:`\lambda_{\min}`, and its error is
        infinite), or once the Ritz value less its error is above it and stayed there until the steps had grown
        by the factor `confirmation`.
    known : float, optional
        An upper bound on :math:`\lambda_{\min}` from elsewhere: the recurrence is not believed before it has
        come down to that, or to within a quarter of the threshold of it.
    tolerance : float, optional
        Without a threshold, the error wanted, relative to the spectral radius.
    confirmation : float, optional
        At least 1.
    insist : bool, optional
        Go on below the threshold, until the eigenvalue is known to within itself.
    max_products : int, optional
        Products with the operator at most.

    Returns
    -------
    Eigenpair
        The Ritz value is never below :math:`\lambda_{\min}` but for rounding.  The error is the residual, or
        where a threshold is given and the Ritz value is isolated, Kato and Temple's residual^2 / distance to
        the next.  It is true if no eigenvalue hides from the start vector, which a random one makes unlikely
        and nothing here proves.

    Notes
    -----
    O(nnz) a product, O(n) memory.
    """
    order = krylov._start.shape[0]
    limit = min(max_products, 4 * order)
    settled_at, floor = 0, -math.inf
    while True:
        steps = krylov.diagonal.size
        krylov.extend(min(max(CHECK_EVERY, steps // 4), limit - steps))
        value, error, ritz, radius, broke = _extreme_ritz(krylov.diagonal, krylov.offdiagonal, threshold)
        # a small residual proves an eigenvalue for good: copies that lost orthogonality makes of it, among which
        # the Ritz vector then wanders, cannot undo that
        floor = max(floor, value - error) if value >= floor else value - error
        error = max(value - floor, ROUNDING * radius)
        steps = krylov.diagonal.size
        if broke or steps >= limit:
            break
        if threshold is not None and value < threshold:
            if not insist:
                return Eigenpair(value, np.inf, steps, ritz)
            threshold, settled_at = 2.0 * value, 0
        target = tolerance * radius if threshold is None else value - threshold
        found = threshold is None or value <= known + 0.25 * abs(threshold) + ROUNDING * radius
        settled_at = (settled_at or steps) if found and error <= target else 0
        if settled_at and steps >= confirmation * settled_at:
            break
    return Eigenpair(value, error, steps, ritz)


def start_vector(order: int, rng: np.random.Generator, guess: Vector | None = None) -> Vector:
    """A random unit vector, leaning toward a guess of the eigenvector where there is one."""
    start = rng.standard_normal(order)
    start /= np.linalg.norm(start)
    if guess is not None:
        start = 0.5 * start + guess / np.linalg.norm(guess)
        start /= np.linalg.norm(start)
    return start


def _extreme_ritz(
    diagonal: Vector, offdiagonal: Vector, threshold: float | None
) -> tuple[float, float, Vector, float, bool]:
    """Smallest Ritz value, its error, its coefficients, the spectral radius, and whether the space is whole."""
    radius = float(np.abs(diagonal).max() + 2.0 * offdiagonal.max())
    tiny = np.flatnonzero(offdiagonal <= BREAKDOWN * radius)
    if tiny.size:
        # an invariant subspace: what follows is noise
        diagonal, offdiagonal = diagonal[: tiny[0] + 1], offdiagonal[: tiny[0] + 1]
    if diagonal.size == 1:
        return float(diagonal[0]), float(offdiagonal[0]), np.ones(1), radius, bool(tiny.size)
    width = ROUNDING * radius if threshold is None else max(BRACKET * abs(threshold), ROUNDING * radius)
    value, second, vector = _two_smallest(diagonal, offdiagonal[:-1], width)
    error = float(offdiagonal[-1] * abs(vector[-1]))
    distance = second - error - value
    if threshold is not None and error <= ISOLATED * distance:
        error = error**2 / distance
    error += width + ROUNDING * radius
    return value, error, vector, radius, bool(tiny.size)


def _two_smallest(diagonal: Vector, offdiagonal: Vector, width: float) -> tuple[float, float, Vector]:
    """A bound above the smallest eigenvalue and one below the second, not further off than ``width``; a vector.

    LAPACK's bisection, which SciPy's `eigh_tridiagonal` only offers to full accuracy, at twice the price.
    """
    _, values, blocks, splits, _ = dstebz(diagonal, offdiagonal, BY_NUMBER, 0.0, 0.0, 1, 2, width, "B")
    # two at the beginning, in the order of the blocks that zeros off the diagonal leave
    first, second = (0, 1) if values[0] <= values[1] else (1, 0)
    blocks = np.roll(blocks, -first)
    vectors, _ = dstein(diagonal, offdiagonal, values[first : first + 1], blocks, splits)
    return float(values[first]) + 0.5 * width, float(values[second]) - 0.5 * width, vectors[:, 0]
