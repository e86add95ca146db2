"""Sweep, certify, widen: the loop for one huge sparse cost on a device."""

from __future__ import annotations

import logging
import math

import torch
from torch import Tensor

from solvers.burer_monteiro.monitor import Monitor
from solvers.torch_backend.common.memory import ran_out_of_memory
from solvers.torch_backend.common.settings import SPARSE
from solvers.torch_backend.sparse.certificate import Slack
from solvers.torch_backend.sparse.colouring import Layout
from solvers.torch_backend.sparse.cost import row_sums
from solvers.torch_backend.sparse.factor import widened
from solvers.torch_backend.sparse.over_relaxation import Sweeps, evaluate

_log = logging.getLogger(__name__)


class SparseSolver:
    """One cost with its factor, multipliers and bound, all valid at any moment; scaled as its layout is.

    Parameters
    ----------
    layout : Layout
    factor : (n, k) Tensor
        Unit rows, changed in place.
    generator : torch.Generator
        On the device of the layout.
    widest : int
        Columns at most.
    fused : bool, optional
        Whether to use the Triton kernels; by default where they can run.

    Attributes
    ----------
    products : int
        Of the slack matrix with a vector, in all certificates.
    """

    def __init__(
        self,
        layout: Layout,
        factor: Tensor,
        generator: torch.Generator,
        widest: int,
        *,
        fused: bool | None = None,
    ) -> None:
        self.layout = layout
        self.factor = factor
        self.products = 0
        self._sweeps = Sweeps(layout, fused=fused)
        self._generator = generator
        self._widest = widest
        self._evaluate()
        # Gershgorin's: C - Diag(y) is diagonally dominant
        self.dual = (-row_sums(layout.pointers, layout.values.abs())).to(factor.dtype)
        self.bound = float(self.dual.sum(dtype=torch.float64))

    def solve(self, monitor: Monitor, target: float) -> None:
        """Iterate until value - bound <= target * monitor.scale, a limit, or the end of what the dtype can do.

        Raises
        ------
        Stop
            From ``monitor``, at a limit.
        """
        due_from, first_evaluation, attempts = 0, SPARSE.first_evaluation, 0
        while attempts <= SPARSE.attempts and self.value - self.bound > target * monitor.scale:
            error = self._advance(monitor)
            allowed = SPARSE.safety * target * monitor.scale
            wanted = max(allowed / SPARSE.gap_over_error, first_evaluation * monitor.scale)
            if error > wanted or self._sweeps.iterations < due_from:
                continue
            narrow = max(allowed, SPARSE.too_narrow * error)
            slack = self._certify(allowed if SPARSE.gap_over_error * error <= allowed else narrow)
            due_from = int(SPARSE.patience * self._sweeps.iterations)
            if slack.total * -slack.value > narrow and self._escape(slack):
                due_from, attempts = self._sweeps.iterations + 2 * SPARSE.block, 0
                continue
            # wide enough, or as wide as it can be: from here on only a gap within reach is worth a certificate
            first_evaluation = 0.0
            attempts += self._has_converged(error, allowed, monitor.scale)
        if self._moved:
            self._evaluate()

    def finalise_bound(self) -> None:
        """Compute the bound at the present point, as after a limit."""
        self._certify(None)

    def _has_converged(self, error: float, allowed: float, scale: float) -> bool:
        rounding = float(torch.finfo(self.factor.dtype).eps)
        return error <= max(SPARSE.converged * allowed, rounding * scale)

    def _advance(self, monitor: Monitor) -> float:
        """Run a block of sweeps; return the error that the last decrease predicts."""
        count = max(1, min(SPARSE.block, monitor.remaining_iterations))
        last, decrease = self._sweeps.advance(self.factor, count)
        self.value -= decrease
        self._moved = True
        monitor.record(count, math.nan, self.factor.shape[1])
        return 0.5 * max(last, 0.0) * self._sweeps.iterations

    def _evaluate(self) -> Tensor:
        """Find the value of the present factor, and its multipliers."""
        found = evaluate(self.layout, self.factor, fused=self._sweeps.fused)
        self.value, self._moved = found.value, False
        return found.multipliers

    def _certify(self, allowed: float | None) -> Slack:
        """Bound the optimum by the present multipliers, as sharply as the allowed gap needs."""
        slack = Slack(self.layout, self._evaluate(), self._generator, fused=self._sweeps.fused)
        slack.resolve(None if allowed is None else -allowed / slack.total)
        self.products += slack.products
        bound = self.value + slack.total * min(slack.value - slack.error, 0.0)
        if bound > self.bound:
            self.dual, self.bound = slack.certified_dual(), bound
        _log.debug("%d rows: value %.9g, bound %.9g", self.factor.shape[0], self.value, self.bound)
        return slack

    def _escape(self, slack: Slack) -> bool:
        """Double the columns, one of the new ones along the eigenvector; False where there is no room."""
        if self.factor.shape[1] >= self._widest:
            return False
        width = min(2 * self.factor.shape[1], self._widest)
        try:
            self.factor = widened(self.factor, width, slack.vector(), self._generator)
        except (MemoryError, RuntimeError) as error:
            if not ran_out_of_memory(error):
                raise
            self._widest = self.factor.shape[1]
            return False
        self._evaluate()
        _log.debug("%d rows escape: value %.9g, %d columns", self.factor.shape[0], self.value, width)
        return True
