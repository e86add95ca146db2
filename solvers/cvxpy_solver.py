"""The low-rank solver as a solver of CVXPY's.  Imported on demand only: CVXPY is not needed for anything else."""

from __future__ import annotations

from typing import Any

import numpy as np

from solvers.cone_form import FixedDiagonal
from solvers.cone_program import ConeProgram, DoesNotFit
from solvers.low_rank import low_rank
from solvers.solution import Solution, Status

try:
    import cvxpy
except ImportError as missing:
    raise ImportError("LowRankSolver is a plug-in for CVXPY: install cvxpy 1.9 or newer") from missing
try:
    from cvxpy import settings
    from cvxpy.constraints import PSD, Equality, Inequality, SvecPSD, Zero
    from cvxpy.error import SolverError
    from cvxpy.reductions.solution import Solution as CvxpySolution
    from cvxpy.reductions.solution import failure_solution
    from cvxpy.reductions.solvers import utilities
    from cvxpy.reductions.solvers.conic_solvers.conic_solver import ConicSolver
    from cvxpy.utilities.psd_utils import TriangleKind
except ImportError as outdated:
    raise ImportError(
        f"LowRankSolver needs cvxpy 1.9 or newer; found {cvxpy.__version__}. Run pip install -U cvxpy"
    ) from outdated

# Beyond this relative gap a solve that ended by itself is a failure, not an inaccurate optimum.
INACCURATE = 1e-3
FITTING = (
    "LowRankSolver takes one PSD matrix variable, a linear objective, and equalities that fix its diagonal"
)

_STATUS = {
    Status.CERTIFIED: settings.OPTIMAL,
    Status.NOT_CERTIFIED: settings.OPTIMAL_INACCURATE,
    Status.STALLED: settings.OPTIMAL_INACCURATE,
    Status.ITERATION_LIMIT: settings.USER_LIMIT,
    Status.TIME_LIMIT: settings.USER_LIMIT,
    Status.INTERRUPTED: settings.USER_LIMIT,
    Status.FAILED: settings.SOLVER_ERROR,
}


class LowRankSolver(ConicSolver):
    r"""Solve CVXPY problems in one PSD matrix of fixed diagonal by `low_rank`.

    Pass an instance: ``problem.solve(solver=vispa.LowRankSolver(), tol=1e-8, rng=0)``.  The options are those
    of `low_rank`.  The objective is linear; the matrix may be declared with ``PSD=True``, ``symmetric=True`` or
    neither, negated, scaled and shifted, or put together from blocks; its diagonal is fixed to positive numbers
    by equalities (or constants), each about one entry.

    Returned are the value, the variable, the duals of all constraints in CVXPY's signs, and `solver_stats`,
    whose `extra_stats` is the `Solution` of the problem with unit diagonal, ready for rounding.  The dual
    objective is the certified bound.

    Raises
    ------
    cvxpy.error.SolverError
        From `solve`, for any other problem: the message says which constraint does not fit.

    Notes
    -----
    CVXPY's status is ``optimal`` where the gap is certified to be within `tol`, ``optimal_inaccurate`` where
    it could not be brought below `tol` but is below 1e-3, ``user_limit`` at a limit of time or iterations (the
    best point is returned).  `warm_start` and `verbose` have no effect; pass `start` and `callback`.

    Examples
    --------
    >>> import cvxpy as cp
    >>> X = cp.Variable((3, 3), PSD=True)
    >>> problem = cp.Problem(cp.Maximize(3 - cp.sum(X) / 2), [cp.diag(X) == 1])
    >>> print(f"{problem.solve(solver=LowRankSolver(), rng=0):.4f}", problem.status)
    3.0000 optimal
    >>> print(X.value.round(4))
    [[ 1.  -0.5 -0.5]
     [-0.5  1.  -0.5]
     [-0.5 -0.5  1. ]]
    """

    SUPPORTED_CONSTRAINTS = (*ConicSolver.SUPPORTED_CONSTRAINTS, SvecPSD)
    PSD_TRIANGLE_KIND = TriangleKind.LOWER
    PSD_SQRT2_SCALING = True

    def name(self) -> str:
        """Name under which CVXPY reports the solver."""
        return "VISPA_LOW_RANK"

    def import_solver(self) -> None:
        """Nothing is left to import."""

    def cite(self, data: dict[str, Any]) -> str:
        """Reference for the method, in BibTeX."""
        return (
            "@article{boumal2016nonconvex, title={The non-convex {Burer-Monteiro} approach works on smooth "
            "semidefinite programs}, author={Boumal, Nicolas and Voroninski, Vlad and Bandeira, Afonso}, "
            "journal={Advances in Neural Information Processing Systems}, volume={29}, year={2016}}"
        )

    def can_solve(self, problem_form: Any) -> bool:
        """Refuse early, in terms of the constraints as they were written."""
        stated = getattr(problem_form, "_problem", None)
        if stated is not None:
            _refuse_unless_fitting(stated)
        return bool(super().can_solve(problem_form))

    def apply(self, problem: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The cone program; the objective's constant goes along, so that values are complete."""
        data, inverse_data = super().apply(problem)
        data[settings.OFFSET] = inverse_data[settings.OFFSET]
        return data, inverse_data

    def solve_via_data(
        self,
        data: dict[str, Any],
        warm_start: bool,
        verbose: bool,
        solver_opts: dict[str, Any],
        solver_cache: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Solve the cone program; solver_opts are passed to `low_rank`, which validates them."""
        try:
            form = FixedDiagonal(_cone_program(data))
        except DoesNotFit as reason:
            raise SolverError(f"{_sentence(str(reason))}. {FITTING}.") from None
        solution = low_rank(form.problem, **solver_opts)
        equality_dual, cone_dual = form.dual(solution)
        return {
            "solution": solution,
            "primal": form.primal(solution),
            "eq_dual": equality_dual,
            "ineq_dual": cone_dual,
        }

    def invert(self, solution: dict[str, Any], inverse_data: Any) -> CvxpySolution:
        """Values, duals and statistics in CVXPY's terms."""
        found: Solution = solution["solution"]
        status = _cvxpy_status(found)
        statistics = {
            settings.SOLVE_TIME: found.seconds,
            settings.NUM_ITERS: found.iterations,
            settings.EXTRA_STATS: found,
        }
        if status == settings.SOLVER_ERROR:
            return failure_solution(status, statistics)
        read = utilities.extract_dual_value
        duals = utilities.get_dual_values(solution["eq_dual"], read, inverse_data[self.EQ_CONSTR])
        duals |= utilities.get_dual_values(solution["ineq_dual"], read, inverse_data[self.NEQ_CONSTR])
        primal = {inverse_data[self.VAR_ID]: solution["primal"]}
        return CvxpySolution(status, found.value, primal, duals, statistics)


def _cvxpy_status(solution: Solution) -> str:
    if not np.isfinite(solution.value):
        return str(settings.SOLVER_ERROR)
    status = str(_STATUS[solution.status])
    if status == settings.OPTIMAL_INACCURATE and not solution.gap <= INACCURATE:
        return str(settings.SOLVER_ERROR)
    return status


def _cone_program(data: dict[str, Any]) -> ConeProgram:
    dimensions = data[LowRankSolver.DIMS]
    others = {
        "linear inequalities": dimensions.nonneg,
        "second-order cones": len(dimensions.soc),
        "exponential cones": dimensions.exp,
        "power cones": len(dimensions.p3d) + len(dimensions.pnd),
    }
    for kind, count in others.items():
        if count:
            raise DoesNotFit(f"the problem has {kind} ({count} of them)")
    if len(dimensions.psd) != 1:
        raise DoesNotFit(f"the problem has {len(dimensions.psd)} PSD matrices")
    matrix, target, zero = data[settings.A].tocsr(), data[settings.B], dimensions.zero
    return ConeProgram(
        cost=data[settings.C],
        offset=float(data[settings.OFFSET]),
        equations=matrix[:zero],
        targets=target[:zero],
        map=matrix[zero:],
        constant=target[zero:],
        sizes=tuple(constraint.size for constraint in data[settings.PARAM_PROB].constr_map[Zero]),
    )


def _refuse_unless_fitting(problem: Any) -> None:
    """Refuse what can be seen before canonicalisation, where constraints still look as they were written."""
    if not problem.objective.expr.is_affine():
        raise _refusal(f"the objective {_text(problem.objective)} is not linear")
    blocks = []
    for variable in problem.variables():
        _refuse_attributes(variable)
        if variable.attributes["PSD"] or variable.attributes["NSD"]:
            blocks.append(f"the attribute of variable {variable.name()}")
    for number, constraint in enumerate(problem.constraints, start=1):
        label = f"constraint {number}, {_text(constraint)},"
        if isinstance(constraint, PSD):
            if constraint.num_cones() != 1:
                raise _refusal(f"{label} is about {constraint.num_cones()} PSD matrices")
            blocks.append(f"constraint {number}, {_text(constraint)}")
        elif isinstance(constraint, Inequality):
            raise _refusal(f"{label} is an inequality")
        elif not isinstance(constraint, (Equality, Zero)):
            raise _refusal(f"{label} is a {type(constraint).__name__} constraint")
        elif not all(argument.is_affine() for argument in constraint.args):
            raise _refusal(f"{label} is not linear")
    if not blocks:
        raise _refusal("no constraint makes a matrix PSD")
    if len(blocks) > 1:
        raise _refusal(f"{len(blocks)} PSD matrices are required: {'; '.join(blocks)}")


def _refuse_attributes(variable: Any) -> None:
    if variable.is_complex():
        raise _refusal(f"the variable {variable.name()} is complex")
    bounding = [name for name in ("nonneg", "nonpos", "pos", "neg", "bounds") if variable.attributes[name]]
    if bounding:
        raise _refusal(f"the variable {variable.name()} carries the inequality {bounding[0]}")


def _refusal(reason: str) -> SolverError:
    return SolverError(f"{_sentence(reason)}. {FITTING}.")


def _sentence(reason: str) -> str:
    return reason[:1].upper() + reason[1:]


def _text(stated: Any, longest: int = 80) -> str:
    text = " ".join(str(stated).split())
    return f"'{text}'" if len(text) <= longest else f"'{text[:longest]}...'"
