"""Sweep, certify, widen: the loop for one huge sparse cost on a device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from solvers.burer_monteiro.monitor import Run
from solvers.torch_backend.common.memory import ran_out_of_memory
from solvers.torch_backend.sparse.certificate import Slack
from solvers.torch_backend.sparse.colouring import Layout
from solvers.torch_backend.sparse.cost import row_sums
from solvers.torch_backend.sparse.factor import widened
from solvers.torch_backend.sparse.over_relaxation import Sweeps, evaluate

# Sweeps between words from the device.
BLOCK = 10
# The gap of a factor that is wide enough is about three times the error that its last decrease foretells ...
GAP_OVER_FORETOLD = 3.0
# ... and where it is this many times that, more columns help more than sweeps do.
TOO_NARROW = 6.0
# Of the value: once the foretold error is this small, it pays to see whether the factor is wide enough.
FIRST_LOOK = 3e-4
# A failed certificate is followed by this many times the sweeps so far before the next.
PATIENCE = 1.25
# Converged: the foretold error is this small a part of what is allowed, or lost in rounding.  The gap may still
# follow, as its square root does, so that only this many failed certificates in a row mean that nothing can help.
CONVERGED = 1e-3
ATTEMPTS = 6


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
        self.value = evaluate(layout, factor, fused=self._sweeps.fused).value
        # Gershgorin's: C - Diag(y) is diagonally dominant
        self.dual = (-row_sums(layout.pointers, layout.values.abs())).to(factor.dtype)
        self.bound = float(self.dual.sum(dtype=torch.float64))

    def solve(self, run: Run, share: float) -> None:
        """Iterate until value - bound <= share * run.scale, a limit, or the end of what the dtype can do.

        Raises
        ------
        Stop
            From ``run``, at a limit.
        """
        next_check, first_look, attempts = 0, FIRST_LOOK, 0
        while self.value - self.bound > share * run.scale:
            foretold = self._advance(run)
            allowed = 0.9 * share * run.scale
            wanted = max(allowed / GAP_OVER_FORETOLD, first_look * run.scale)
            if foretold > wanted or self._sweeps.iterations < next_check:
                continue
            limit = max(allowed, TOO_NARROW * foretold)
            slack = self._certify(run, allowed if GAP_OVER_FORETOLD * foretold <= allowed else limit)
            next_check = int(PATIENCE * self._sweeps.iterations)
            if slack.total * -slack.value > limit and self._widen(slack):
                next_check, attempts = self._sweeps.iterations + 2 * BLOCK, 0
                continue
            # wide enough, or as wide as it can be: from here on only a gap within reach is worth a look
            first_look = 0.0
            attempts += foretold <= max(CONVERGED * allowed, self._rounding * run.scale)
            if attempts > ATTEMPTS:
                return

    def settle(self, run: Run) -> None:
        """Compute the bound at the present point, as after a limit."""
        self._certify(run, None)

    @property
    def _rounding(self) -> float:
        return float(torch.finfo(self.factor.dtype).eps)

    def _advance(self, run: Run) -> float:
        """Run a block of sweeps; return the error that the last decrease foretells."""
        count = max(1, min(BLOCK, run.remaining_iterations))
        last, decrease = self._sweeps.advance(self.factor, count)
        self.value -= decrease
        run.iterations += count
        run.advance(0, self.value, math.nan, self.factor.shape[1])
        return 0.5 * max(last, 0.0) * self._sweeps.iterations

    def _certify(self, run: Run, allowed: float | None) -> Slack:
        """Bound the optimum by the present multipliers, as sharply as the allowed gap needs."""
        fused = self._sweeps.fused
        seen = evaluate(self.layout, self.factor, fused=fused)
        slack = Slack(self.layout, seen.multipliers, self._generator, fused=fused)
        slack.resolve(None if allowed is None else -allowed / slack.total)
        self.products += slack.products
        self.value = seen.value
        bound = self.value + slack.total * min(slack.value - slack.error, 0.0)
        if bound > self.bound:
            self.dual, self.bound = slack.certified_dual(), bound
        run.values[0], run.bounds[0] = self.value, self.bound
        return slack

    def _widen(self, slack: Slack) -> bool:
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
        self.value = evaluate(self.layout, self.factor, fused=self._sweeps.fused).value
        return True
