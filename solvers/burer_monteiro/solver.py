"""One problem on its way: presolved, a solver for each of its components, and put together again."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from solvers.burer_monteiro.component_solver import ComponentSolver
from solvers.burer_monteiro.finish import Found
from solvers.burer_monteiro.monitor import Monitor
from solvers.burer_monteiro.presolve import Presolve
from solvers.interrupts import HeldInterrupts
from solvers.problems.problem import Elliptope
from solvers.problems.solution import Iteration, Status
from solvers.stop import Limits, Stop

# Passes over all components: the scale of the gap is known only at the end of the first.
MAX_PASSES = 3


def solve(
    relaxation: Elliptope,
    factor: NDArray[np.float64],
    generator: np.random.Generator,
    *,
    interrupts: HeldInterrupts,
    limits: Limits[Iteration],
    from_random_start: bool,
    workers: int,
    central_path: bool,
) -> Found:
    """What the low-rank method finds, from unit rows ``factor`` (N, k), down to the relative gap of the limits.

    The other arguments are those of `solvers.low_rank`; a limit, or an interrupt, which waits until there is
    something to return, is the reason of what it returns.
    """
    presolve = Presolve(relaxation.unit().cost)
    component_solver = partial(
        ComponentSolver, from_random_start=from_random_start, workers=workers, central_path=central_path
    )
    solvers = [
        component_solver(component.cost, factor[component.rows], generator)
        for component in presolve.components
    ]
    monitor = Monitor(
        solvers,
        shift=presolve.fixed_value,
        constant=relaxation.constant,
        exponent=presolve.exponent,
        frobenius=presolve.frobenius,
        limits=limits,
    )
    reason = Status.STALLED
    try:
        with interrupts.released():
            _solve_components(solvers, monitor, limits.tol)
    except (Stop, KeyboardInterrupt) as stop:
        for solver in solvers:
            solver.finalise_bound()
        reason = stop.status if isinstance(stop, Stop) else Status.INTERRUPTED
    whole, dual = _assembled(presolve, solvers, factor)
    return Found(
        factor=whole,
        dual=dual,
        value=monitor.value,
        bound=monitor.bound,
        frobenius=presolve.frobenius,
        exponent=presolve.exponent,
        reason=reason,
        iterations=monitor.iterations,
        seconds=monitor.seconds,
        history=tuple(monitor.history),
    )


def _solve_components(solvers: list[ComponentSolver], monitor: Monitor, target: float) -> None:
    """Solve each to its share of the gap; one that stopped too soon, by a scale that has grown smaller, goes on."""
    order = sum(solver.order for solver in solvers)
    for _ in range(MAX_PASSES):
        for solver in solvers:
            solver.solve(monitor, target * solver.order / order)
        if monitor.gap <= target:
            return


def _assembled(
    presolve: Presolve, solvers: list[ComponentSolver], start: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and multipliers of the whole problem in its order; escapes may have widened some components."""
    rows, width = start.shape
    factor = np.zeros((rows, max([width] + [solver.rank for solver in solvers])))
    factor[:, :width] = start
    dual = np.zeros(rows)
    for component, solver in zip(presolve.components, solvers, strict=True):
        factor[component.rows] = 0.0
        factor[component.rows, : solver.rank] = solver.point
        dual[component.rows] = solver.feasible_dual
    presolve.complete(factor, dual)
    return factor, dual
