"""Solve one part of a problem: advance, certify, escape, until its share of the gap is reached."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from solvers.certificate import DENSE_ORDER, dense_slack
from solvers.conjugate_gradient import ConjugateGradient
from solvers.lanczos import Krylov, smallest_eigenpair, start_vector
from solvers.over_relaxation import OverRelaxation
from solvers.problem import Cost
from solvers.run import Run
from solvers.sphere import Factor, normalise, row_products

# Iterations between looks at the decrease; the time limit is checked there too.
BLOCK = 10
# The slack matrix is nearly as negative as it is on the range of V: a certificate is worth its price once the gap
# that this implies is within this share of what is allowed.
PROMISING = 0.85
# Axes of V whose squared singular value is below this share of the largest are noise.
NEGLIGIBLE_AXIS = 1e-4
# A failed certificate is followed by this many times the iterations so far before the next.
PATIENCE = 1.25
# Converged: the foretold error is this small a part of what is allowed, so only an escape can help.
CONVERGED = 1e-3
# Escapes that lower the value by less than rounding, one after another, before the solver gives up.
MAX_FUTILE_ESCAPES = 3


class Method(Protocol):
    """What the loop needs of a method."""

    iterations: int

    def restart(self) -> None:
        """Forget the past, as after an escape."""

    def advance(self, factor: Factor, count: int) -> tuple[Factor, float]:
        """Run ``count`` iterations; return the factor and the decrease in the last one."""


class Verdict(NamedTuple):
    """Smallest eigenvalue found, what may be missing from it, and its vector where one was asked for."""

    value: float
    error: float
    vector: NDArray[np.float64] | None


def curvature_in_range(factor: Factor, gradient: Factor) -> Verdict:
    """The smallest Ritz value of C - Diag(y) on the range of V, from the gradient (C - Diag(y)) V alone.

    It bounds the smallest eigenvalue from above, and near a solution it almost equals it.
    """
    gram_values, axes = la.eigh(factor.T @ factor)
    kept = gram_values > NEGLIGIBLE_AXIS * gram_values[-1]
    basis = axes[:, kept] / np.sqrt(gram_values[kept])
    projected = basis.T @ (factor.T @ gradient) @ basis
    values, vectors = la.eigh(0.5 * (projected + projected.T))
    return Verdict(float(values[0]), 0.0, factor @ (basis @ vectors[:, 0]))


class PartSolver:
    """One part with its factor, multipliers and bound, all valid at any moment.

    Parameters
    ----------
    cost : (n, n) array, sparse array or LinearOperator
        Symmetric, without its diagonal unless it is an operator.
    factor : (n, k) ndarray
        Unit rows to start from.
    generator : numpy Generator
        For Lanczos start vectors.
    """

    def __init__(self, cost: Cost, factor: Factor, generator: np.random.Generator) -> None:
        self.cost = cost
        self.order = int(cost.shape[0])
        self.factor = np.ascontiguousarray(factor)
        self._generator = generator
        self._method: Method = (
            ConjugateGradient(cost) if isinstance(cost, LinearOperator) else OverRelaxation(cost)
        )
        image = np.asarray(cost @ self.factor)
        self.value = float(np.vdot(image, self.factor))
        self.dual, self.bound = self._first_bound()
        self._multipliers = self.dual
        self._curvature = Verdict(-np.inf, 0.0, None)
        self._escape_vector: NDArray[np.float64] | None = None

    def solve(self, number: int, run: Run, share: float) -> None:
        """Iterate until value - bound <= share * run.scale, a limit, or the end of what float64 can do.

        Raises
        ------
        Stop
            From ``run``, at a limit.
        """
        next_check = 0
        futile = 0
        best = self.value
        while True:
            allowed = 0.9 * share * run.scale
            decrease = self._advance(number, run)
            iterations = self._method.iterations
            foretold = 0.5 * decrease * iterations
            converged = foretold <= max(CONVERGED * allowed, 1e-15 * abs(self.value))
            promising = -self.order * self._curvature.value <= PROMISING * allowed
            if not ((promising and iterations >= next_check) or converged):
                continue
            if self._certify(number, run, allowed, want_vector=converged):
                return
            next_check = int(PATIENCE * iterations)
            if not converged:
                continue
            futile = 0 if self.value < best - 1e-13 * abs(best) else futile + 1
            best = min(best, self.value)
            if futile > MAX_FUTILE_ESCAPES or not self._escape():
                return
            next_check = 0

    def _advance(self, number: int, run: Run) -> float:
        count = max(1, min(BLOCK, run.remaining_iterations))
        self.factor, decrease = self._method.advance(self.factor, count)
        run.iterations += count
        image = np.asarray(self.cost @ self.factor)
        self._multipliers = row_products(image, self.factor)
        gradient = image - self._multipliers[:, None] * self.factor
        self.value = float(self._multipliers.sum())
        self._curvature = curvature_in_range(self.factor, gradient)
        run.advance(number, self.value, float(np.linalg.norm(gradient)), self.factor.shape[1])
        return decrease

    def _first_bound(self) -> tuple[NDArray[np.float64], float]:
        """Gershgorin's: y_i = -sum_j |c_ij| makes C - Diag(y) diagonally dominant, before any work is done."""
        if isinstance(self.cost, LinearOperator):
            return np.zeros(self.order), -np.inf
        absolute = np.asarray(abs(self.cost) @ np.ones(self.order))
        return -absolute, -float(absolute.sum())

    def _certify(self, number: int, run: Run, allowed: float, *, want_vector: bool) -> bool:
        dual = self._multipliers
        threshold = -allowed / self.order
        verdict = self._smallest(dual, threshold, want_vector)
        bound = self.value + self.order * min(verdict.value - verdict.error, 0.0)
        if bound > self.bound:
            self.dual, self.bound = dual, bound
        run.values[number], run.bounds[number] = self.value, self.bound
        self._escape_vector = verdict.vector
        return self.value - self.bound <= allowed

    def _smallest(self, dual: NDArray[np.float64], threshold: float, want_vector: bool) -> Verdict:
        if self.order <= DENSE_ORDER:
            slack = dense_slack(self.cost, dual)
            if want_vector:
                values, vectors = la.eigh(slack, subset_by_index=[0, 0])
                return Verdict(float(values[0]), 0.0, vectors[:, 0])
            return Verdict(float(la.eigvalsh(slack, subset_by_index=[0, 0])[0]), 0.0, None)

        known = self._curvature
        krylov = Krylov(self.cost, dual, start_vector(self.order, self._generator, known.vector))
        pair = smallest_eigenpair(krylov, threshold=threshold, known=known.value)
        vector = krylov.ritz_vector(pair.coefficients) if want_vector else None
        return Verdict(min(pair.value, known.value), pair.error, vector)

    def _escape(self) -> bool:
        """Give V a new direction along the certificate's eigenvector; False where nothing decreases."""
        if self._escape_vector is None:
            return False
        direction = self._escape_vector * np.sqrt(self.order)
        compressed = _principal_columns(self.factor)
        best_value, best = self.value, None
        for step in (1.0, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4):
            trial = normalise(np.column_stack([compressed, step * direction]))
            value = float(np.vdot(np.asarray(self.cost @ trial), trial))
            if value < best_value:
                best_value, best = value, trial
        if best is None:
            return False
        self.factor = np.ascontiguousarray(best)
        self.value = best_value
        self._method.restart()
        return True


def _principal_columns(factor: Factor) -> Factor:
    """Rotate the columns to principal axes and drop those that are zero to rounding; V V^T stays."""
    left, singular, _ = la.svd(factor, full_matrices=False)
    kept = singular > 1e-8 * singular[0]
    return normalise(left[:, kept] * singular[kept])
