"""An independent judge of solutions: everything recomputed densely, nothing taken from the solver's word."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers import checks
from solvers.exact.shor import TriangleSolution
from solvers.problems.binary_form import dense_matrix
from solvers.problems.solution import Solution

MAX_SIZE = 3000
# Disagreement with the recomputation that counts as rounding, relative to max(|value|, |C|_F).
ROUNDING = 1e-9
# A triangle inequality may be violated by this much: conic solvers stop at about 1e-8, rounds at 1e-6.
TRIANGLE_VIOLATION = 1e-4


def assert_certified(solution: Solution, tol: float = 1e-6) -> None:
    r"""Fail unless a solution is feasible, certified, and worth its certificate.

    Recomputes from scratch, densely: the lengths of the rows, the value of the factor, the bound from the dual
    vector with a dense eigenvalue (claim R3 of theory_checks, summed over connected components), and the gap
    between the last two.

    Parameters
    ----------
    solution : Solution
    tol : float, optional
        Largest relative gap allowed, (value - bound) / max(\|value\|, \|C\|_F) without the constant.

    Raises
    ------
    AssertionError
        Naming everything that is wrong.
    TypeError, ValueError
        If an argument is not of its kind, or N > 3000.

    Notes
    -----
    O(N^3) time, O(N^2) memory.

    Examples
    --------
    >>> from solvers.exact.shor import exact
    >>> from solvers.problems.problem import Elliptope
    >>> assert_certified(exact(Elliptope([[0.0, 1.0], [1.0, 0.0]])))
    """
    if not isinstance(solution, Solution):
        raise TypeError(f"solution must be a Solution; found {type(solution).__name__}")
    tol = checks.scalar("tol", tol, positive=True)
    complaints = _shape_complaints(solution)
    if not complaints:
        complaints = _complaints(solution, _recompute(solution), tol)
    if complaints:
        raise AssertionError("the solution is not certified:\n" + "\n".join(f"  - {c}" for c in complaints))


@dataclass(frozen=True)
class _Recomputed:
    """Value and bound without the constant, and the scale they are compared on."""

    value: float
    bound: float
    scale: float


def _recompute(solution: Solution) -> _Recomputed:
    elliptope = solution.problem.relaxation()
    root = np.sqrt(elliptope.diagonal)
    cost = dense_matrix("cost", elliptope.cost, limit=MAX_SIZE) * np.multiply.outer(root, root)
    largest = float(np.abs(cost).max())
    unit = cost / largest if largest > 0 else cost
    factor = solution.factor / root[:, None]
    value = float(np.sum((unit @ factor) * factor))
    bound = _bound(cost, elliptope.diagonal * solution.dual, solution)
    frobenius = largest * float(np.linalg.norm(unit))
    return _Recomputed(largest * value, bound, max(abs(largest * value), frobenius))


def _bound(cost: NDArray[np.float64], dual: NDArray[np.float64], solution: Solution) -> float:
    """Bound from the dual vector, component by component, on the cost with its triangle inequalities."""
    slack = cost - np.diag(dual)
    total = math.fsum(dual)
    if isinstance(solution, TriangleSolution) and solution.triangles.count:
        slack -= solution.triangles.combine(solution.multipliers, cost.shape[0]).toarray()
        total -= math.fsum(solution.multipliers)
    count, component = sp.csgraph.connected_components(sp.csr_array(slack != 0), directed=False)
    for which in range(count):
        members = np.flatnonzero(component == which)
        block = slack[np.ix_(members, members)]
        total += members.shape[0] * float(scipy.linalg.eigvalsh(block, subset_by_index=[0, 0])[0])
    return total


def _shape_complaints(solution: Solution) -> list[str]:
    """What makes a recomputation impossible."""
    order = solution.problem.relaxation().size
    factor, dual = np.asarray(solution.factor), np.asarray(solution.dual)
    if factor.ndim != 2 or factor.shape[0] != order or factor.shape[1] < 1:
        return [f"factor must have shape ({order}, k); found {factor.shape}"]
    if dual.shape != (order,):
        return [f"dual must have shape ({order},); found {dual.shape}"]
    if not (np.isfinite(factor).all() and np.isfinite(dual).all()):
        return ["factor and dual must be finite"]
    return []


def _complaints(solution: Solution, true: _Recomputed, tol: float) -> list[str]:
    constant = solution.problem.relaxation().constant
    # Adding a large constant costs digits of what it is added to.
    rounding = ROUNDING * true.scale + 4 * np.finfo(np.float64).eps * abs(constant)
    root = np.sqrt(solution.problem.relaxation().diagonal)
    worst_row = float(np.abs(np.linalg.norm(solution.factor, axis=1) / root - 1.0).max())
    gap = (true.value - true.bound) / true.scale if true.scale > 0 else 0.0
    reported = (solution.value - solution.lower_bound) / true.scale if true.scale > 0 else 0.0
    # Bound, value and gap as reported, each against what it should be.
    findings = [
        (
            worst_row > ROUNDING,
            f"rows of the factor have norms off by up to {worst_row:.3g}",
        ),
        (
            not abs(solution.value - constant - true.value) <= rounding,
            f"value {solution.value!r} is not the factor's, {true.value + constant!r}",
        ),
        (
            not solution.lower_bound - constant <= true.bound + 0.01 * tol * true.scale + rounding,
            f"lower_bound {solution.lower_bound!r} exceeds what the dual proves, {true.bound + constant!r}",
        ),
        (
            not solution.lower_bound <= solution.value + tol * true.scale + rounding,
            f"lower_bound {solution.lower_bound!r} lies above value {solution.value!r}",
        ),
        (gap > tol * 1.001 + ROUNDING, f"the recomputed relative gap {gap:.3g} exceeds {tol:.3g}"),
        (
            not abs(solution.gap - reported) <= ROUNDING + rounding / (true.scale or 1.0),
            f"gap {solution.gap!r} is not that of value and bound, {reported!r}",
        ),
        (not solution.certified, f"status is {solution.status.name}: {solution.message}"),
        (solution.certificate == "none", "certificate is 'none'"),
    ]
    return [text for wrong, text in findings if wrong] + _triangle_complaints(solution)


def _triangle_complaints(solution: Solution) -> list[str]:
    if not isinstance(solution, TriangleSolution) or not solution.triangles.count:
        return []
    complaints = []
    if solution.multipliers.min() < 0:
        complaints.append(f"a multiplier is negative: {solution.multipliers.min():.3g}")
    scale = np.sqrt(solution.problem.relaxation().diagonal)
    unit_gram = solution.gram() / np.multiply.outer(scale, scale)
    violation = -1.0 - float(solution.triangles.values(unit_gram).min())
    if violation > TRIANGLE_VIOLATION:
        complaints.append(f"a triangle inequality is violated by {violation:.3g}")
    return complaints
