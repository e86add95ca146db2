"""The low-rank solver for one huge sparse problem, on the processor or a CUDA device."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from solvers import checks
from solvers.burer_monteiro.finish import judged_gap, judged_status
from solvers.burer_monteiro.monitor import Monitor
from solvers.linalg.rank import start_rank, widest_rank
from solvers.problems.solution import STATUSES, Iteration, Solution, Status
from solvers.stop import Limits, Stop
from solvers.torch_backend.common.checks import checked_generator, companion, unit_rows
from solvers.torch_backend.common.memory import working_on
from solvers.torch_backend.sparse.colouring import coloured
from solvers.torch_backend.sparse.cost import SparseCost, times_power
from solvers.torch_backend.sparse.factor import in_original_order, random_factor
from solvers.torch_backend.sparse.memory import bytes_needed, check_room
from solvers.torch_backend.sparse.sparse_solver import SparseSolver

# The smallest gap that rounding leaves within reach.
FINEST = {torch.float32: 1e-5, torch.float64: 1e-9}
# Of the gap: by how much rounding may lift the bound above the value.
SLIP = {torch.float32: 1e-5, torch.float64: 1e-11}


def solve_sparse(
    cost: SparseCost,
    *,
    rank: int | None = None,
    tol: float = 1e-3,
    start: Tensor | None = None,
    max_iterations: int = 1_000_000,
    max_seconds: float | None = None,
    callback: Callable[[Iteration], None] | None = None,
    generator: torch.Generator | None = None,
) -> Solution:
    r"""Solve the SDP relaxation of a sparse cost by coloured sweeps over a narrow factor, and certify it.

    Parameters
    ----------
    cost : SparseCost
        Its device and dtype are those of the computation.
    rank : int, optional
        Columns to start with, 16 or fewer by default; doubled whenever a certificate shows that they are too
        few.  Powers of two suit the device.
    tol : float, optional
        Relative gap at which the result counts as certified; at least 1e-5 in float32, 1e-9 in float64.
    start : (N, k) Tensor, optional
        Rows to start from, normalised first; replaces `rank`.
    max_iterations : int, optional
        Sweeps.
    max_seconds : float, optional
        Wall-clock limit; the certificate after it is still computed.
    callback : callable, optional
        Called with an `Iteration` every few sweeps; raising StopIteration ends the solve.
    generator : torch.Generator, optional
        On the device of the cost; for the start, new columns and the Lanczos vectors.

    Returns
    -------
    Solution
        Its `problem` is the cost, its `factor` and `dual` are tensors on the device.  KeyboardInterrupt returns
        the best point so far, with status INTERRUPTED.

    Raises
    ------
    TypeError, ValueError
        For an argument that does not fit, naming it.
    MemoryError
        With the estimate, and what to lower.

    Notes
    -----
    Rows of one colour do not meet in the cost: they move together, which keeps the convergence of the
    Gauss-Seidel sweeps of `solvers.low_rank` and gives the same result for the same seed.  A sweep moves about
    nnz (k s + s + 4) + 2 n k s bytes for k columns of s bytes; memory is about 2 n k s + nnz (s + 12).
    The certificate is a `dual` with C - Diag(dual) PSD, as far as Lanczos can tell, and its sum.

    Examples
    --------
    >>> from solvers.torch_backend.sparse.graphs import cut_cost
    >>> pentagon = cut_cost(torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]]))
    >>> solution = solve_sparse(pentagon, generator=torch.Generator().manual_seed(0))
    >>> solution.status.name, round(solution.report()["value"], 2)
    ('CERTIFIED', 4.52)
    """
    if not isinstance(cost, SparseCost):
        raise TypeError(f"cost must be a SparseCost; found {type(cost).__name__}")
    limits = Limits.checked(tol, max_iterations, max_seconds, callback, finest=FINEST[cost.dtype])
    generator = checked_generator("generator", generator, cost.device)
    rank = _checked_rank(cost, rank, start)
    needed = bytes_needed(cost, rank)
    check_room(needed, cost.device)
    advice = "lower rank, or use float32 values and 32-bit pointers"
    with torch.no_grad(), working_on(needed, cost.device, advice):
        return _Solve(cost, rank, start, limits.tol, generator).solve(limits)


class _Solve:
    """One problem on its way: coloured, scaled, with its solver."""

    def __init__(
        self, cost: SparseCost, rank: int, start: Tensor | None, tol: float, generator: torch.Generator
    ) -> None:
        self.started = time.perf_counter()
        self.cost = cost
        self.tol = tol
        self.layout = coloured(cost)
        self.shift = math.ldexp(cost.trace(), -self.layout.exponent)
        self.frobenius = math.ldexp(cost.frobenius(), -self.layout.exponent)
        active = self.layout.order
        if start is None:
            factor = random_factor(active, rank, dtype=cost.dtype, device=cost.device, generator=generator)
        else:
            factor = unit_rows("start", start.detach()[self.layout.rows[:active]])
        widest = max(rank, widest_rank(active))
        self.solver = SparseSolver(self.layout, factor, generator, widest)

    def solve(self, limits: Limits[Iteration]) -> Solution:
        if limits.max_seconds is not None:
            # colouring has had its share of the time already
            limits = replace(limits, max_seconds=max(limits.max_seconds - self.seconds, 0.0))
        monitor = Monitor(
            [self.solver],
            shift=self.shift,
            constant=self.cost.constant,
            exponent=self.layout.exponent,
            frobenius=self.frobenius,
            limits=limits,
        )
        reason = Status.STALLED
        try:
            self.solver.solve(monitor, self.tol)
        except (Stop, KeyboardInterrupt) as stop:
            self.solver.finalise_bound()
            reason = stop.status if isinstance(stop, Stop) else Status.INTERRUPTED
        return self._solution(monitor, reason)

    @property
    def seconds(self) -> float:
        """Wall-clock time since the start."""
        return time.perf_counter() - self.started

    def _solution(self, monitor: Monitor, reason: Status) -> Solution:
        rows, active, exponent = self.layout.rows, self.layout.order, self.layout.exponent
        gap = float(judged_gap(monitor.value, monitor.bound, monitor.scale, SLIP[self.cost.dtype]))
        status = judged_status(STATUSES.index(Status.CERTIFIED if gap <= self.tol else reason), gap, self.tol)
        dual = torch.zeros(self.cost.order, dtype=torch.float64, device=self.cost.device)
        dual[rows[:active]] = self.solver.dual.double()
        dual = times_power(dual, exponent)
        if self.cost.diagonal is not None:
            dual += times_power(self.cost.diagonal.double(), self.cost.exponent)
        tensors: dict[str, Any] = {
            "problem": self.cost,
            "factor": in_original_order(self.solver.factor, rows),
            "dual": dual,
        }
        return Solution(
            **tensors,
            value=math.ldexp(monitor.value, exponent) + self.cost.constant,
            lower_bound=math.ldexp(monitor.bound, exponent) + self.cost.constant,
            gap=gap,
            certificate="estimate",
            status=STATUSES[int(status)],
            iterations=monitor.iterations,
            seconds=self.seconds,
            history=tuple(monitor.history),
        )


def _checked_rank(cost: SparseCost, rank: int | None, start: Tensor | None) -> int:
    if start is not None:
        if rank is not None:
            raise ValueError("start already fixes the rank; pass rank or start, not both")
        width = start.shape[1] if isinstance(start, Tensor) and start.dim() == 2 else 1
        companion("start", start, (cost.order, width), cost.values, "cost.values")
        if not bool(torch.isfinite(start).all()):
            raise ValueError("start must be finite; found NaN or infinite entries")
        if not bool(start.any(dim=1).all()):
            raise ValueError("start must have no zero row")
        return width
    if rank is None:
        return start_rank(cost.order)
    return checks.integer("rank", rank, minimum=1, maximum=cost.order)
