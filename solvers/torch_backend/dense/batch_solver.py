"""The loop of a batch: sweep, certify, escape, and let finished problems go."""

from __future__ import annotations

import torch
from torch import Tensor

from solvers.problems.solution import STATUSES, Status
from solvers.stop import Stop
from solvers.torch_backend.common.run_state import Limits, RunState
from solvers.torch_backend.dense import certificate
from solvers.torch_backend.dense.active_set import ActiveSet
from solvers.torch_backend.dense.backends import Backend
from solvers.torch_backend.dense.costs import BatchCosts, frobenius, zero_diagonal
from solvers.torch_backend.dense.escape import escape, principal_columns
from solvers.torch_backend.dense.interior_point import interior
from solvers.torch_backend.dense.multipliers import corrected

# Sweeps between looks: only there does the processor wait for the device.
BLOCK = 10
# The first look measures every problem, so that its gap has a scale.
FIRST_CHECK = 20
# A failed certificate is followed by this many times the sweeps so far before the next.
PATIENCE = 1.25
# A certificate is worth its price once the predicted error is this share of what is allowed.
WORTH_EVALUATING = 0.5
# Converged: the predicted error is this small a part of what is allowed, so that only an escape can help.
CONVERGED = 1e-3
# Nor can sweeps in float32 help below this share of the value.
FLOOR = 1e-12
# An escape that lowers the value by a smaller part of what is allowed has only found rounding.
WORTHWHILE = 0.01
# The dual problem is worth polishing where the factor's own error is within this share of the gap allowed.
NEARLY_OPTIMAL = 0.5
# Problems that are not certified after this many sweeps, and this many a row, go to the interior point method.
MIN_SWEEPS = 200
SWEEPS_A_ROW = 4


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
        self, costs: BatchCosts, factors: Tensor, sweep: Backend, limits: Limits, piece_bytes: float
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
        group.next_check += group.iterations + FIRST_CHECK
        try:
            while group.which.numel():
                predicted = group.advance(self._sweep, BLOCK)
                due = (
                    group.alive
                    & (group.iterations >= group.next_check)
                    & self._worth_evaluating(group, predicted)
                )
                for places in due.nonzero()[:, 0].split(self._certificate_piece):
                    self._evaluate(group, places, predicted[places])
                self._heed_limits(group)
                group.compact()
        finally:
            self._keep(group, group.alive.nonzero()[:, 0])

    def _worth_evaluating(self, group: ActiveSet, predicted: Tensor) -> Tensor:
        """Where (b,) a certificate is near by the scale known so far, or none is known, or sweeps are of no use."""
        which = group.which
        near = predicted <= WORTH_EVALUATING * self.limits.tol * self.scale[which]
        return near | (group.age <= FIRST_CHECK) | self._late(group.iterations)

    def _late(self, iterations: Tensor) -> Tensor:
        return iterations >= max(MIN_SWEEPS, SWEEPS_A_ROW * self.costs.order)

    def _heed_limits(self, group: ActiveSet) -> None:
        """Stop where a limit is reached; problems at their own limit are settled and leave."""
        spent = (group.alive & (group.iterations >= self.limits.max_iterations)).nonzero()[:, 0]
        if spent.numel():
            self._keep(group, spent)
            for piece in group.which[spent].split(self._certificate_piece):
                self._finalise(piece, Status.ITERATION_LIMIT)
            group.leave(spent)
        self.heed_limits(int(group.iterations.max()))

    def _evaluate(self, group: ActiveSet, places: Tensor, predicted: Tensor) -> None:
        """Measure these problems; certify, polish, or escape, as each needs."""
        which = group.which[places]
        costs = group.exact if which.numel() == group.which.numel() else group.exact[places]
        rows = certificate.normalised(group.factors[places])
        dual, slope = certificate.multipliers_and_slope(costs, rows)
        self.value[which] = dual.sum(dim=1)
        allowed = self.limits.tol * self.scale[which]
        floor = FLOOR * self.value[which].abs()
        converged = predicted <= torch.maximum(CONVERGED * allowed, floor)
        worth_it = (predicted <= WORTH_EVALUATING * allowed).nonzero()[:, 0]
        dual[worth_it] = corrected(rows[worth_it], dual[worth_it], slope[worth_it])
        done = self._certify(worth_it, which, costs, dual, allowed)
        # polishing costs about as much as a sweep a row
        patient = (group.iterations[places] >= self.costs.order) | converged
        ready = patient & (predicted <= NEARLY_OPTIMAL * allowed) & ~done
        done |= self._polish(ready.nonzero()[:, 0], which, costs, dual, allowed)
        self._finish(group, places[done], Status.CERTIFIED)
        group.next_check[places] = (PATIENCE * group.iterations[places]).long()
        stuck = (converged & ~done).nonzero()[:, 0]
        if stuck.numel():
            moved = self._escape(group, places[stuck], costs[stuck], rows[stuck], allowed[stuck])
            done[stuck[moved]] = True
        last = ((converged | self._late(group.iterations[places])) & ~done).nonzero()[:, 0]
        if last.numel():
            self._interior(group, places[last], costs[last], dual[last], allowed[last])

    def _certify(self, places: Tensor, which: Tensor, costs: Tensor, dual: Tensor, allowed: Tensor) -> Tensor:
        """Try the multipliers themselves at ``places``; return where they suffice, among all of ``which``."""
        done = torch.zeros_like(allowed, dtype=torch.bool)
        value = self.value[which[places]]
        proved, bound = certificate.certify(costs[places], dual[places], value, allowed[places])
        done[places] = proved
        self.raise_bounds(which[places[proved]], bound[proved], dual[places[proved]])
        return done

    def _polish(self, places: Tensor, which: Tensor, costs: Tensor, dual: Tensor, allowed: Tensor) -> Tensor:
        """The same after steps on the dual problem, for those whose multipliers did not suffice."""
        done = torch.zeros_like(allowed, dtype=torch.bool)
        if places.numel():
            chosen, value = which[places], self.value[which[places]]
            start = certificate.climb(costs[places], dual[places], allowed[places] / self.costs.order)
            found = certificate.polish(costs[places], start, value, allowed[places])
            self.raise_bounds(chosen, found.bound, found.dual)
            done[places] = value - self.bound[chosen] <= allowed[places]
        return done

    def _escape(
        self, group: ActiveSet, places: Tensor, costs: Tensor, rows: Tensor, allowed: Tensor
    ) -> Tensor:
        """Give converged factors that are not optimal a new direction; return (b,) where one was found."""
        rotated, spare = principal_columns(rows)
        if not bool(spare.all()):
            group.widen()
            missing = group.factors.shape[2] - rows.shape[2]
            rotated, _ = principal_columns(torch.nn.functional.pad(rows, (0, missing)))
        away = escape(costs, rotated, WORTHWHILE * allowed)
        moved = places[away.found]
        group.factors[moved] = away.factors[away.found].to(group.factors.dtype)
        group.age[moved] = 0
        group.next_check[moved] = group.iterations[moved] + FIRST_CHECK
        return away.found

    def _interior(
        self, group: ActiveSet, places: Tensor, costs: Tensor, dual: Tensor, allowed: Tensor
    ) -> None:
        """Finish these problems, one way or the other, by the interior point method."""
        which = group.which[places]
        start = certificate.climb(costs, dual, allowed / self.costs.order)
        found = interior(
            costs, start, certificate.normalised(group.factors[places]), allowed, lambda: self.expired
        )
        used = int((found.factors != 0.0).any(dim=1).sum(dim=1).max())
        group.widen(used)
        group.factors[places] = 0.0
        group.factors[places, :, :used] = found.factors[:, :, :used].to(group.factors.dtype)
        rows = certificate.normalised(group.factors[places])
        self.value[which] = certificate.multipliers(costs, rows).sum(dim=1)
        self.raise_bounds(which, found.bound.bound, found.bound.dual)
        done = self.reached(which)
        self._finish(group, places[done], Status.CERTIFIED)
        self._finish(group, places[~done], Status.STALLED)

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
        gershgorin = -zero_diagonal(costs.abs()).sum(dim=2) + costs.diagonal(dim1=1, dim2=2)
        self.raise_bounds(which, gershgorin.sum(dim=1), gershgorin)
        touched = (self.iterations[which] > 0).nonzero()[:, 0]
        if touched.numel():
            found = certificate.climb(costs[touched], dual[touched], allowed[touched] / self.costs.order)
            self.raise_bounds(which[touched], found.bound, found.dual)
        self.finish(which, self.reached(which), reason)
