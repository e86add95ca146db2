"""Many dense problems of one size at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from solvers.stop import Limits
from solvers.torch_backend.common.checks import (
    checked_generator,
    checked_width,
    companion,
    real_tensor,
    refuse_triangles,
    unit_rows,
)
from solvers.torch_backend.common.memory import working_on
from solvers.torch_backend.common.run_state import BatchMoment
from solvers.torch_backend.dense.backends import choose_backend
from solvers.torch_backend.dense.batch_solver import BatchSolver
from solvers.torch_backend.dense.costs import BatchCosts
from solvers.torch_backend.dense.solution import BatchSolution, differentiable_value

# Bytes for the costs in sweeps: what caches hold for torch on a processor, where a step touches every problem;
# compiled loops take one problem after the other, and want as many at a time as keep all threads busy.
PIECE_BYTES = {"torch": 2**24, "compiled": 2**26, "triton": 2**29}


def solve_batch(
    costs: Tensor,
    linear: Tensor | None = None,
    *,
    rank: int | None = None,
    tol: float = 1e-6,
    start: Tensor | None = None,
    max_iterations: int = 20_000,
    max_seconds: float | None = None,
    callback: Callable[[BatchMoment], None] | None = None,
    generator: torch.Generator | None = None,
    kernel: str | None = None,
) -> BatchSolution:
    r"""Solve the SDP relaxations of B binary quadratic problems of one size, each certified on its own.

    Problem i is :math:`\min w^T A_i w + b_i^T w` over :math:`w \in \{-1, 1\}^n`.

    Parameters
    ----------
    costs : (B, n, n) Tensor
        float32 or float64, on the processor or a CUDA device.  Only the symmetric part of each matrix counts, as
        in the quadratic form; a triangle alone is refused.  May require a gradient; see `BatchSolution.value`.
    linear : (B, n) Tensor, optional
        The b_i, of the same dtype and on the same device.  With them N = n + 1, else N = n.
    rank : int, optional
        Columns k to start with, 1 <= k <= N; escapes may add some.  By default about 2 log2(N).
    tol : float, optional
        Relative gap at which a problem counts as certified, > 0.
    start : (B, N, k) Tensor, optional
        Rows to start from, normalised first; replaces `rank`.
    max_iterations : int, optional
        Sweeps a problem, rounded up to whole blocks of ten.
    max_seconds : float, optional
        Wall-clock limit of the batch.
    callback : callable, optional
        Called with a `BatchMoment` after every block; raising StopIteration ends the solve.
    generator : torch.Generator, optional
        For the start points; on the device of the costs.
    kernel : {"compiled", "torch", "triton"}, optional
        What sweeps.  By default compiled loops on the processor where numba is installed, the Triton kernel on a
        CUDA device where triton is, and torch otherwise; they take the same steps.

    Returns
    -------
    BatchSolution
        Per-problem values, bounds, gaps and statuses.  A problem with entries that are not finite, or too large
        to be added up, fails alone, by its status.  KeyboardInterrupt returns the best points so far.

    Raises
    ------
    TypeError, ValueError
        For an argument that does not fit, naming it.
    MemoryError
        With an estimate of what is needed and what to lower.

    Notes
    -----
    Over-relaxed coordinate sweeps in float32 on all problems at once (as in `solvers.low_rank`), in blocks of ten
    between which nothing waits for the device.  Then y_i = <(C V)_i, v_i> and a Cholesky factorisation of
    C - Diag(y) + t I in float64 certify those that are done, which leave; y is polished by Newton steps on the
    dual problem where the factor is optimal before its multipliers are; sweeps go on in float64 where float32
    has nothing left to give, and a factor that is critical but not optimal escapes along an eigenvector.
    A sweep costs O(B N^2 k), a certificate O(N^3), memory is that of the costs and O(B N k), and a fixed
    working space.

    Examples
    --------
    >>> costs = torch.tensor([[[0.0, 1.0], [1.0, 0.0]], [[0.0, -3.0], [-3.0, 0.0]]])
    >>> solved = solve_batch(costs, generator=torch.Generator().manual_seed(0))
    >>> solved.certified.tolist(), [round(value, 4) for value in solved.value.tolist()]
    ([True, True], [-2.0, -6.0])
    """
    costs, linear = _checked_problems(costs, linear)
    count, order = costs.shape[0], costs.shape[1] + (linear is not None)
    limits = Limits.checked(tol, max_iterations, max_seconds, callback)
    name, sweep = choose_backend(kernel, costs.device)
    width = checked_width(rank, start, order)
    estimate = count * order * (width * costs.element_size() + 8) + 6.0 * _piece_bytes(name, count, order)
    with working_on(
        estimate, costs.device, f"solve fewer problems at once than {count}, or lower rank from {width}"
    ):
        factors = _start_factors(start, (count, order, width), costs, generator)
        run = BatchSolver(BatchCosts(costs, linear), factors, sweep, limits, _piece_bytes(name, count, order))
        with torch.no_grad():
            run.run()
            return _solution(run, costs, linear)


def _solution(run: BatchSolver, costs: Tensor, linear: Tensor | None) -> BatchSolution:
    scale = run.costs.scale
    bound, gap, status = run.judged()
    with torch.enable_grad():
        value = differentiable_value(run.value * scale, run.factors, costs, linear)
    return BatchSolution(
        value=value,
        lower_bound=bound * scale,
        gap=gap,
        status=status,
        factor=run.factors,
        dual=run.dual * scale[:, None],
        iterations=run.iterations,
        seconds=run.seconds,
        costs=costs,
        linear=linear,
    )


def _checked_problems(costs: Any, linear: Any) -> tuple[Tensor, Tensor | None]:
    costs = real_tensor("costs", costs, dimensions=3)
    if costs.shape[1] != costs.shape[2]:
        raise ValueError(f"costs must hold square matrices; found shape {tuple(costs.shape)}")
    if costs.device.type not in ("cpu", "cuda"):
        raise ValueError(f"costs must be on a cpu or cuda device, which have float64; found {costs.device}")
    refuse_triangles("costs", costs)
    if linear is not None:
        linear = companion("linear", linear, tuple(costs.shape[:2]), costs, "costs")
    return costs, linear


def _start_factors(
    start: Tensor | None, shape: tuple[int, int, int], costs: Tensor, generator: torch.Generator | None
) -> Tensor:
    """Unit rows in the dtype of the costs: the caller's, or random ones drawn in that dtype."""
    generator = checked_generator("generator", generator, costs.device)
    if start is None:
        rows = torch.randn(shape, dtype=costs.dtype, device=costs.device, generator=generator)
        return rows / torch.linalg.vector_norm(rows, dim=2, keepdim=True)
    return unit_rows("start", companion("start", start, shape, costs, "costs").detach())


def _piece_bytes(kernel: str, count: int, order: int) -> float:
    """Working space: no more than the batch asks for."""
    return float(min(PIECE_BYTES[kernel], 64.0 * count * order**2))
