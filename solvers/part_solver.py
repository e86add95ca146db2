"""Solve one part of a problem: advance, certify, escape, until its share of the gap is reached."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from solvers.certificate import DENSE_ORDER, dense_slack
from solvers.conjugate_gradient import ConjugateGradient
from solvers.factored_sweep import FactoredSweep
from solvers.gram import Gram
from solvers.lanczos import Krylov, smallest_eigenpair, start_vector
from solvers.method import Method
from solvers.over_relaxation import OverRelaxation
from solvers.problem import Cost
from solvers.run import Run
from solvers.sphere import Factor, normalise, row_products
from solvers.trust_region import TrustRegion

# Iterations between looks at the decrease; the time limit is checked there too.
BLOCK = 10
# The slack matrix is nearly as negative as it is on the range of V: a certificate is worth its price once the gap
# that this implies is within this share of what is allowed.
PROMISING = 0.75
# Axes of V whose squared singular value is below this share of the largest are noise.
NEGLIGIBLE_AXIS = 1e-4
# After a limit, a gap of this share of the value is sharp enough.
SETTLED = 1e-6
# Of the value: an escape that lowers it by less has only found rounding.
ROUNDING = 1e-13
EPSILON = float(np.finfo(np.float64).eps)
# A failed certificate is followed by this many times the iterations so far before the next.
PATIENCE = 1.25
# Converged: the foretold error is this small a part of what is allowed, so only an escape can help.
CONVERGED = 1e-3
# An eigenvalue this many times as negative as the curvature on the range of V belongs to a direction outside it.
OUTSIDE = 2.0
# A method that halves neither the implied gap nor the error within this share of its blocks so far, and within this
# many of them, is crawling.
CRAWLING_SHARE = 0.75
MIN_BLOCKS = 20
# First-order iterations that every problem gets; the smaller it is, the sooner second-order ones pay.
SWEEPS_PER_ROW = 10
MIN_SWEEPS = 200
MAX_SWEEPS = 1000
# Sweeps go on while they are projected to arrive within this many times their number so far.
FAR = 8.0


class Verdict(NamedTuple):
    """Smallest eigenvalue found, what may be missing from it, and its vector where one was asked for."""

    value: float
    error: float
    vector: NDArray[np.float64] | None


def curvature_in_range(factor: Factor, gradient: Factor) -> Verdict:
    """The smallest Ritz value of C - Diag(y) on the range of V, from the gradient (C - Diag(y)) V alone.

    It bounds the smallest eigenvalue from above, and near a solution it almost equals it.
    """
    gram_values, axes = np.linalg.eigh(factor.T @ factor)
    kept = gram_values > NEGLIGIBLE_AXIS * gram_values[-1]
    basis = axes[:, kept] / np.sqrt(gram_values[kept])
    projected = basis.T @ (factor.T @ gradient) @ basis
    values, vectors = np.linalg.eigh(0.5 * (projected + projected.T))
    return Verdict(float(values[0]), 0.0, factor @ (basis @ vectors[:, 0]))


class _Progress:
    """Notices when neither the implied gap nor the foretold error is halved any more, or when both crawl."""

    def __init__(self) -> None:
        self._implied = np.inf
        self._foretold = np.inf
        self._record: list[float] = []
        self._halved_at = 0

    def note(self, foretold: float) -> None:
        """Record the error foretold after a block of iterations."""
        self._record.append(foretold)

    def projected(self, implied: float, target: float) -> float:
        """How many times the iterations so far it takes to a gap, if that falls by the power law of the error."""
        # medians, because the decreases of over-relaxed sweeps flicker
        middle = len(self._record) // 2
        now = float(np.median(self._record[-5:]))
        before = float(np.median(self._record[max(middle - 5, 0) : middle + 1]))
        if implied <= target:
            return 1.0
        if not 0.0 < now < before:
            return np.inf
        return float(2.0 ** (np.log(implied / target) / np.log(before / now)))

    def stalled(self, implied: float, foretold: float) -> bool:
        """Whether nothing was halved for too many blocks."""
        blocks = len(self._record)
        if implied < 0.5 * self._implied or foretold < 0.5 * self._foretold:
            self._implied = min(implied, self._implied)
            self._foretold = min(foretold, self._foretold)
            self._halved_at = blocks
        return blocks - self._halved_at > max(MIN_BLOCKS, CRAWLING_SHARE * blocks)


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
        self._method: Method = _first_method(cost)
        image = np.asarray(cost @ self.factor)
        self.value = float(np.vdot(image, self.factor))
        self.dual, self.bound = self._first_bound()
        self._multipliers = self.dual
        self._curvature = Verdict(-np.inf, 0.0, None)
        self._gradient_norm = np.nan
        self._exhausted = False

    def solve(self, number: int, run: Run, share: float) -> None:
        """Iterate until value - bound <= share * run.scale, a limit, or the end of what float64 can do.

        Raises
        ------
        Stop
            From ``run``, at a limit.
        """
        next_check = 0
        progress = _Progress()
        while not self._exhausted and self.value - self.bound > 0.9 * share * run.scale:
            allowed = 0.9 * share * run.scale
            foretold = self._advance(number, run)
            progress.note(foretold)
            converged = foretold <= max(CONVERGED * allowed, 1e-15 * abs(self.value))
            if foretold > allowed and not self._sweeps_had_their_chance() and not self._second_order():
                continue
            implied = self._look()
            iterations = self._method.iterations
            if (implied <= PROMISING * allowed or converged) and iterations >= next_check:
                verdict = self._certify(number, run, allowed)
                next_check = int(PATIENCE * iterations)
                # negative curvature that the range of V does not show: no step within it can help
                outside = verdict.value < OUTSIDE * min(self._curvature.value, 0.0)
                if converged and outside and self._escape(allowed):
                    next_check = 0
                    progress = _Progress()
                    continue
            slow = self._sweeps_had_their_chance() and progress.projected(implied, PROMISING * allowed) > FAR
            if slow or progress.stalled(implied, foretold):
                self._change_method()
                progress, next_check = _Progress(), 0

    def _advance(self, number: int, run: Run) -> float:
        """Run a block of iterations; return the error that the last decrease foretells."""
        count = max(1, min(BLOCK, run.remaining_iterations))
        before = self._method.iterations
        self.factor, last, decrease = self._method.advance(self.factor, count)
        self.value -= decrease
        run.iterations += self._method.iterations - before
        run.advance(number, self.value, self._gradient_norm, self.factor.shape[1])
        self._gradient_norm = np.nan
        return 0.5 * last * self._method.iterations

    def _look(self) -> float:
        """Multipliers, gradient and curvature at the present point; return the gap that the curvature implies."""
        image = np.asarray(self.cost @ self.factor)
        self._multipliers = row_products(image, self.factor)
        gradient = image - self._multipliers[:, None] * self.factor
        self.value = float(self._multipliers.sum())
        self._gradient_norm = float(np.linalg.norm(gradient))
        if not np.isfinite(self._gradient_norm):
            raise ValueError("cost must be finite; a product with it held NaN or infinite entries")
        self._curvature = curvature_in_range(self.factor, gradient)
        return max(-self.order * self._curvature.value, 0.0)

    def settle(self, number: int, run: Run) -> None:
        """Compute the bound at the present point, as after a limit, no more sharply than the point deserves."""
        implied = self._look()
        self._certify(number, run, max(2.0 * implied, SETTLED * abs(self.value)))

    def _first_bound(self) -> tuple[NDArray[np.float64], float]:
        """Gershgorin's: y_i = -sum_j |c_ij| makes C - Diag(y) diagonally dominant, before any work is done."""
        if isinstance(self.cost, Gram):
            dual = self.cost.dominated_dual()
            return dual, float(dual.sum())
        if isinstance(self.cost, LinearOperator):
            return np.zeros(self.order), -np.inf
        absolute = np.asarray(abs(self.cost) @ np.ones(self.order))
        return -absolute, -float(absolute.sum())

    def _certify(self, number: int, run: Run, allowed: float) -> Verdict:
        dual = self._multipliers
        verdict = self._smallest(allowed, want_vector=False)
        bound = self.value + self.order * min(verdict.value - verdict.error, 0.0)
        if bound > self.bound:
            self.dual, self.bound = dual, bound
        run.values[number], run.bounds[number] = self.value, self.bound
        return verdict

    def _smallest(self, allowed: float, *, want_vector: bool) -> Verdict:
        """The smallest eigenvalue at the multipliers of the last look, as far as the allowed gap needs it."""
        dual = self._multipliers
        threshold = -allowed / self.order
        if self.order <= DENSE_ORDER:
            slack = dense_slack(self.cost, dual)
            error = EPSILON * float(np.linalg.norm(slack))
            if want_vector:
                values, vectors = la.eigh(slack, subset_by_index=[0, 0])
                return Verdict(float(values[0]), error, vectors[:, 0])
            return Verdict(float(np.linalg.eigvalsh(slack)[0]), error, None)

        known = self._curvature
        krylov = Krylov(self.cost, dual, start_vector(self.order, self._generator, known.vector))
        pair = smallest_eigenpair(krylov, threshold=threshold, known=known.value)
        vector = krylov.ritz_vector(pair.coefficients) if want_vector else None
        return Verdict(min(pair.value, known.value), pair.error, vector)

    def _sweeps_had_their_chance(self) -> bool:
        chance = min(max(SWEEPS_PER_ROW * self.order, MIN_SWEEPS), MAX_SWEEPS)
        return self._method.iterations >= chance and not self._second_order()

    def _second_order(self) -> bool:
        return isinstance(self._method, TrustRegion)

    def _change_method(self) -> None:
        """Turn to second-order steps; where they crawl too, nothing is left to try."""
        self._exhausted = self._second_order()
        self._method = TrustRegion(self.cost)

    def _escape(self, allowed: float) -> bool:
        """Give V a new direction along the certificate's eigenvector; False where nothing decreases."""
        vector = self._smallest(allowed, want_vector=True).vector
        assert vector is not None
        direction = vector * np.sqrt(self.order)
        compressed = _principal_columns(self.factor)
        best_value, best = self.value - ROUNDING * abs(self.value), None
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


def _first_method(cost: Cost) -> Method:
    if isinstance(cost, Gram):
        return FactoredSweep(cost)
    return ConjugateGradient(cost) if isinstance(cost, LinearOperator) else OverRelaxation(cost)


def _principal_columns(factor: Factor) -> Factor:
    """Rotate the columns to principal axes and drop those that are zero to rounding; V V^T stays."""
    left, singular, _ = la.svd(factor, full_matrices=False)
    kept = singular > 1e-8 * singular[0]
    return normalise(left[:, kept] * singular[kept])
