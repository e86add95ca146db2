"""The loop of problems that share a matrix: sweep all, certify those that seem done, let them go."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from solvers.methods.over_relaxation import DELAY
from solvers.problems.solution import Status
from solvers.stop import Limits, Stop
from solvers.torch_backend.common.run_state import BatchMoment, RunState
from solvers.torch_backend.common.settings import SHARED
from solvers.torch_backend.dense import certificate as batch_certificate
from solvers.torch_backend.dense.interior_point import interior
from solvers.torch_backend.dense.multipliers import corrected
from solvers.torch_backend.shared import certificate as shared_certificate
from solvers.torch_backend.shared.costs import SharedCosts
from solvers.torch_backend.shared.over_relaxation import choose_relaxation, padded_width, sweep_shared

_log = logging.getLogger(__name__)


class SharedSolver(RunState):
    """Problems on their way.

    Parameters
    ----------
    costs : SharedCosts
    factors : (N, J, k) float32 Tensor
        Unit rows to start from.
    limits : Limits
    generator : torch.Generator
        For the certificates.
    early : torch.dtype or None
        Of the first products with the matrix; None: float32 from the start.
    """

    def __init__(
        self,
        costs: SharedCosts,
        factors: Tensor,
        limits: Limits[BatchMoment],
        generator: torch.Generator,
        early: torch.dtype | None,
    ) -> None:
        super().__init__(costs.solvable, costs.order, limits, costs.scale)
        self.costs, self.factors = costs, factors
        self.norm = costs.frobenius
        self._generator, self._early = generator, early
        # the share of what is allowed below which the error error of each problem is worth evaluating
        self._worth = torch.full_like(self.norm, SHARED.worth_evaluating)
        self._alone = costs.order <= (
            SHARED.alone_on_cuda if costs.device.type == "cuda" else SHARED.alone_on_cpu
        )

    def run(self) -> None:
        """Sweep until all are finished or a limit is reached; what does not converge is solved on its own."""
        reason = Status.INTERRUPTED
        try:
            self._sweep_all()
            self._solve_alone()
            reason = Status.ITERATION_LIMIT
        except Stop as stop:
            reason = stop.status
        except KeyboardInterrupt:
            pass
        for which in self.unfinished_pieces(self._evaluated_at_once()):
            self._finalise(which, reason)

    def _evaluated_at_once(self) -> int:
        return max(1, SHARED.evaluated_entries // (self.costs.order * self.factors.shape[2]))

    def _sweep_all(self) -> None:
        """Sweep problems that are not finished, all together, as long as that helps."""
        matrix = self.costs.zero_diagonal(torch.float32)
        early = None if self._early is None else matrix.to(self._early)
        relax = choose_relaxation(self.costs.device)
        going = self.unfinished
        width = self.factors.shape[2]
        padding = padded_width(width) - width
        factors = torch.nn.functional.pad(self.factors[:, going], (0, padding)).contiguous()
        half = self.costs.half[:, going].float()
        sweeps = 0
        patience = self.limits.max_iterations
        if self._alone:
            patience = min(patience, max(SHARED.least_sweeps, int(SHARED.sweeps_a_row * self.costs.order)))
        while going.numel() and sweeps < patience:
            ages = torch.arange(sweeps, sweeps + SHARED.block, device=self.costs.device)
            betas = (ages / (ages + DELAY)).float().expand(going.numel(), SHARED.block)
            chosen = early if early is not None and sweeps < SHARED.early_sweeps else matrix
            last = sweep_shared(chosen, half, factors, betas, relax)
            factors /= torch.linalg.vector_norm(factors, dim=2, keepdim=True)
            sweeps += SHARED.block
            self.factors[:, going] = factors[:, :, :width]
            self.iterations[going] = sweeps
            if sweeps >= SHARED.early_sweeps:
                stuck = self._examine(
                    going, 0.5 * last.double() * sweeps, first=sweeps == SHARED.early_sweeps
                )
                waiting = ((self.status[going] == -1) & ~(stuck & self._alone)).nonzero()[:, 0]
                if waiting.numel() <= (1.0 - SHARED.idle_share) * going.numel():
                    going, factors, half = going[waiting], factors[:, waiting].contiguous(), half[:, waiting]
            self.heed_limits(sweeps)

    def _examine(self, going: Tensor, error: Tensor, *, first: bool) -> Tensor:
        """Certify those whose factor seems good enough; return which (b,) have converged without that."""
        if first:
            for which in going.split(self._evaluated_at_once()):
                self._evaluate(which)
        # nothing is left to predict of a problem that is zero
        share = (error / (self.limits.tol * self.scale[going])).nan_to_num(0.0)
        near = ((share <= self._worth[going]) & (self.status[going] == -1)).nonzero()[:, 0]
        for places in near.split(self._evaluated_at_once()):
            self._certify(going[places])
        self._worth[going[near]] = SHARED.worth_evaluating * share[near]
        return (share <= SHARED.converged) & (self.status[going] == -1)

    def _evaluate(self, which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows (b, N, k), multipliers (b, N) and slopes (b, N, k) at the present factors; keeps the values."""
        rows = self.factors[:, which].double()
        rows /= torch.linalg.vector_norm(rows, dim=2, keepdim=True)
        image = self.costs.product(rows, which)
        dual = (image * rows).sum(dim=2)
        slope = torch.addcmul(image, dual[:, :, None], rows, value=-1.0)
        # entries of the diagonal have no part in the sweeps, but in the value
        self.value[which] = dual.sum(dim=0)
        return rows.transpose(0, 1), dual.mT, slope.transpose(0, 1)

    def _certify(self, which: Tensor) -> Tensor:
        """Try to certify these problems at their present factors; return their multipliers (b, N)."""
        dual = corrected(*self._evaluate(which))
        value, allowed = self.value[which], self.limits.tol * self.scale[which]
        proved, bound = shared_certificate.certify(self.costs, which, dual, value, allowed, self._generator)
        self.raise_bounds(which[proved], bound[proved], dual[proved])
        self.finish(which[proved], proved[proved], Status.CERTIFIED)
        return dual

    def _finalise(self, which: Tensor, reason: Status) -> None:
        """Bounds at the present factors, for problems that a limit has ended; where time is left, sharp ones."""
        dual = self._certify(which) if reason is Status.ITERATION_LIMIT else corrected(*self._evaluate(which))
        left = (self.status[which] == -1).nonzero()[:, 0]
        if left.numel():
            which, dual = which[left], dual[left]
            allowed = self.limits.tol * self.scale[which]
            found = shared_certificate.bounds(self.costs, which, dual, allowed, self._generator)
            self.raise_bounds(which, found.bound, found.dual)
            # an estimate proves no convergence
            self.finish(which, self.reached(which) & found.proved, reason)

    def _solve_alone(self) -> None:
        """Solve what sweeps have left over, a few at a time, with matrices of their own."""
        if not self._alone or bool((self.iterations[self.unfinished] >= self.limits.max_iterations).any()):
            return
        for piece in self.unfinished_pieces(shared_certificate.pieces(self.costs)):
            self._switch_method(piece)
            self.heed_limits(int(self.iterations.max()))

    def _switch_method(self, which: Tensor) -> None:
        """Solve these problems by the interior point method, each with a matrix of its own."""
        _log.debug("%d problems of order %d turn to the interior point", len(which), self.costs.order)
        costs = self.costs.assemble(which)
        rows, dual, _ = self._evaluate(which)
        allowed = self.limits.tol * self.scale[which]
        start = batch_certificate.climb(costs, dual, allowed / self.costs.order)
        found = interior(costs, start, rows, allowed, lambda: self.expired)
        used = int((found.factors != 0.0).any(dim=1).sum(dim=1).max())
        missing = max(used - self.factors.shape[2], 0)
        self.factors = torch.nn.functional.pad(self.factors, (0, missing))
        self.factors[:, which] = 0.0
        self.factors[:, which, :used] = found.factors[:, :, :used].transpose(0, 1).float()
        self._evaluate(which)
        self.raise_bounds(which, found.bound.bound, found.bound.dual)
        done = self.reached(which)
        if not self.expired:
            self.finish(which, done, Status.STALLED)
