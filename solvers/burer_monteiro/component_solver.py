"""Solve one component: iterate, evaluate, certify, escape, switch method, until its share of the gap is reached."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from solvers.burer_monteiro.central_path import (
    follow_central_path,
    path_is_cheaper,
    path_is_open,
    precedes_second_order,
)
from solvers.burer_monteiro.escape import escape
from solvers.burer_monteiro.monitor import Monitor
from solvers.burer_monteiro.pace import Pace
from solvers.burer_monteiro.settings import COMPONENT
from solvers.certificates.component import SHARP, ComponentCertificate, Eigenvalue, Evaluation
from solvers.linalg.matvec import Matvec
from solvers.linalg.sphere import Factor, normalise_in_place
from solvers.methods.choice import begins_in_single_precision, first_method, is_second_order, next_method
from solvers.methods.coloured_relaxation import PARALLEL_ORDER
from solvers.problems.cost import Cost

_log = logging.getLogger(__name__)


class ComponentSolver:
    """One component with its factor, multipliers and bound, all valid at any moment.

    Parameters
    ----------
    cost : (n, n) array, sparse array or LinearOperator
        Symmetric, without its diagonal unless it is an operator.
    factor : (n, k) ndarray
        Unit rows to start from.
    generator : numpy Generator
        For Lanczos start vectors.
    from_random_start : bool
        Whether the factor is random: descent then grows its axes along every negative curvature, and axes that
        are left over at its end are evidence that none remains.  One that was given, or has escaped, may have
        directions that it has hardly tried.
    workers : int
        Threads for sweeps and products, if the component is large enough for several.
    central_path : bool
        Whether to follow the central path before anything else.

    Attributes
    ----------
    value, bound : float
        Of the component's objective at the present factor; the bound never falls.
    dual : (n,) ndarray
        The multipliers behind the bound.
    """

    def __init__(
        self,
        cost: Cost,
        factor: Factor,
        generator: np.random.Generator,
        *,
        from_random_start: bool,
        workers: int,
        central_path: bool = False,
    ) -> None:
        self.cost = cost
        self.order = int(cost.shape[0])
        self._matvec = Matvec(cost, workers if self.order >= PARALLEL_ORDER else 1)
        self._method = first_method(cost, self._matvec)
        self._take(factor)
        self.value = self._objective()
        self._certificate = ComponentCertificate(cost, self._matvec, generator)
        self.dual, self.bound = self._certificate.first_bound()
        self._gradient_norm = np.nan
        self._from_random_start = from_random_start
        self._moved = False
        self._exhausted = False
        self._path_first = central_path
        self._path_is_left = central_path or path_is_open(cost)
        if from_random_start and begins_in_single_precision(self._method):
            # it sees enough until the first evaluation
            self.factor = self.factor.astype(np.float32)

    @property
    def factor(self) -> Factor:
        """The rows, in the arrangement of the products."""
        return self._held[0]

    @factor.setter
    def factor(self, arranged: Factor) -> None:
        self._held = arranged, self.rank

    @property
    def rank(self) -> int:
        """Columns of the factor, but for those that only fill registers."""
        return self._held[1]

    def _take(self, factor: Factor) -> None:
        """Go on from other rows; an interrupt finds both them and their width, or neither."""
        self._held = self._matvec.arrange(factor), int(factor.shape[1])

    @property
    def point(self) -> Factor:
        """The factor without the columns that only fill registers."""
        return self.factor[:, : self.rank]

    @property
    def feasible_dual(self) -> NDArray[np.float64]:
        """The multipliers, lowered until their sum is the bound."""
        excess = float(self.dual.sum()) - self.bound
        return self.dual - excess / self.order if np.isfinite(excess) else self.dual

    def solve(self, monitor: Monitor, target: float) -> None:
        """Iterate until value - bound <= target * monitor.scale, a limit, or the end of what float64 can do.

        Raises
        ------
        Stop
            From ``monitor``, at a limit.
        """
        pace = Pace()
        while not self._exhausted:
            allowed = COMPONENT.safety * target * monitor.scale
            if self.value - self.bound <= allowed:
                break
            if self._path_is_due():
                self._follow_central_path(monitor, allowed)
                pace = Pace()
                continue
            self._advance(monitor, pace)
            converged = self._has_converged(pace, allowed)
            if not (converged or self._evaluation_is_due(pace, allowed)):
                continue
            point = self._evaluate(allowed, thorough=converged)
            pace.evaluated(point.gap, allowed)
            if self._certificate_is_due(pace, point, allowed, converged):
                smallest = self._certify(point, allowed, measured=converged)
                pace.certify_from = self._next_certificate()
                if converged and _points_outside(point, smallest) and self._escape(point, allowed):
                    pace = Pace()
                    continue
            crawls = self._crawls(pace, point, allowed)
            if self._path_is_next(crawls):
                self._follow_central_path(monitor, allowed)
                pace = Pace()
            elif crawls:
                self._switch_method()
                pace = Pace()
        self._renew_value()

    def finalise_bound(self) -> None:
        """Compute the bound at the present point, as after a limit, no more sharply than the point deserves."""
        point = self._evaluate(0.0, thorough=True)
        allowed = max(2.0 * point.gap, COMPONENT.final_sharpness * abs(self.value))
        self._certify(point, allowed, measured=True)

    def _advance(self, monitor: Monitor, pace: Pace) -> None:
        """Run a block of iterations."""
        count = max(1, min(COMPONENT.block, monitor.remaining_iterations))
        before = self._method.iterations
        self._moved = True
        self.factor, last, decrease = self._method.advance(self.factor, count)
        self.value -= decrease
        pace.advanced(0.5 * last * self._method.iterations)
        gradient_norm, self._gradient_norm = self._gradient_norm, np.nan
        monitor.record(self._method.iterations - before, gradient_norm, self.rank)

    def _evaluate(self, allowed: float, *, thorough: bool) -> Evaluation:
        """Find the value, the best multipliers and the gap that they let expect, at the present point."""
        self._return_to_spheres()
        point = self._certificate.evaluate(
            self.factor, self.rank, allowed, thorough=thorough, from_random_start=self._from_random_start
        )
        self.value, self._gradient_norm, self._moved = point.value, point.gradient_norm, False
        return point

    def _certify(self, point: Evaluation, allowed: float, *, measured: bool) -> Eigenvalue:
        """Bound the objective by a point's multipliers; return the smallest eigenvalue of their slack matrix.

        Where ``measured``, that is never left out.
        """
        total = float(point.dual.sum())
        # a little less than all, for rounding; below zero even where the shift has cost more than is allowed
        left = (1.0 - COMPONENT.certificate_margin) * allowed - (self.value - total)
        threshold = -max(left, SHARP * allowed) / self.order
        smallest = self._certificate.smallest(point, threshold, measured=measured)
        bound = total + self.order * min(smallest.value - smallest.error, 0.0)
        if bound > self.bound:
            self.dual, self.bound = point.dual, bound
        return smallest

    def _escape(self, point: Evaluation, allowed: float) -> bool:
        """Leave a critical point that is not optimal; False where nothing decreases."""
        direction = self._certificate.smallest_vector(point, -allowed / self.order)
        found = escape(self._matvec, self.point, self.value, direction)
        if found is None:
            return False
        self._take(found.factor)
        self.value = found.value
        _log.debug("component of %d rows escapes: value %.9g, %d columns", self.order, self.value, self.rank)
        self._from_random_start = False
        self._method.restart()
        return True

    def _path_is_due(self) -> bool:
        sweeps = 0 if is_second_order(self._method) else self._method.iterations
        return self._path_is_left and (self._path_first or path_is_cheaper(self.cost, sweeps))

    def _path_is_next(self, crawls: bool) -> bool:
        if precedes_second_order(self.cost):
            return self._path_is_left and (crawls or self._sweeps_had_their_chance())
        return self._path_is_left and crawls and is_second_order(self._method)

    def _follow_central_path(self, monitor: Monitor, allowed: float) -> None:
        """Take the point and the bound to which the central path leads, where they are better; once."""
        self._path_is_left = False
        found = follow_central_path(self.cost, monitor, allowed)
        if found.value < self.value:
            self._take(np.ascontiguousarray(found.factor))
            self.value, self._moved, self._from_random_start = self._objective(), False, False
            self._method.restart()
        if found.bound > self.bound:
            self.dual, self.bound = found.dual, found.bound
        _log.debug("component of %d rows by interior point: %d steps", self.order, found.steps)
        monitor.record(max(found.steps, 1), np.nan, self.rank)

    def _switch_method(self) -> None:
        """Turn to the next method, if one is left to try."""
        method = next_method(self._method, self._matvec)
        self._exhausted = method is None
        after = "none is left" if method is None else type(method).__name__
        _log.debug("component of %d rows turns from %s: %s", self.order, type(self._method).__name__, after)
        self._method = method or self._method

    def _has_converged(self, pace: Pace, allowed: float) -> bool:
        """Whether only an escape can help."""
        return pace.error <= max(COMPONENT.converged * allowed, COMPONENT.lost_in_rounding * abs(self.value))

    def _evaluation_is_due(self, pace: Pace, allowed: float) -> bool:
        small = pace.error <= min(pace.evaluate_below, COMPONENT.first_evaluation * allowed)
        late = self._sweeps_had_their_chance() and pace.blocks >= COMPONENT.evaluation_blocks
        return small or late or is_second_order(self._method)

    def _certificate_is_due(self, pace: Pace, point: Evaluation, allowed: float, converged: bool) -> bool:
        """Whether a certificate may succeed, or is needed for an escape, and enough has happened since the last."""
        promising = point.gap <= COMPONENT.promising * allowed
        return (promising or converged) and self._method.iterations >= pace.certify_from

    def _next_certificate(self) -> int:
        iterations = self._method.iterations
        patient = self._sweeps_had_their_chance()
        return int(COMPONENT.certificate_patience * iterations) if patient else iterations + 1

    def _crawls(self, pace: Pace, point: Evaluation, allowed: float) -> bool:
        """Whether the method is projected to arrive too late, or gets nowhere."""
        wanted = COMPONENT.promising * allowed
        too_far = (
            self._sweeps_had_their_chance()
            and pace.progress.projected(point.gap, wanted) > COMPONENT.farthest_goal
        )
        return too_far or pace.progress.stalled(point.gap, pace.error)

    def _sweeps_had_their_chance(self) -> bool:
        wanted = max(COMPONENT.sweeps_a_row * self.order, COMPONENT.least_sweeps)
        return self._method.iterations >= min(wanted, COMPONENT.most_sweeps) and not is_second_order(
            self._method
        )

    def _renew_value(self) -> None:
        """Compute the value of a factor that has moved since it was last evaluated: decreases only add up to it."""
        if self._moved:
            self._return_to_spheres()
            self.value, self._moved = self._objective(), False

    def _return_to_spheres(self) -> None:
        rounded = self.factor.dtype != np.float64
        if rounded:
            self.factor = self._matvec.arrange(self.factor)
        if rounded or self._method.iterations > COMPONENT.steady_sweeps:
            blocks = self._matvec.blocks(self.factor.shape[1])
            blocks.map(lambda rows: normalise_in_place(self.factor[rows]))

    def _objective(self) -> float:
        def share(rows: slice) -> tuple[NDArray[np.float64]]:
            return (np.asarray(np.vdot(self._matvec.rows(self.factor, rows), self.factor[rows])),)

        return float(self._matvec.blocks(self.factor.shape[1]).total(share)[0])


def _points_outside(point: Evaluation, smallest: Eigenvalue) -> bool:
    """Whether there is negative curvature that the range of V does not show: no step within it can help."""
    return smallest.value < COMPONENT.outside * min(point.curvature, 0.0)
