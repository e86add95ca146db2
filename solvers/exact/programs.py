"""The relaxation as a CVXPY program, in the form that each conic solver takes fastest.

Clarabel exploits the sparsity of the dual, max 1^T y over PSD C - Diag(y), by chordal decomposition; SCS needs
fewer iterations on the primal.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.exact.triangle_inequalities import Triangles, no_triangles

# What Clarabel aims at unless more is wanted, and its names for it.
CLARABEL_ACCURACY = 1e-8
CLARABEL_TOLERANCES = ("tol_gap_abs", "tol_gap_rel", "tol_feas")


@dataclass(frozen=True)
class Budget:
    """A time limit, counted from the start of the whole solve."""

    started: float
    max_seconds: float | None

    def left(self) -> float | None:
        """Seconds left, above zero; None without a limit."""
        if self.max_seconds is None:
            return None
        return max(self.max_seconds - (time.monotonic() - self.started), 1e-3)

    def spent(self) -> bool:
        """Whether the limit has passed."""
        return self.max_seconds is not None and time.monotonic() - self.started >= self.max_seconds


@dataclass(frozen=True, eq=False)
class Attempt:
    """What the conic solver left, in scaled units; `gram` and `dual` are None where it left nothing."""

    status: str
    iterations: int
    gram: NDArray[np.float64] | None
    dual: NDArray[np.float64] | None
    triangles: Triangles
    multipliers: NDArray[np.float64]


def solve_conic(
    matrix: NDArray[np.float64], triangles: Triangles, solver: str, tol: float, budget: Budget
) -> Attempt:
    """Solve for a scaled cost with zero diagonal, subject to the given triangle inequalities."""
    order = matrix.shape[0]
    if not np.any(matrix):
        return Attempt("optimal", 0, np.eye(order), np.zeros(order), no_triangles(), np.empty(0))
    program = _dual_program if solver == "clarabel" else _primal_program
    return program(matrix, triangles).solve(solver, tol, budget)


@dataclass(frozen=True, eq=False)
class _Program:
    """A CVXPY problem, and where its solution holds Y, y and the multipliers."""

    problem: Any
    triangles: Triangles
    gram: Callable[[], Any]
    dual: Callable[[], Any]
    multipliers: Callable[[], Any]

    def solve(self, solver: str, tol: float, budget: Budget) -> Attempt:
        """Run the solver and collect what it left."""
        status = _run(self.problem, solver, tol, budget)
        statistics = self.problem.solver_stats
        iterations = int(statistics.num_iters or 0) if statistics is not None else 0
        gram, dual = _finite_or_none(self.gram()), _finite_or_none(self.dual())
        multipliers = _finite_or_none(self.multipliers())
        if dual is None or multipliers is None:
            return Attempt(status, iterations, gram, None, no_triangles(), np.empty(0))
        return Attempt(status, iterations, gram, dual, self.triangles, np.maximum(multipliers, 0.0))


def _dual_program(matrix: NDArray[np.float64], triangles: Triangles) -> _Program:
    """Maximise 1^T y - 1^T t over t >= 0 and PSD C - Diag(y) - sum_m t_m T_m; Y is the cone's multiplier."""
    import cvxpy as cp

    order = matrix.shape[0]
    y = cp.Variable(order)
    slack = cp.Constant(sp.csc_array(matrix)) - cp.diag(y)
    if not triangles.count:
        psd = slack >> 0
        problem = cp.Problem(cp.Maximize(cp.sum(y)), [psd])
        return _Program(problem, triangles, lambda: psd.dual_value, lambda: y.value, lambda: np.empty(0))
    t = cp.Variable(triangles.count, nonneg=True)
    psd = slack - cp.reshape(triangles.vectorised(order) @ t, (order, order), order="C") >> 0
    problem = cp.Problem(cp.Maximize(cp.sum(y) - cp.sum(t)), [psd])
    return _Program(problem, triangles, lambda: psd.dual_value, lambda: y.value, lambda: t.value)


def _primal_program(matrix: NDArray[np.float64], triangles: Triangles) -> _Program:
    """Minimise <C, Y> over PSD Y with unit diagonal; y and t are multipliers of the constraints."""
    import cvxpy as cp

    order = matrix.shape[0]
    gram = cp.Variable((order, order), symmetric=True)
    unit = cp.diag(gram) == 1
    constraints = [unit, gram >> 0]
    if triangles.count:
        constraints.append(triangles.vectorised(order).T @ cp.vec(gram, order="C") >= -1)
    cost = cp.sum(cp.multiply(cp.Constant(sp.csc_array(matrix)), gram))
    problem = cp.Problem(cp.Minimize(cost), constraints)

    def dual() -> Any:
        # CVXPY's multiplier of diag(Y) = 1 has the opposite sign.
        return None if unit.dual_value is None else -np.asarray(unit.dual_value)

    def multipliers() -> Any:
        return constraints[2].dual_value if triangles.count else np.empty(0)

    return _Program(problem, triangles, lambda: gram.value, dual, multipliers)


def _run(program: Any, solver: str, tol: float, budget: Budget) -> str:
    """Solve; the status in CVXPY's words, "solver_error" where it raised."""
    import cvxpy as cp

    left = budget.left()
    if solver == "clarabel":
        accuracy = min(0.1 * tol, CLARABEL_ACCURACY)
        options: dict[str, Any] = {"solver": cp.CLARABEL}
        options.update(dict.fromkeys(CLARABEL_TOLERANCES, accuracy))
        options.update({} if left is None else {"time_limit": left})
    else:
        accuracy = min(0.1 * tol, 1e-7)
        options = {"solver": cp.SCS, "eps_abs": accuracy, "eps_rel": accuracy, "max_iters": 100_000}
        options.update({} if left is None else {"time_limit_secs": left})
    with warnings.catch_warnings():
        # What CVXPY warns of, the status and the recomputed bound state.
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        try:
            program.solve(**options)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            # a compiled core that panics raises what is no Exception
            if isinstance(error, Exception) and not isinstance(error, cp.error.SolverError):
                raise
            return "time_limit" if budget.spent() else "solver_error"
    if program.status == cp.OPTIMAL or not budget.spent():
        return str(program.status)
    return "time_limit"


def _finite_or_none(values: Any) -> NDArray[np.float64] | None:
    if values is None:
        return None
    array = np.asarray(values, dtype=np.float64)
    return array if np.isfinite(array).all() else None
