"""The Shor relaxation solved by the conic solvers of CVXPY: slow, general, the yardstick of the rest."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from solvers import checks
from solvers.exact.programs import Attempt, Budget, solve_conic
from solvers.exact.triangle_inequalities import Triangles, all_triangles, most_violated, no_triangles
from solvers.optional import require
from solvers.problems.binary_form import dense_matrix, frobenius_norm
from solvers.problems.problem import Elliptope, Problem, as_problem
from solvers.problems.solution import Solution, Status, relative_gap

MAX_SIZE = 2000
ALL_TRIANGLES_UP_TO = 40
# Handing all of them over at once is fastest up to here; beyond, rounds reach the same point sooner.
AT_ONCE_UP_TO = 20
# Added in one round, for each row of Y; a round that finds no violation above the tolerance is the last.
TRIANGLES_PER_ROW = 8
ALL_TRIANGLES_TOLERANCE = 1e-6
TRIANGLE_TOLERANCE = 1e-4
MAX_ROUNDS = 40
# Eigenvalues of Y whose sum is below this part of its trace are the solver's noise; at an optimum S V = 0, so
# that dropping them, and scaling the rows back to unit length, moves the value by second order only.
NEGLIGIBLE_TRACE = 1e-7


@dataclass(frozen=True, eq=False)
class TriangleSolution(Solution):
    r"""A Solution over the elliptope cut by triangle inequalities.

    Its `lower_bound` holds for every point that satisfies the inequalities, hence for every binary point, not
    for all of the elliptope: with multipliers :math:`t_m \ge 0` it is the bound of `dense_bound` for
    :math:`C - \sum_m t_m T_m`, less :math:`\sum_m t_m`.

    Attributes
    ----------
    triangles : Triangles
        The inequalities imposed.
    multipliers : (m,) ndarray
        Their multipliers, in units of the cost.
    """

    triangles: Triangles = field(default_factory=no_triangles)
    multipliers: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))


def exact(
    problem: Problem,
    *,
    solver: str = "clarabel",
    triangle_inequalities: bool = False,
    tol: float = 1e-6,
    max_seconds: float | None = None,
) -> Solution:
    r"""Solve the Shor relaxation with CVXPY.

    Each solver is given the form it solves faster: Clarabel the dual, max 1^T y over PSD C - Diag(y), whose
    sparsity it exploits, SCS the primal.

    Parameters
    ----------
    problem : BinaryQuadratic, MaxCut or Elliptope
        With N <= 2000.  On dense costs Clarabel's memory grows as N^4, half a gigabyte at N = 80; SCS needs
        O(N^2), and Clarabel exploits sparsity.
        A LinearOperator is formed densely.
    solver : {"clarabel", "scs"}, optional
        Interior point (accurate), or first order (light on memory).
    triangle_inequalities : bool, optional
        Impose :math:`s_{ij}Y_{ij} + s_{ik}Y_{ik} + s_{jk}Y_{jk} \ge -1`.  Up to N = 20 all are handed over,
        above that the most violated in rounds: for N <= 40 until every one holds to 1e-6, beyond until every
        one holds to 1e-4 or 40 rounds are spent.  Where the diagonal is not one they hold for Y scaled to one.
    tol : float, optional
        Relative gap at which the solution counts as certified.
    max_seconds : float, optional
        Time limit for the solver.

    Returns
    -------
    Solution
        Its factor comes from the eigenvalues of Y, its value from the factor, its bound from y by a dense
        eigenvalue (`certificate="estimate"`).  A `TriangleSolution` with ``triangle_inequalities``.

    Raises
    ------
    ValueError
        If N > 2000 or an option is out of range.

    Examples
    --------
    >>> from solvers.problems.problem import MaxCut
    >>> solution = exact(MaxCut([[0, 1, 1], [1, 0, 1], [1, 1, 0]]))
    >>> round(-solution.value, 6), solution.certified
    (2.25, True)
    """
    started = time.monotonic()
    problem = as_problem(problem)
    checks.choice("solver", solver, ("clarabel", "scs"))
    checks.boolean("triangle_inequalities", triangle_inequalities)
    tol = checks.scalar("tol", tol, positive=True)
    if max_seconds is not None:
        max_seconds = checks.scalar("max_seconds", max_seconds, positive=True)
    require("cvxpy", "exact", "the exact relaxation")
    require(solver, "exact", f"the exact relaxation by {solver}")
    elliptope = problem.relaxation()
    scaled = _scale(elliptope.unit())
    budget = Budget(started, max_seconds)
    run = _with_triangles if triangle_inequalities else _without_triangles
    attempt = run(scaled.matrix, solver, tol, budget)
    return _finish(problem, elliptope, scaled, attempt, tol, triangle_inequalities, started)


@dataclass(frozen=True, eq=False)
class _Scaled:
    """C = scale * matrix + Diag(diagonal): the solver sees a matrix of norm 1 with zero diagonal."""

    matrix: NDArray[np.float64]
    scale: float
    diagonal: NDArray[np.float64]


def _scale(elliptope: Elliptope) -> _Scaled:
    matrix = dense_matrix("cost", elliptope.cost, limit=MAX_SIZE)
    diagonal = matrix.diagonal().copy()
    np.fill_diagonal(matrix, 0.0)
    scale = frobenius_norm(matrix)
    return _Scaled(matrix / scale if scale > 0 else matrix, scale, diagonal)


def _without_triangles(matrix: NDArray[np.float64], solver: str, tol: float, budget: Budget) -> Attempt:
    return solve_conic(matrix, no_triangles(), solver, tol, budget)


def _with_triangles(matrix: NDArray[np.float64], solver: str, tol: float, budget: Budget) -> Attempt:
    order = matrix.shape[0]
    if order <= AT_ONCE_UP_TO:
        return solve_conic(matrix, all_triangles(order), solver, tol, budget)
    attempt = _without_triangles(matrix, solver, tol, budget)
    tolerance = ALL_TRIANGLES_TOLERANCE if order <= ALL_TRIANGLES_UP_TO else TRIANGLE_TOLERANCE
    for _ in range(MAX_ROUNDS):
        if attempt.gram is None or budget.spent():
            break
        new = most_violated(attempt.gram, TRIANGLES_PER_ROW * order, tolerance)
        joined = attempt.triangles.join(new)
        if joined.count == attempt.triangles.count:
            break
        following = solve_conic(matrix, joined, solver, tol, budget)
        if following.gram is None or following.dual is None:
            break
        attempt = following
    return attempt


def _finish(
    problem: Problem,
    elliptope: Elliptope,
    scaled: _Scaled,
    attempt: Attempt,
    tol: float,
    cut: bool,
    started: float,
) -> Solution:
    """Recompute everything that is reported from the factor and the dual vector."""
    order = scaled.matrix.shape[0]
    factor = np.ones((order, 1)) if attempt.gram is None else factor_of(attempt.gram)
    strengthened = scaled.matrix
    if attempt.triangles.count:
        strengthened = strengthened - attempt.triangles.combine(attempt.multipliers, order).toarray()
    dual, bound = _best_dual(strengthened, factor, attempt.dual)
    bound -= float(attempt.multipliers.sum())
    value = float(np.sum((scaled.matrix @ factor) * factor))
    trace = float(scaled.diagonal.sum())
    full_value = scaled.scale * value + trace
    gap = relative_gap(full_value, scaled.scale * bound + trace, frobenius_norm(elliptope.unit().cost))
    fixed = elliptope.diagonal
    fields: dict[str, Any] = {
        "problem": problem,
        "factor": factor * np.sqrt(fixed)[:, None],
        "value": full_value + elliptope.constant,
        "lower_bound": scaled.scale * bound + trace + elliptope.constant,
        "gap": gap,
        "dual": (scaled.scale * dual + scaled.diagonal) / fixed,
        "certificate": "estimate",
        "status": _status(attempt, gap <= tol),
        "iterations": attempt.iterations,
        "seconds": time.monotonic() - started,
    }
    if not cut:
        return Solution(**fields)
    return TriangleSolution(
        **fields, triangles=attempt.triangles, multipliers=scaled.scale * attempt.multipliers
    )


def factor_of(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return unit rows V with V V^T = Y, up to the solver's noise, from the eigenvectors of Y."""
    eigenvalues, vectors = scipy.linalg.eigh(0.5 * (gram + gram.T))
    eigenvalues = np.maximum(eigenvalues, 0.0)
    noise = int(np.searchsorted(np.cumsum(eigenvalues), NEGLIGIBLE_TRACE * eigenvalues.sum(), side="right"))
    noise = min(noise, eigenvalues.shape[0] - 1)
    # Largest first, so that the leading columns carry the most.
    factor = (vectors[:, noise:] * np.sqrt(eigenvalues[noise:]))[:, ::-1]
    norms = np.linalg.norm(factor, axis=1, keepdims=True)
    factor = np.divide(factor, norms, out=np.zeros_like(factor), where=norms > 0)
    factor[norms[:, 0] == 0, 0] = 1.0
    return np.ascontiguousarray(factor)


def _best_dual(
    matrix: NDArray[np.float64], factor: NDArray[np.float64], dual: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], float]:
    """Return the better, by its bound, of the solver's y and the y_i = <(C V)_i, v_i> that the factor implies."""
    candidates = [np.sum((matrix @ factor) * factor, axis=1)]
    if dual is not None:
        candidates.append(dual)
    bounds = [dense_bound(matrix, y) for y in candidates]
    best = int(np.argmax(bounds))
    return candidates[best], bounds[best]


def dense_bound(matrix: NDArray[np.float64], dual: NDArray[np.float64]) -> float:
    """1^T y + N lambda_min(C - Diag(y)), the eigenvalue less its rounding (claim R3 of theory_checks)."""
    slack = matrix - np.diag(dual)
    rounding = np.finfo(np.float64).eps * np.linalg.norm(slack)
    smallest = scipy.linalg.eigvalsh(slack, subset_by_index=[0, 0])[0]
    return float(dual.sum() + matrix.shape[0] * (smallest - rounding))


def _status(attempt: Attempt, within: bool) -> Status:
    if within:
        return Status.CERTIFIED
    if attempt.status == "time_limit":
        return Status.TIME_LIMIT
    return Status.FAILED if attempt.gram is None or attempt.dual is None else Status.NOT_CERTIFIED
