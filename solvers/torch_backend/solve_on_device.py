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

from solvers.burer_monteiro.finish import Found, finish
from solvers.certificates.dual_bound import dense_cost
from solvers.linalg.sphere import normalise
from solvers.problems.problem import Problem
from solvers.problems.scaling import binary_exponent, scale_by_power
from solvers.problems.solution import Iteration, Solution
from solvers.torch_backend.common.checks import checked_device
from solvers.torch_backend.common.run_state import BatchMoment
from solvers.torch_backend.dense.solve_batch import solve_batch
from solvers.torch_backend.sparse.cost import sparse_cost
from solvers.torch_backend.sparse.solve_sparse import FINEST, SLIP, solve_sparse

# Sparse costs up to this order are solved as dense ones, larger ones by coloured sweeps.
DENSE_ORDER = 2048
# Gaps down to ten times the finest of float32 are left to it; it takes half the memory and time.
SINGLE_PRECISION = 10.0 * FINEST[torch.float32]


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
        return _solve_sparse(
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

    whole = solve_batch(
        torch.from_numpy(scaled)[None].to(place),
        start=torch.from_numpy(factor)[None].to(place),
        tol=target,
        max_iterations=max_iterations,
        max_seconds=max_seconds,
        callback=note,
    ).solution(0)
    found = Found(
        factor=whole.factor,
        dual=whole.dual,
        value=whole.value,
        bound=whole.lower_bound,
        frobenius=float(np.linalg.norm(scaled)),
        exponent=exponent,
        reason=whole.status,
        iterations=whole.iterations,
        seconds=whole.seconds,
        history=tuple(history),
    )
    return finish(problem, found, tol=tol, rigorous=rigorous)


def _solve_sparse(
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
    scaled = scale_by_power(unit, -exponent)
    cost = sparse_cost(scaled, device=device, dtype=dtype)
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
    rows = normalise(_numpy(solved.factor))
    found = Found(
        factor=rows,
        dual=_numpy(solved.dual),
        # of these rows, which are of length one in float64
        value=float(np.vdot(scaled @ rows, rows)),
        bound=solved.lower_bound,
        frobenius=float(np.linalg.norm(scaled.data)),
        exponent=exponent,
        reason=solved.status,
        iterations=solved.iterations,
        seconds=solved.seconds,
        history=tuple(history),
    )
    return finish(problem, found, tol=tol, rigorous=rigorous, slip=SLIP[dtype])


def _numpy(tensor: object) -> NDArray[np.float64]:
    assert isinstance(tensor, torch.Tensor)
    return tensor.double().cpu().numpy()
