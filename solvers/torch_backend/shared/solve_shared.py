"""One matrix, many linear terms: the relaxations of a whole layer's worth of problems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from solvers.problems.solution import STATUSES, Status
from solvers.stop import Limits
from solvers.torch_backend.common.checks import (
    checked_generator,
    checked_width,
    companion,
    real_tensor,
    refuse_triangles,
    unit_rows,
)
from solvers.torch_backend.common.many import ManySolutions
from solvers.torch_backend.common.memory import working_on
from solvers.torch_backend.common.run_state import BatchMoment
from solvers.torch_backend.shared.certificate import PIECE_ENTRIES
from solvers.torch_backend.shared.costs import SharedCosts
from solvers.torch_backend.shared.shared_solver import SharedSolver


@dataclass(frozen=True, eq=False, repr=False)
class SharedSolution(ManySolutions):
    r"""Points of the elliptopes of J problems, and a bound for each.

    Attributes
    ----------
    value, lower_bound, gap : (J,) float64 Tensor
        As in `BatchSolution`; NaN, -inf and NaN where a linear term was not finite.
    status : (J,) int64 Tensor
        Places in `statuses`.
    factor : (J, N, k) float32 Tensor
        Unit rows, N = n + 1, the homogenising row first.
    dual : (J, N) float64 Tensor
        The y behind each bound.
    iterations : (J,) int64 Tensor
        Sweeps.
    seconds : float
    """

    value: Tensor
    lower_bound: Tensor
    gap: Tensor
    status: Tensor
    factor: Tensor
    dual: Tensor
    iterations: Tensor
    seconds: float


def solve_shared(
    matrix: Tensor,
    linear: Tensor,
    *,
    rank: int | None = None,
    tol: float = 1e-4,
    start: Tensor | None = None,
    max_iterations: int = 2_000,
    max_seconds: float | None = None,
    callback: Callable[[BatchMoment], None] | None = None,
    generator: torch.Generator | None = None,
) -> SharedSolution:
    r"""Solve the relaxations of :math:`\min w^T A w + b_j^T w` over signs w, for one A and many b_j.

    Parameters
    ----------
    matrix : (n, n) Tensor
        A, float32 or float64, on the processor or a CUDA device; only its symmetric part counts,
        and a triangle alone is refused.
    linear : (J, n) Tensor
        The b_j, of the same dtype and on the same device.
    rank : int, optional
        Columns k of each factor, 1 <= k <= n + 1.  By default about 2 log2(n + 1).
    tol : float, optional
        Relative gap at which a problem counts as certified, > 0.
    start : (J, n + 1, k) Tensor, optional
        Rows to start from, normalised first; replaces `rank`.
    max_iterations : int, optional
        Sweeps, rounded up to whole blocks of ten.
    max_seconds : float, optional
        Wall-clock limit.
    callback : callable, optional
        Called with a `BatchMoment` after every block; raising StopIteration ends the solve.
    generator : torch.Generator, optional
        For start points and certificates; on the device of the matrix.

    Returns
    -------
    SharedSolution
        A problem whose linear term is not finite, or larger than A by twelve orders of magnitude, fails alone.

    Raises
    ------
    TypeError, ValueError
        For an argument that does not fit, naming it; a gradient through the result is not supported.
    MemoryError
        With an estimate of what is needed and what to lower.

    Notes
    -----
    Over-relaxed coordinate sweeps in float32, the first of them with bfloat16 products on CUDA devices that have
    them; a block of rows of A meets all problems in one matrix product.  Multipliers of second order are certified
    by Cholesky factorisations in float64; above order 4,100 on a processor and 16,400 on a GPU by Lanczos
    recurrences side by side, which share each product with A, and whose bounds are estimates; so are those of
    problems that a limit has ended above order 1,100.  Problems that have not converged after n/4 sweeps, as where
    A is singular or nearly so, are given a matrix of their own and solved by an interior point method, in some
    thirty steps of O(n^3) each, up to the same orders.
    A sweep costs O(n^2 J k), memory is O(n^2 + J n k).

    Examples
    --------
    >>> A = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    >>> terms = torch.tensor([[1.0, 0.0], [-2.0, 2.0]])
    >>> solved = solve_shared(A, terms, generator=torch.Generator().manual_seed(0))
    >>> [round(value, 2) for value in solved.value.tolist()]
    [0.0, -3.0]
    """
    matrix, linear = _checked_problems(matrix, linear)
    limits = Limits.checked(tol, max_iterations, max_seconds, callback)
    count, order = linear.shape[0], matrix.shape[0] + 1
    generator = checked_generator("generator", generator, matrix.device)
    width = checked_width(rank, start, order)
    # the matrix; the factors and one look at them; an interior point method at work
    alone = max(PIECE_ENTRIES[matrix.device.type], order**2)
    estimate = 20.0 * order**2 + 8.0 * count * order * (width + 6) + 80.0 * alone
    advice = f"solve fewer problems at once than {count}, or lower rank from {width}"
    with working_on(estimate, matrix.device, advice), torch.no_grad():
        factors = _start_factors(start, (count, order, width), linear, generator)
        costs = SharedCosts(matrix, linear)
        run = SharedSolver(costs, factors, limits, generator, _early_dtype(matrix.device))
        run.run()
        return _solution(run)


def _solution(run: SharedSolver) -> SharedSolution:
    bound, gap, status = run.judged()
    failed = status == STATUSES.index(Status.FAILED)
    return SharedSolution(
        value=run.value.masked_fill(failed, torch.nan) * run.costs.scale,
        lower_bound=bound * run.costs.scale,
        gap=gap,
        status=status,
        factor=run.factors.transpose(0, 1),
        dual=run.dual * run.costs.scale,
        iterations=run.iterations,
        seconds=run.seconds,
    )


def _checked_problems(matrix: Any, linear: Any) -> tuple[Tensor, Tensor]:
    matrix = real_tensor("matrix", matrix, dimensions=2)
    linear = real_tensor("linear", linear, dimensions=2)
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"matrix must be square; found shape {tuple(matrix.shape)}")
    if matrix.device.type not in ("cpu", "cuda"):
        raise ValueError(f"matrix must be on a cpu or cuda device, which have float64; found {matrix.device}")
    linear = companion("linear", linear, (linear.shape[0], matrix.shape[0]), matrix, "matrix")
    for name, tensor in (("matrix", matrix), ("linear", linear)):
        if tensor.requires_grad:
            raise ValueError(
                f"{name} must not require a gradient, which only solve_batch has; pass {name}.detach()"
            )
    if not bool(torch.isfinite(matrix).all()):
        raise ValueError("matrix must be finite; found NaN or infinite entries")
    refuse_triangles("matrix", matrix)
    return matrix, linear


def _start_factors(
    start: Tensor | None, shape: tuple[int, int, int], linear: Tensor, generator: torch.Generator
) -> Tensor:
    """Unit rows in float32, (N, J, k)."""
    count, order, width = shape
    if start is None:
        rows = torch.randn(order, count, width, device=linear.device, generator=generator)
        return rows / torch.linalg.vector_norm(rows, dim=2, keepdim=True)
    if tuple(start.shape) != shape or start.device != linear.device:
        raise ValueError(
            f"start must have shape {shape} on {linear.device}; found {tuple(start.shape)} on {start.device}"
        )
    return unit_rows("start", start.detach()).float().transpose(0, 1).contiguous()


def _early_dtype(device: torch.device) -> torch.dtype | None:
    """bfloat16 where the matrix unit multiplies it faster than float32."""
    return (
        torch.bfloat16
        if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        else None
    )
