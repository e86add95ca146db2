"""The loop of a batch: sweep, certify, escape, and let finished problems go."""

from __future__ import annotations

import logging
from typing import NamedTuple

import torch
from torch import Tensor

from solvers.problems.solution import STATUSES, Status
from solvers.stop import Limits, Stop
from solvers.torch_backend.common.run_state import BatchMoment, RunState
from solvers.torch_backend.common.settings import DENSE
from solvers.torch_backend.dense import certificate
from solvers.torch_backend.dense.active_set import ActiveSet
from solvers.torch_backend.dense.backends import Backend
from solvers.torch_backend.dense.costs import BatchCosts, dominated_dual, frobenius
from solvers.torch_backend.dense.escape import escape, principal_columns
from solvers.torch_backend.dense.interior_point import interior
from solvers.torch_backend.dense.multipliers import corrected

_log = logging.getLogger(__name__)


class Point(NamedTuple):
    """Some problems of an active set as an evaluation sees them, one row of each tensor a problem.

    Attributes
    ----------
    places, which : (b,) Tensor
        Where they stand in the active set, and in the batch.
    costs : (b, N, N) Tensor
    rows : (b, N, k) Tensor
        Unit rows in float64.
    dual : (b, N) Tensor
        Multipliers.
    error, allowed : (b,) Tensor
        What the last decrease predicts is still to come, and the gap that the tolerance allows.
    converged : (b,) bool Tensor
        Whether only an escape can help.
    """

    places: Tensor
    which: Tensor
    costs: Tensor
    rows: Tensor
    dual: Tensor
    error: Tensor
    allowed: Tensor
    converged: Tensor

    def at(self, chosen: Tensor) -> Point:
        """The points of the problems that are ``chosen``, (b,) bool."""
        places = chosen.nonzero()[:, 0]
        return Point(*(tensor[places] for tensor in self))


class BatchSolver(RunState):
    """A batch on its way.

    Parameters
    ----------
    costs : BatchCosts
    factors : (B, N, k) Tensor
        Unit rows to start from.
    sweep : Backend
    limits : Limits
    piece_bytes : float
        Memory for the costs of the problems under way; and for the matrices of a certificate.
    """

    def __init__(
        self,
        costs: BatchCosts,
        factors: Tensor,
        sweep: Backend,
        limits: Limits[BatchMoment],
        piece_bytes: float,
    ) -> None:
        super().__init__(costs.solvable, costs.order, limits, costs.scale)
        self.costs = costs
        self.factors = factors
        self._sweep = sweep
        self._piece = max(1, int(piece_bytes / (4 * costs.order**2)))
        self._certificate_piece = max(1, int(piece_bytes / (16 * costs.order**2)))

    def run(self) -> None:
        """Solve piece after piece until all are finished or a limit is reached."""
        reason = Status.INTERRUPTED
        try:
            for piece in self.costs.solvable.nonzero()[:, 0].split(self._piece):
                self._solve(piece)
        except Stop as stop:
            reason = stop.status
        except KeyboardInterrupt:
            pass
        for piece in self.unfinished_pieces(self._certificate_piece):
            self._finalise(piece, reason)

    def _solve(self, which: Tensor) -> None:
        """Work on these problems until each is finished; float32 rounds a value by its square near an optimum."""
        order = self.costs.order
        exact = torch.empty(which.shape[0], order, order, dtype=torch.float64, device=self.costs.device)
        # a few at a time: on their way they need some more memory
        size = self._certificate_piece
        for part, place in zip(which.split(size), exact.split(size), strict=True):
            place.copy_(self.costs.assemble(part))
            self.norm[part] = frobenius(place)
        group = ActiveSet(which, exact, self.factors[which].float(), self.iterations[which])
        hidden = exact.diagonal(dim1=1, dim2=2).sum(dim=1)
        self.value[which] = hidden + certificate.multipliers(group.costs, group.factors).sum(dim=1)
        try:
            while group.which.numel():
                error = group.advance(self._sweep, DENSE.block)
                due = group.alive & group.is_due & self._evaluation_pays(group, error)
                for places in due.nonzero()[:, 0].split(self._certificate_piece):
                    self._examine(group, places, error[places])
                self._heed_limits(group)
                group.compact()
        finally:
            self._keep(group, group.alive.nonzero()[:, 0])

    def _examine(self, group: ActiveSet, places: Tensor, error: Tensor) -> None:
        """Evaluate these problems; certify, polish, escape, or switch their method, as each needs."""
        point = self._evaluate(group, places, error)
        done = self._certify(point)
        done |= self._polish(point, self._polish_pays(group, point) & ~done)
        self._finish(group, places[done], Status.CERTIFIED)
        group.postpone(places)
        done |= self._escape(group, point, point.converged & ~done)
        self._switch_method(group, point.at((point.converged | self._late(group.iterations[places])) & ~done))

    def _evaluation_pays(self, group: ActiveSet, error: Tensor) -> Tensor:
        """Where (b,) a certificate is near by the scale known so far, or none is known, or sweeps are of no use."""
        near = error <= DENSE.worth_evaluating * self.limits.tol * self.scale[group.which]
        return near | (group.age <= DENSE.first_evaluation) | self._late(group.iterations)

    def _late(self, iterations: Tensor) -> Tensor:
        return iterations >= max(DENSE.least_sweeps, DENSE.sweeps_a_row * self.costs.order)

    def _polish_pays(self, group: ActiveSet, point: Point) -> Tensor:
        """Where (b,) the factor is nearly optimal, and as much has gone into it as polishing costs."""
        patient = (group.iterations[point.places] >= self.costs.order) | point.converged
        return patient & (point.error <= DENSE.nearly_optimal * point.allowed)

    def _heed_limits(self, group: ActiveSet) -> None:
        """Stop where a limit is reached; problems at their own limit are finalised and leave."""
        spent = (group.alive & (group.iterations >= self.limits.max_iterations)).nonzero()[:, 0]
        if spent.numel():
            self._keep(group, spent)
            for piece in group.which[spent].split(self._certificate_piece):
                self._finalise(piece, Status.ITERATION_LIMIT)
            group.leave(spent)
        self.heed_limits(int(group.iterations.max()))

    def _evaluate(self, group: ActiveSet, places: Tensor, error: Tensor) -> Point:
        """Find values and multipliers; those near enough for a certificate are corrected to second order."""
        which = group.which[places]
        costs = group.exact if which.numel() == group.which.numel() else group.exact[places]
        rows = certificate.normalised(group.factors[places])
        dual, slope = certificate.multipliers_and_slope(costs, rows)
        self.value[which] = dual.sum(dim=1)
        allowed = self.limits.tol * self.scale[which]
        floor = DENSE.float32_floor * self.value[which].abs()
        converged = error <= torch.maximum(DENSE.converged * allowed, floor)
        near = (error <= DENSE.worth_evaluating * allowed).nonzero()[:, 0]
        dual[near] = corrected(rows[near], dual[near], slope[near])
        return Point(places, which, costs, rows, dual, error, allowed, converged)

    def _certify(self, point: Point) -> Tensor:
        """Try the multipliers themselves where a certificate is near; return where (b,) they suffice."""
        done = torch.zeros_like(point.converged)
        near = (point.error <= DENSE.worth_evaluating * point.allowed).nonzero()[:, 0]
        which, dual = point.which[near], point.dual[near]
        proved, bound = certificate.certify(point.costs[near], dual, self.value[which], point.allowed[near])
        done[near] = proved
        self.raise_bounds(which[proved], bound[proved], dual[proved])
        return done

    def _polish(self, point: Point, chosen: Tensor) -> Tensor:
        """Certify after steps on the dual problem, where ``chosen`` (b,); return where (b,) that suffices."""
        done = torch.zeros_like(chosen)
        if bool(chosen.any()):
            near = point.at(chosen)
            value = self.value[near.which]
            start = certificate.climb(near.costs, near.dual, near.allowed / self.costs.order)
            found = certificate.polish(near.costs, start, value, near.allowed)
            self.raise_bounds(near.which, found.bound, found.dual)
            done[chosen] = value - self.bound[near.which] <= near.allowed
        return done

    def _escape(self, group: ActiveSet, point: Point, chosen: Tensor) -> Tensor:
        """Give factors a new direction where ``chosen`` (b,); return where (b,) one was found."""
        done = torch.zeros_like(chosen)
        if bool(chosen.any()):
            stuck = point.at(chosen)
            rotated, spare = principal_columns(stuck.rows)
            if not bool(spare.all()):
                group.widen()
                missing = group.factors.shape[2] - stuck.rows.shape[2]
                rotated, _ = principal_columns(torch.nn.functional.pad(stuck.rows, (0, missing)))
            away = escape(stuck.costs, rotated, DENSE.worthwhile * stuck.allowed)
            group.begin_again(stuck.places[away.found], away.factors[away.found])
            done[chosen] = away.found
            _log.debug("%d of %d stuck problems escape", int(away.found.sum()), len(stuck.which))
        return done

    def _switch_method(self, group: ActiveSet, point: Point) -> None:
        """Finish these problems, one way or the other, by the interior point method."""
        if point.which.numel() == 0:
            return
        _log.debug("%d problems of order %d turn to the interior point", len(point.which), self.costs.order)
        start = certificate.climb(point.costs, point.dual, point.allowed / self.costs.order)
        rows = certificate.normalised(group.factors[point.places])
        found = interior(point.costs, start, rows, point.allowed, lambda: self.expired)
        group.replace(point.places, found.factors)
        rows = certificate.normalised(group.factors[point.places])
        self.value[point.which] = certificate.multipliers(point.costs, rows).sum(dim=1)
        self.raise_bounds(point.which, found.bound.bound, found.bound.dual)
        done = self.reached(point.which)
        self._finish(group, point.places[done], Status.CERTIFIED)
        self._finish(group, point.places[~done], Status.STALLED)

    def _finish(self, group: ActiveSet, places: Tensor, status: Status) -> None:
        self._keep(group, places)
        self.status[group.which[places]] = STATUSES.index(status)
        group.leave(places)

    def _keep(self, group: ActiveSet, places: Tensor) -> None:
        """Store what a group has for these problems."""
        missing = group.factors.shape[2] - self.factors.shape[2]
        if missing > 0:
            self.factors = torch.nn.functional.pad(self.factors, (0, missing))
        which = group.which[places]
        self.factors[which, :, : group.factors.shape[2]] = group.factors[places].to(self.factors.dtype)
        self.iterations[which] = group.iterations[places]

    def _finalise(self, which: Tensor, reason: Status) -> None:
        """Value and bound at the present factors, for problems that a limit has ended."""
        costs = self.costs.assemble(which)
        self.norm[which] = frobenius(costs)
        dual = certificate.multipliers(costs, certificate.normalised(self.factors[which]))
        self.value[which] = dual.sum(dim=1)
        allowed = self.limits.tol * self.scale[which]
        dominated = dominated_dual(costs)
        self.raise_bounds(which, dominated.sum(dim=1), dominated)
        touched = (self.iterations[which] > 0).nonzero()[:, 0]
        if touched.numel():
            found = certificate.climb(costs[touched], dual[touched], allowed[touched] / self.costs.order)
            self.raise_bounds(which[touched], found.bound, found.dual)
        self.finish(which, self.reached(which), reason)
