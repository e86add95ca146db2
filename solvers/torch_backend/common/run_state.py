"""What a run over many problems knows at any moment, and when it has to stop."""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

import torch
from torch import Tensor

from solvers.burer_monteiro.finish import judged_gap, judged_status
from solvers.problems.solution import STATUSES, Status
from solvers.stop import Limits, Stop, tell

_log = logging.getLogger(__name__)


class BatchMoment(NamedTuple):
    """One recorded moment of a batch, for callbacks.

    Sweeps of the problems under way, how many of how many are finished, seconds since the start, and all values and
    bounds (B,) so far: NaN and -inf for problems not begun.
    """

    iteration: int
    finished: int
    total: int
    seconds: float
    value: Tensor
    lower_bound: Tensor


class RunState:
    """Values, bounds and statuses of B problems of order N on their way, valid at any moment.

    Parameters
    ----------
    solvable : (B,) bool Tensor
        The others have failed before the start.
    order : int
    limits : Limits
    unit : Tensor or float
        What the problems were divided by.

    Attributes
    ----------
    value, bound, norm : (B,) float64 Tensor
        Of the scaled problems; norm is that of the costs.
    dual : (B, N) float64 Tensor
        The y behind each bound.
    iterations : (B,) int64 Tensor
        Sweeps.
    status : (B,) int64 Tensor
        Places in `STATUSES`; -1 for problems not finished.
    """

    def __init__(
        self, solvable: Tensor, order: int, limits: Limits[BatchMoment], unit: Tensor | float
    ) -> None:
        count, device = solvable.shape[0], solvable.device
        self.limits = limits
        self._unit = unit
        self.value = torch.full((count,), torch.nan, dtype=torch.float64, device=device)
        self.bound = torch.full_like(self.value, -torch.inf)
        self.norm = torch.full_like(self.value, torch.nan)
        self.dual = torch.zeros(count, order, dtype=torch.float64, device=device)
        self.iterations = torch.zeros(count, dtype=torch.int64, device=device)
        self.status = torch.full_like(self.iterations, -1)
        self.status[~solvable] = STATUSES.index(Status.FAILED)
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Wall-clock time since the start."""
        return time.perf_counter() - self._started

    @property
    def scale(self) -> Tensor:
        """What the gaps of the scaled problems are relative to, (B,)."""
        return torch.maximum(self.value.abs(), self.norm)

    @property
    def unfinished(self) -> Tensor:
        """Numbers of the problems that have no status yet."""
        return (self.status == -1).nonzero()[:, 0]

    def unfinished_pieces(self, size: int) -> tuple[Tensor, ...]:
        """The problems that are not finished, so many at a time; nothing where none is left."""
        left = self.unfinished
        return left.split(size) if left.numel() else ()

    @property
    def expired(self) -> bool:
        """Whether the time is up."""
        return self.limits.max_seconds is not None and self.seconds >= self.limits.max_seconds

    def reached(self, which: Tensor) -> Tensor:
        """Where (b,) value and bound are within the tolerance of each other."""
        return self.value[which] - self.bound[which] <= self.limits.tol * self.scale[which]

    def raise_bounds(self, which: Tensor, bound: Tensor, dual: Tensor) -> None:
        """Keep these bounds (b,), and the y (b, N) behind them, where they are better."""
        better = bound > self.bound[which]
        self.bound[which[better]], self.dual[which[better]] = bound[better], dual[better]

    def finish(self, which: Tensor, done: Tensor, otherwise: Status) -> None:
        """Call these problems certified where ``done`` (b,), and what the rest is."""
        places = torch.where(done, STATUSES.index(Status.CERTIFIED), STATUSES.index(otherwise))
        self.status[which] = places.to(self.status.dtype)

    def judged(self) -> tuple[Tensor, Tensor, Tensor]:
        """Bounds of the scaled problems, relative gaps and statuses, (B,) each, as every solve is judged."""
        value, bound, scale = (tensor.cpu().numpy() for tensor in (self.value, self.bound, self.scale))
        gaps = judged_gap(value, bound, scale)
        status = judged_status(self.status.cpu().numpy(), gaps, self.limits.tol)
        gap = torch.from_numpy(gaps).to(self.value.device)
        # rounding may have lifted a bound above its value; what contradicts it is left to be seen
        least = torch.where(gap.isnan(), self.bound, torch.minimum(self.bound, self.value))
        failed = self.status == STATUSES.index(Status.FAILED)
        certified = int((status == STATUSES.index(Status.CERTIFIED)).sum())
        _log.info("%d of %d problems certified, %.3f seconds", certified, status.size, self.seconds)
        return least.masked_fill(failed, -torch.inf), gap, torch.from_numpy(status).to(self.status)

    def heed_limits(self, sweeps: int) -> None:
        """Tell the callback.

        Raises
        ------
        Stop
            Where it asks for that, or the time is up.
        """
        if self.limits.callback is not None:
            finished = int((self.status >= 0).sum())
            numbers = (self.value * self._unit, self.bound * self._unit)
            moment = BatchMoment(sweeps, finished, self.status.shape[0], self.seconds, *numbers)
            tell(self.limits.callback, moment, Status.INTERRUPTED)
        if self.expired:
            raise Stop(Status.TIME_LIMIT)
