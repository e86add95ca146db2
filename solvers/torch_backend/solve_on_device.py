"""One problem on a device: what `solvers.low_rank` does when it is given one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from solvers.burer_monteiro.finish import Found, finish
from solvers.certificates.dual_bound import dense_cost
from solvers.linalg.sphere import normalise
from solvers.problems.cost import Cost
from solvers.problems.problem import Problem
from solvers.problems.scaling import binary_exponent, scale_by_power
from solvers.problems.solution import Iteration, Solution
from solvers.stop import Limits
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
    limits: Limits[Iteration],
    *,
    device: Any,
    tol: float,
    rigorous: bool,
) -> Solution:
    """Solve on tensors, from unit rows ``factor`` (N, k) down to the gap of the limits, certified at ``tol``.

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
    record = _Record(problem.relaxation().constant, binary_exponent(unit), limits.callback)
    if sp.issparse(unit) and unit.shape[0] > DENSE_ORDER:
        found, slip = _solve_sparse(unit, factor, limits, place, record)
        return finish(problem, found, tol=tol, rigorous=rigorous, slip=slip)
    found = _solve_dense(unit, factor, limits, place, record)
    return finish(problem, found, tol=tol, rigorous=rigorous)


@dataclass
class _Record:
    """The history of a solve in the problem's own terms, of which the solver sees a scaled one."""

    constant: float
    exponent: int
    callback: Callable[[Iteration], None] | None
    history: list[Iteration] = field(default_factory=list)

    def note(self, moment: Iteration) -> None:
        """Keep the moment, unscaled, and tell the callback."""
        value, bound = (
            math.ldexp(number, self.exponent) + self.constant for number in (moment.value, moment.lower_bound)
        )
        self.history.append(moment._replace(value=value, lower_bound=bound))
        if self.callback is not None:
            self.callback(self.history[-1])


def _solve_dense(
    unit: Cost,
    factor: NDArray[np.float64],
    limits: Limits[Iteration],
    device: torch.device,
    record: _Record,
) -> Found:
    scaled = np.ldexp(dense_cost(unit), -record.exponent)

    def note(moment: BatchMoment) -> None:
        value, bound = float(moment.value[0]), float(moment.lower_bound[0])
        record.note(Iteration(moment.iteration, value, bound, math.nan, factor.shape[1], moment.seconds))

    whole = solve_batch(
        torch.from_numpy(scaled)[None].to(device),
        start=torch.from_numpy(factor)[None].to(device),
        tol=limits.tol,
        max_iterations=limits.max_iterations,
        max_seconds=limits.max_seconds,
        callback=note,
    ).solution(0)
    return Found(
        factor=whole.factor,
        dual=whole.dual,
        value=whole.value,
        bound=whole.lower_bound,
        frobenius=float(np.linalg.norm(scaled)),
        exponent=record.exponent,
        reason=whole.status,
        iterations=whole.iterations,
        seconds=whole.seconds,
        history=tuple(record.history),
    )


def _solve_sparse(
    unit: sp.csr_array,
    factor: NDArray[np.float64],
    limits: Limits[Iteration],
    device: torch.device,
    record: _Record,
) -> tuple[Found, float]:
    """What was found, in float32 where the target allows it, and by how much a bound may slip above its value."""
    dtype = torch.float32 if limits.tol >= SINGLE_PRECISION else torch.float64
    scaled = scale_by_power(unit, -record.exponent)
    solved = solve_sparse(
        sparse_cost(scaled, device=device, dtype=dtype),
        start=torch.from_numpy(factor).to(device, dtype),
        tol=max(limits.tol, FINEST[dtype]),
        max_iterations=limits.max_iterations,
        max_seconds=limits.max_seconds,
        callback=record.note,
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
        exponent=record.exponent,
        reason=solved.status,
        iterations=solved.iterations,
        seconds=solved.seconds,
        history=tuple(record.history),
    )
    return found, SLIP[dtype]


def _numpy(tensor: object) -> NDArray[np.float64]:
    assert isinstance(tensor, torch.Tensor)
    return tensor.double().cpu().numpy()
