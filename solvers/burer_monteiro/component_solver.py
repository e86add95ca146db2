"""Solve one part of a problem: advance, certify, escape, until its share of the gap is reached."""

from __future__ import annotations

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.burer_monteiro.monitor import Run
from solvers.burer_monteiro.progress import Progress
from solvers.certificates.component import SHARP, PartCertificate, Verdict
from solvers.linalg.matvec import Products
from solvers.linalg.sphere import Factor, normalise, normalise_in_place
from solvers.methods.base import Method
from solvers.methods.coloured_relaxation import PARALLEL_ORDER, ColouredRelaxation, few_colours
from solvers.methods.conjugate_gradient import ConjugateGradient
from solvers.methods.gram_relaxation import FactoredSweep
from solvers.methods.over_relaxation import OverRelaxation
from solvers.methods.trust_region import TrustRegion
from solvers.problems.cost import Cost
from solvers.problems.gram import Gram

# Iterations between looks at the decrease; the time limit is checked there too.
BLOCK = 10
# A look costs some iterations: the first once the foretold error is this share of what is allowed, the next once it
# has fallen by as much again at least.  It falls faster than the implied gap: by this power of what that lacks, but
# no further than by the last share at a time.
LOOK = 0.5
LACKING = 1.5
FARTHEST = 0.05
# Sweeps that leave rows on their spheres but for some units of rounding.
STEADY = 100
# Blocks between looks at sweeps that take long.
LOOK_BLOCKS = 10
# The slack matrix is nearly as negative as it is on the range of V: a certificate is worth its price once the gap
# that this implies is within this share of what is allowed.
PROMISING = 0.75
# Of what is allowed: so much less is asked of a certificate, that rounding cannot make it useless.
SLACK = 0.01
# After a limit, a gap of this share of the value is sharp enough.
SETTLED = 1e-6
# Of the value: an escape that lowers it by less has only found rounding.
ROUNDING = 1e-13
# A failed certificate is followed by this many times the iterations so far before the next.
PATIENCE = 1.25
# Converged: the foretold error is this small a part of what is allowed, so only an escape can help.
CONVERGED = 1e-3
# An eigenvalue this many times as negative as the curvature on the range of V belongs to a direction outside it.
OUTSIDE = 2.0
# First-order iterations that every problem gets; the smaller it is, the sooner second-order ones pay.
SWEEPS_PER_ROW = 10
MIN_SWEEPS = 200
MAX_SWEEPS = 4000
# Sweeps go on while they are projected to arrive within this many times their number so far.
FAR = 8.0


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
    fresh : bool
        Whether the factor is random: descent then grows its axes along every negative curvature, and axes that
        are left over at its end are evidence that none remains.  One that was given, or has escaped, may have
        directions that it has hardly tried.
    workers : int
        Threads for sweeps and products, if the part is large enough for several.
    """

    def __init__(
        self, cost: Cost, factor: Factor, generator: np.random.Generator, *, fresh: bool, workers: int
    ) -> None:
        self.cost = cost
        self.order = int(cost.shape[0])
        self._products = Products(cost, workers if self.order >= PARALLEL_ORDER else 1)
        self._method = _first_method(cost, self._products)
        self.rank = factor.shape[1]
        self.factor = self._products.arrange(factor)
        self.value = self._objective()
        self._certificate = PartCertificate(cost, self._products, generator, fresh=fresh)
        self.dual, self.bound = self._certificate.first_bound()
        self._gradient_norm = np.nan
        self._exhausted = False
        if fresh and isinstance(self._method, ColouredRelaxation):
            # half the memory traffic; single precision sees enough until the first look
            self.factor = self.factor.astype(np.float32)

    def _objective(self) -> float:
        def share(rows: slice) -> tuple[NDArray[np.float64]]:
            return (np.asarray(np.vdot(self._products.rows(self.factor, rows), self.factor[rows])),)

        return float(self._products.pieces(self.factor.shape[1]).total(share)[0])

    @property
    def point(self) -> Factor:
        """The factor without the columns that only fill registers."""
        return self.factor[:, : self.rank]

    @property
    def feasible_dual(self) -> NDArray[np.float64]:
        """The multipliers, lowered until their sum is the bound."""
        excess = float(self.dual.sum()) - self.bound
        return self.dual - excess / self.order if np.isfinite(excess) else self.dual

    def solve(self, number: int, run: Run, share: float) -> None:
        """Iterate until value - bound <= share * run.scale, a limit, or the end of what float64 can do.

        Raises
        ------
        Stop
            From ``run``, at a limit.
        """
        progress, next_look, next_check = Progress(), np.inf, 0
        blocks = 0
        while not self._exhausted and self.value - self.bound > 0.9 * share * run.scale:
            allowed = 0.9 * share * run.scale
            foretold = self._advance(number, run)
            progress.note(foretold)
            converged = foretold <= max(CONVERGED * allowed, 1e-15 * abs(self.value))
            blocks += 1
            due = foretold <= min(next_look, LOOK * allowed) or converged or self._second_order()
            if not due and not (self._sweeps_had_their_chance() and blocks >= LOOK_BLOCKS):
                continue
            implied = self._look(allowed, thorough=converged)
            reached = PROMISING * allowed / implied if implied > 0.0 else 1.0
            next_look, blocks = max(min(LOOK, reached**LACKING), FARTHEST) * foretold, 0
            iterations = self._method.iterations
            if (implied <= PROMISING * allowed or converged) and iterations >= next_check:
                verdict = self._certify(number, run, allowed, measured=converged)
                next_check = int(PATIENCE * iterations) if self._sweeps_had_their_chance() else iterations + 1
                # negative curvature that the range of V does not show: no step within it can help
                outside = verdict.value < OUTSIDE * min(self._certificate.evidence.curvature, 0.0)
                if converged and outside and self._escape(allowed):
                    progress, next_look, next_check = Progress(), np.inf, 0
                    continue
            slow = self._sweeps_had_their_chance() and progress.projected(implied, PROMISING * allowed) > FAR
            if slow or progress.stalled(implied, foretold):
                self._change_method()
                progress, next_look, next_check = Progress(), np.inf, 0

    def _advance(self, number: int, run: Run) -> float:
        """Run a block of iterations; return the error that the last decrease foretells."""
        count = max(1, min(BLOCK, run.remaining_iterations))
        before = self._method.iterations
        self.factor, last, decrease = self._method.advance(self.factor, count)
        self.value -= decrease
        run.iterations += self._method.iterations - before
        run.advance(number, self.value, self._gradient_norm, self.rank)
        self._gradient_norm = np.nan
        return 0.5 * last * self._method.iterations

    def _look(self, allowed: float, *, thorough: bool = True) -> float:
        """Find the best multipliers at the present point; return the gap that is to be expected of them."""
        rounded = self.factor.dtype != np.float64
        if rounded:
            self.factor = self._products.arrange(self.factor)
        if rounded or self._method.iterations > STEADY:
            pieces = self._products.pieces(self.factor.shape[1])
            pieces.map(lambda rows: normalise_in_place(self.factor[rows]))
        found = self._certificate.look(self.factor, self.rank, allowed, thorough=thorough)
        self.value, self._gradient_norm = found.value, found.gradient_norm
        return self._certificate.evidence.implied

    def settle(self, number: int, run: Run) -> None:
        """Compute the bound at the present point, as after a limit, no more sharply than the point deserves."""
        implied = self._look(0.0)
        self._certify(number, run, max(2.0 * implied, SETTLED * abs(self.value)), measured=True)

    def _certify(self, number: int, run: Run, allowed: float, *, measured: bool) -> Verdict:
        """Bound the objective with the multipliers of the last look; a measured eigenvalue is never left out."""
        dual = self._certificate.evidence.dual
        total = float(dual.sum())
        # a little less than all, for rounding; below zero even where the shift has cost more than is allowed
        left = (1.0 - SLACK) * allowed - (self.value - total)
        threshold = -max(left, SHARP * allowed) / self.order
        verdict = self._certificate.smallest(threshold, measured=measured)
        bound = total + self.order * min(verdict.value - verdict.error, 0.0)
        if bound > self.bound:
            self.dual, self.bound = dual, bound
        run.values[number], run.bounds[number] = self.value, self.bound
        return verdict

    def _sweeps_had_their_chance(self) -> bool:
        chance = min(max(SWEEPS_PER_ROW * self.order, MIN_SWEEPS), MAX_SWEEPS)
        return self._method.iterations >= chance and not self._second_order()

    def _second_order(self) -> bool:
        return isinstance(self._method, TrustRegion)

    def _change_method(self) -> None:
        """Turn to second-order steps; where they crawl too, nothing is left to try."""
        self._exhausted = self._second_order()
        self._method = TrustRegion(self._products)

    def _escape(self, allowed: float) -> bool:
        """Give V a new direction along the certificate's eigenvector; False where nothing decreases."""
        vector = self._certificate.smallest_vector(-allowed / self.order)
        direction = vector * np.sqrt(self.order)
        compressed = _principal_columns(self.point)
        best_value, best = self.value - ROUNDING * abs(self.value), None
        for step in (1.0, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4):
            trial = normalise(np.column_stack([compressed, step * direction]))
            value = float(np.vdot(self._products @ trial, trial))
            if value < best_value:
                best_value, best = value, trial
        if best is None:
            return False
        self.rank = best.shape[1]
        self._certificate.fresh = False
        self.factor = self._products.arrange(best)
        self.value = best_value
        self._method.restart()
        return True


def _first_method(cost: Cost, products: Products) -> Method:
    if isinstance(cost, Gram):
        return FactoredSweep(cost)
    if products.arguments is None:
        return ConjugateGradient(cost)
    # whatever the number of threads, so that they do not change the result
    colours = few_colours(products) if sp.issparse(cost) and cost.shape[0] >= PARALLEL_ORDER else None
    if colours is None:
        return OverRelaxation(products)
    return ColouredRelaxation(products, colours)


def _principal_columns(factor: Factor) -> Factor:
    """Rotate the columns to principal axes and drop those that are zero to rounding; V V^T stays."""
    left, singular, _ = la.svd(factor, full_matrices=False)
    kept = singular > 1e-8 * singular[0]
    return normalise(left[:, kept] * singular[kept])
