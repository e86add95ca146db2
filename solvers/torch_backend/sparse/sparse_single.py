"""What `solvers.low_rank` does with a large sparse cost when it is given a device."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from solvers.certificates.rigorous import prove
from solvers.linalg.sphere import normalise
from solvers.problems.problem import Problem
from solvers.problems.scaling import binary_exponent, scale_by_power
from solvers.problems.solution import Iteration, Solution, Status, relative_gap
from solvers.torch_backend.sparse.cost import sparse_cost
from solvers.torch_backend.sparse.solve_sparse import FINEST, solve_sparse

# Gaps down to ten times the finest of float32 are left to it; it takes half the memory and time.
SINGLE_PRECISION = 10.0 * FINEST[torch.float32]


def solve_sparse_on_device(
    problem: Problem,
    factor: NDArray[np.float64],
    *,
    device: torch.device,
    tol: float,
    target: float,
    rigorous: bool,
    max_iterations: int,
    max_seconds: float | None,
    callback: Callable[[Iteration], None] | None,
) -> Solution:
    """Solve on tensors, from unit rows ``factor`` (N, k) to a gap of ``target``, certified at ``tol``.

    In float32 where the target allows it.

    Raises
    ------
    MemoryError
        If the device's memory does not suffice.
    """
    relaxation = problem.relaxation()
    unit = relaxation.unit().cost
    exponent = binary_exponent(unit)
    dtype = torch.float32 if target >= SINGLE_PRECISION else torch.float64
    cost = sparse_cost(scale_by_power(unit, -exponent), device=device, dtype=dtype)
    history: list[Iteration] = []

    def note(moment: Iteration) -> None:
        value, bound = (
            math.ldexp(number, exponent) + relaxation.constant
            for number in (moment.value, moment.lower_bound)
        )
        history.append(moment._replace(value=value, lower_bound=bound))
        if callback is not None:
            callback(history[-1])

    solved = solve_sparse(
        cost,
        start=torch.from_numpy(factor).to(device, dtype),
        tol=max(target, FINEST[dtype]),
        max_iterations=max_iterations,
        max_seconds=max_seconds,
        callback=note,
        generator=torch.Generator(device).manual_seed(0),
    )
    return _in_the_problems_terms(problem, solved, unit, exponent, tol, rigorous, tuple(history))


def _in_the_problems_terms(
    problem: Problem,
    solved: Solution,
    unit: sp.csr_array,
    exponent: int,
    tol: float,
    rigorous: bool,
    history: tuple[Iteration, ...],
) -> Solution:
    """NumPy arrays, the problem's scale, constant and diagonal, and a proof if asked."""
    relaxation = problem.relaxation()
    factor = normalise(_numpy(solved.factor))
    dual = _numpy(solved.dual)
    value, bound = solved.value, solved.lower_bound
    if rigorous:
        estimate = min((bound - float(dual.sum())) / relaxation.size, 0.0)
        bound = prove(relaxation, dual, exponent, estimate)
    gap = max(relative_gap(value, bound, math.ldexp(float(np.linalg.norm(unit.data)), -exponent)), 0.0)
    status = solved.status
    if gap <= tol:
        status = Status.CERTIFIED
    elif status is Status.CERTIFIED:
        status = Status.NOT_CERTIFIED
    lower_bound = math.ldexp(bound, exponent) + relaxation.constant
    return Solution(
        problem=problem,
        factor=factor * np.sqrt(relaxation.diagonal)[:, None],
        value=math.ldexp(value, exponent) + relaxation.constant,
        lower_bound=math.nextafter(lower_bound, -math.inf) if rigorous else lower_bound,
        gap=gap,
        dual=np.ldexp(dual, exponent) / relaxation.diagonal,
        certificate="rigorous" if rigorous else "estimate",
        status=status,
        iterations=solved.iterations,
        seconds=solved.seconds,
        history=history,
    )


def _numpy(tensor: object) -> NDArray[np.float64]:
    assert isinstance(tensor, torch.Tensor)
    return tensor.double().cpu().numpy()
