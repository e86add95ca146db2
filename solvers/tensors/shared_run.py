"""The loop of problems that share a matrix: sweep all, certify those that seem done, let them go."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from solvers.solution import Status
from solvers.tensors.batch import solve_batch
from solvers.tensors.batch_certificate import SHARE
from solvers.tensors.batch_group import DELAY, IDLE_SHARE
from solvers.tensors.batch_limits import STATUSES, BatchMoment, Limits, Stop
from solvers.tensors.batch_run import BLOCK, CONVERGED, PATIENCE
from solvers.tensors.shared_costs import SharedCosts
from solvers.tensors.shared_lanczos import smallest_eigenvalues
from solvers.tensors.shared_sweep import choose_relaxation, sweep_shared

# Sweeps whose products with the matrix are in bfloat16, where the device is fast at it.
EARLY_SWEEPS = 20
# Up to this order the few problems that do not converge are solved on their own, matrix and all.
ALONE_ORDER = 2048
ALONE_ENTRIES = 2**26
MIN_SWEEPS = 100
# Floats for the float64 factors of a look.
LOOK_ENTRIES = 2**27


class SharedRun:
    """Problems on their way; every result tensor is valid at any moment.

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

    Attributes
    ----------
    value, bound : (J,) float64 Tensor
        Of the scaled problems.
    dual : (N, J) float64 Tensor
    status : (J,) Tensor
        Places in `STATUSES`; -1 for problems not finished.
    """

    def __init__(
        self,
        costs: SharedCosts,
        factors: Tensor,
        limits: Limits,
        generator: torch.Generator,
        early: torch.dtype | None,
    ) -> None:
        self.costs, self.factors = costs, factors
        self._limits, self._generator, self._early = limits, generator, early
        count = factors.shape[1]
        self.value = torch.full((count,), torch.nan, dtype=torch.float64, device=costs.device)
        self.bound = torch.full_like(self.value, -torch.inf)
        self.dual = torch.zeros(costs.order, count, dtype=torch.float64, device=costs.device)
        self.norm = costs.frobenius
        self.iterations = torch.zeros(count, dtype=torch.int64, device=costs.device)
        self.status = torch.full_like(self.iterations, -1)
        self.status[~costs.solvable] = STATUSES.index(Status.FAILED)
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Wall-clock time since the start."""
        return time.perf_counter() - self._started

    @property
    def scale(self) -> Tensor:
        """What the gaps of the scaled problems are relative to, (J,)."""
        return torch.maximum(self.value.abs(), self.norm)

    def run(self) -> None:
        """Sweep until all are finished or a limit is reached; what does not converge is solved on its own."""
        reason = Status.INTERRUPTED
        try:
            self._sweep_all()
            self._solve_alone()
        except Stop as stop:
            reason = stop.status
        except KeyboardInterrupt:
            pass
        left = (self.status == -1).nonzero()[:, 0]
        for which in left.split(self._look_size()):
            self._look(which, self._limits.tol, settle=True)
            done = self.value[which] - self.bound[which] <= self._limits.tol * self.scale[which]
            places = torch.where(done, STATUSES.index(Status.CERTIFIED), STATUSES.index(reason))
            self.status[which] = places.to(self.status.dtype)

    def _look_size(self) -> int:
        return max(1, LOOK_ENTRIES // (self.costs.order * self.factors.shape[2]))

    def _sweep_all(self) -> None:
        """Sweep problems that are not finished, all together, as long as that helps."""
        matrix = self.costs.hollow(torch.float32)
        early = None if self._early is None else matrix.to(self._early)
        relax = choose_relaxation(self.costs.device)
        going = (self.status == -1).nonzero()[:, 0]
        factors = self.factors[:, going].contiguous()
        half = self.costs.half[:, going].float()
        next_check = 0
        sweeps = 0
        patience = max(MIN_SWEEPS, self.costs.order // 4)
        while going.numel() and sweeps < self._limits.max_iterations:
            ages = torch.arange(sweeps, sweeps + BLOCK, device=self.costs.device)
            betas = (ages / (ages + DELAY)).float().expand(going.numel(), BLOCK)
            chosen = early if early is not None and sweeps < EARLY_SWEEPS else matrix
            last = sweep_shared(chosen, half, factors, betas, relax)
            factors /= torch.linalg.vector_norm(factors, dim=2, keepdim=True)
            sweeps += BLOCK
            self.factors[:, going] = factors
            self.iterations[going] = sweeps
            foretold = 0.5 * last.double() * sweeps
            if sweeps >= max(next_check, EARLY_SWEEPS):
                stuck = self._examine(going, foretold)
                next_check = int(PATIENCE * sweeps)
                waiting = (self.status[going] == -1) & ~(stuck | (sweeps >= patience))
                if waiting.sum() <= (1.0 - IDLE_SHARE) * going.numel() or not bool(waiting.any()):
                    kept = waiting.nonzero()[:, 0]
                    going, factors, half = going[kept], factors[:, kept].contiguous(), half[:, kept]
            self._heed_limits(sweeps)

    def _examine(self, going: Tensor, foretold: Tensor) -> Tensor:
        """Certify those whose factor seems good enough; return which (b,) have converged without that."""
        stuck = torch.zeros_like(going, dtype=torch.bool)
        for places in torch.arange(going.numel(), device=going.device).split(self._look_size()):
            which = going[places]
            self._measure(which)
            allowed = self._limits.tol * self.scale[which]
            worth_it = (self.status[which] == -1) & (foretold[places] <= SHARE * allowed)
            chosen = worth_it.nonzero()[:, 0]
            if chosen.numel() == 0:
                continue
            self._look(which[chosen], SHARE * self._limits.tol, settle=False)
            done = self.value[which] - self.bound[which] <= allowed
            self.status[which[done]] = STATUSES.index(Status.CERTIFIED)
            stuck[places] = (foretold[places] <= CONVERGED * allowed) & ~done
        return stuck

    def _measure(self, which: Tensor) -> Tensor:
        """Values at the present factors; returns the multipliers (N, b)."""
        rows = self.factors[:, which].double()
        rows /= torch.linalg.vector_norm(rows, dim=2, keepdim=True)
        dual = (self.costs.product(rows, which) * rows).sum(dim=2)
        # entries of the diagonal have no part in the sweeps, but in A
        self.value[which] = dual.sum(dim=0)
        return dual

    def _look(self, which: Tensor, tol: float, *, settle: bool) -> None:
        """Bounds from the multipliers at the present factors; however bad, where ``settle`` asks for them."""
        dual = self._measure(which)
        order = self.costs.order
        threshold = -tol * self.scale[which] / order
        found = smallest_eigenvalues(self.costs, which, dual, threshold, self._generator, sharply=settle)
        bound = self.value[which] + order * (found.value - found.error).clamp_max(0.0)
        better = bound > self.bound[which]
        self.bound[which[better]] = bound[better]
        self.dual[:, which[better]] = dual[:, better]

    def _solve_alone(self) -> None:
        """Solve what is left with a matrix of its own each; too large ones are what they are."""
        which = (self.status == -1).nonzero()[:, 0]
        spent = bool((self.iterations[which] >= self._limits.max_iterations).all())
        if which.numel() == 0 or spent or self.costs.order > ALONE_ORDER:
            if which.numel():
                raise Stop(Status.ITERATION_LIMIT if spent else Status.STALLED)
            return
        for piece in which.split(max(1, ALONE_ENTRIES // self.costs.order**2)):
            self._solve_piece(piece)

    def _solve_piece(self, which: Tensor) -> None:
        remaining = self._limits.max_seconds
        solved = solve_batch(
            self.costs.matrix.expand(which.numel(), -1, -1),
            2.0 * self.costs.half[:, which].mT,
            tol=self._limits.tol,
            start=self.factors[:, which].transpose(0, 1).double(),
            max_seconds=None if remaining is None else max(remaining - self.seconds, 1e-3),
        )
        missing = solved.factor.shape[2] - self.factors.shape[2]
        self.factors = torch.nn.functional.pad(self.factors, (0, max(missing, 0)))
        self.factors[:, which, : solved.factor.shape[2]] = solved.factor.transpose(0, 1).float()
        self.value[which], self.bound[which] = solved.value, solved.lower_bound
        self.dual[:, which] = solved.dual.mT
        self.iterations[which] += solved.iterations
        self.status[which] = solved.status

    def _heed_limits(self, sweeps: int) -> None:
        limits = self._limits
        if limits.callback is not None:
            finished = int((self.status >= 0).sum())
            numbers = (self.value * self.costs.scale, self.bound * self.costs.scale)
            moment = BatchMoment(sweeps, finished, self.status.shape[0], self.seconds, *numbers)
            try:
                limits.callback(moment)
            except StopIteration:
                raise Stop(Status.INTERRUPTED) from None
        if limits.max_seconds is not None and self.seconds >= limits.max_seconds:
            raise Stop(Status.TIME_LIMIT)
