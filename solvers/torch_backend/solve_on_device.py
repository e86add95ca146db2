"""One problem on a device: what `solvers.low_rank` does when it is given one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from solvers.certificates.dual_bound import dense_cost
from solvers.certificates.rigorous import prove
from solvers.problems.problem import Problem
from solvers.problems.scaling import binary_exponent
from solvers.problems.solution import Iteration, Solution, Status, relative_gap
from solvers.torch_backend.common.batch_limits import BatchMoment
from solvers.torch_backend.common.checks import checked_device
from solvers.torch_backend.dense.solution import BatchSolution
from solvers.torch_backend.dense.solve_batch import solve_batch
from solvers.torch_backend.sparse.sparse_single import solve_sparse_on_device

# Sparse costs up to this order are solved as dense ones, larger ones by coloured sweeps.
DENSE_ORDER = 2048


def solve_on_device(
    problem: Problem,
    factor: NDArray[np.float64],
    *,
    device: Any,
    tol: float,
    target: float,
    rigorous: bool,
    max_iterations: int,
    max_seconds: float | None,
    callback: Callable[[Iteration], None] | None,
) -> Solution:
    """Solve on tensors, from unit rows ``factor`` (N, k) to a gap of ``target``, certified at ``tol``.

    Raises
    ------
    TypeError
        If the cost is an operator.
    ValueError
        If torch cannot use the device.
    MemoryError
        If the device's memory does not suffice.
    """
    place = checked_device("device", device)
    unit = problem.relaxation().unit().cost
    if isinstance(unit, LinearOperator):
        raise TypeError("device takes a dense or sparse cost; found an operator, which NumPy has to apply")
    if sp.issparse(unit) and unit.shape[0] > DENSE_ORDER:
        return solve_sparse_on_device(
            problem,
            factor,
            device=place,
            tol=tol,
            target=target,
            rigorous=rigorous,
            max_iterations=max_iterations,
            max_seconds=max_seconds,
            callback=callback,
        )
    history: list[Iteration] = []
    exponent = binary_exponent(unit)
    scaled = np.ldexp(dense_cost(unit), -exponent)
    constant = problem.relaxation().constant

    def note(moment: BatchMoment) -> None:
        value, bound = (
            math.ldexp(float(number), exponent) + constant
            for number in (moment.value[0], moment.lower_bound[0])
        )
        history.append(Iteration(moment.iteration, value, bound, math.nan, factor.shape[1], moment.seconds))
        if callback is not None:
            callback(history[-1])

    solved = solve_batch(
        torch.from_numpy(scaled)[None].to(place),
        start=torch.from_numpy(factor)[None].to(place),
        tol=target,
        max_iterations=max_iterations,
        max_seconds=max_seconds,
        callback=note,
    )
    return _solution(problem, solved, exponent, tol, rigorous, tuple(history))


def _solution(
    problem: Problem,
    solved: BatchSolution,
    exponent: int,
    tol: float,
    rigorous: bool,
    history: tuple[Iteration, ...],
) -> Solution:
    """The same result in the problem's own terms: its scale, its constant, its diagonal, and a proof if asked."""
    relaxation = problem.relaxation()
    whole = solved.solution(0)
    value, bound = whole.value, whole.lower_bound
    if rigorous:
        estimate = min((bound - float(whole.dual.sum())) / relaxation.size, 0.0)
        bound = prove(relaxation, whole.dual, exponent, estimate)
    gap = relative_gap(value, bound, float(np.linalg.norm(whole.problem.relaxation().cost)))
    status = Status.CERTIFIED if gap <= tol else whole.status
    if status is Status.CERTIFIED and not gap <= tol:
        status = Status.NOT_CERTIFIED
    lower_bound = math.ldexp(bound, exponent) + relaxation.constant
    return Solution(
        problem=problem,
        factor=whole.factor * np.sqrt(relaxation.diagonal)[:, None],
        value=math.ldexp(value, exponent) + relaxation.constant,
        lower_bound=math.nextafter(lower_bound, -math.inf) if rigorous else lower_bound,
        gap=gap,
        dual=np.ldexp(whole.dual, exponent) / relaxation.diagonal,
        certificate="rigorous" if rigorous else "estimate",
        status=status,
        iterations=whole.iterations,
        seconds=whole.seconds,
        history=history,
    )
