"""The low-rank solver as a solver of CVXPY's, which is imported when the first one is made."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from solvers.cvxpy_plugin.cone_program import ConeProgram, DoesNotFit
from solvers.cvxpy_plugin.progress import shown
from solvers.cvxpy_plugin.recognise import FixedDiagonal
from solvers.cvxpy_plugin.refusals import refusal, refuse_unless_fitting
from solvers.low_rank import low_rank
from solvers.problems.solution import Solution, Status

# Beyond this relative gap a solve that ended by itself is a failure, not an inaccurate optimum.
INACCURATE = 1e-3
# CVXPY's words.
_STATUS = {
    Status.CERTIFIED: "optimal",
    Status.NOT_CERTIFIED: "optimal_inaccurate",
    Status.STALLED: "optimal_inaccurate",
    Status.ITERATION_LIMIT: "user_limit",
    Status.TIME_LIMIT: "user_limit",
    Status.INTERRUPTED: "user_limit",
    Status.FAILED: "solver_error",
}


class LowRankSolver:
    r"""Solve CVXPY problems in one PSD matrix of fixed diagonal by `low_rank`.

    Pass an instance: ``problem.solve(solver=vispa.LowRankSolver(), tol=1e-8, rng=0)``.  The options are those
    of `low_rank`.  The objective is linear; the matrix may be declared with ``PSD=True``, ``symmetric=True`` or
    neither, negated, scaled and shifted, or put together from blocks; its diagonal is fixed to positive numbers
    by equalities (or constants), each about one entry.

    Returned are the value, the variable, the duals of all constraints in CVXPY's signs, and `solver_stats`,
    whose `extra_stats` is the `Solution`, ready for rounding.  The dual objective is the
    certified bound.

    Raises
    ------
    ImportError
        If CVXPY is missing, or older than 1.9.
    cvxpy.error.SolverError
        From `solve`, for any other problem: the message says which constraint does not fit.

    Notes
    -----
    CVXPY's status is ``optimal`` where the gap is certified to be within `tol`, ``optimal_inaccurate`` where
    it could not be brought below `tol` but is below 1e-3, ``user_limit`` at a limit of time or iterations (the
    best point is returned).  With `warm_start`, CVXPY's default, a problem that is solved again by the same
    instance starts from the rows it had, unless `start` or `rank` is given; `verbose` shows what is decided.

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

    def __new__(cls: Any) -> Any:
        """An instance of this class and of CVXPY's ConicSolver."""
        return object.__new__(_with_conic_solver(cls))

    def __reduce__(self) -> Any:
        """The class with two bases is made at run time, so copies and pickles name the one that stands here."""
        return type(self).__bases__[0], ()

    def name(self) -> str:
        """Name under which CVXPY reports the solver."""
        return "VISPA_LOW_RANK"

    def import_solver(self) -> None:
        """Do nothing: what CVXPY would import here is there already."""

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
            refuse_unless_fitting(stated)
        return bool(_conic_solver().can_solve(self, problem_form))

    def apply(self, problem: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The cone program; the objective's constant goes along, so that values are complete."""
        from cvxpy import settings

        data, inverse_data = _conic_solver().apply(self, problem)
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
        """Solve the cone program; solver_opts are passed to `low_rank`, which validates them.

        With ``warm_start``, CVXPY's default, a problem that is solved again by this instance starts from the
        rows it had, unless ``start`` or ``rank`` is given; ``verbose`` shows on standard error what the
        solver decides.
        """
        try:
            form = FixedDiagonal(_cone_program(data))
        except DoesNotFit as reason:
            raise refusal(str(reason)) from None
        options = dict(solver_opts)
        before = (solver_cache or {}).get(self.name())
        fits = before is not None and before.shape[0] == form.problem.size
        if warm_start and fits and not {"start", "rank"} & options.keys():
            options["start"] = before
        with shown(verbose):
            solution = low_rank(form.problem, **options)
        if solver_cache is not None:
            # a copy, since the user has the other one, as `extra_stats.factor`
            solver_cache[self.name()] = solution.factor.copy()
        equality_dual, cone_dual = form.dual(solution)
        return {
            "solution": solution,
            "primal": form.primal(solution),
            "eq_dual": equality_dual,
            "ineq_dual": cone_dual,
        }

    def invert(self, solution: dict[str, Any], inverse_data: Any) -> Any:
        """Values, duals and statistics in CVXPY's terms."""
        from cvxpy import settings
        from cvxpy.reductions.solution import Solution as CvxpySolution
        from cvxpy.reductions.solution import failure_solution
        from cvxpy.reductions.solvers import utilities

        found: Solution = solution["solution"]
        status = _cvxpy_status(found)
        statistics = {
            settings.SOLVE_TIME: found.seconds,
            settings.NUM_ITERS: found.iterations,
            settings.EXTRA_STATS: found,
        }
        if status == "solver_error":
            return failure_solution(status, statistics)
        read = utilities.extract_dual_value
        duals = utilities.get_dual_values(solution["eq_dual"], read, inverse_data[_conic_solver().EQ_CONSTR])
        duals |= utilities.get_dual_values(
            solution["ineq_dual"], read, inverse_data[_conic_solver().NEQ_CONSTR]
        )
        primal = {inverse_data[_conic_solver().VAR_ID]: solution["primal"]}
        return CvxpySolution(status, found.value, primal, duals, statistics)


def _conic_solver() -> Any:
    from cvxpy.reductions.solvers.conic_solvers.conic_solver import ConicSolver

    return ConicSolver


@functools.cache
def _with_conic_solver(cls: type) -> type:
    """The class with ConicSolver as its second base, and the form of PSD constraints that it takes."""
    try:
        import cvxpy
    except ImportError as missing:
        raise ImportError(
            "LowRankSolver is a plug-in for CVXPY: install cvxpy 1.9 or newer, pip install 'vispa-sdp[exact]'"
        ) from missing
    try:
        from cvxpy.constraints import SvecPSD
        from cvxpy.utilities.psd_utils import TriangleKind

        base = _conic_solver()
    except ImportError as outdated:
        raise ImportError(
            f"LowRankSolver needs cvxpy 1.9 or newer; found {cvxpy.__version__}. Run pip install -U cvxpy"
        ) from outdated
    form = {
        "SUPPORTED_CONSTRAINTS": [*base.SUPPORTED_CONSTRAINTS, SvecPSD],
        "PSD_TRIANGLE_KIND": TriangleKind.LOWER,
        "PSD_SQRT2_SCALING": True,
    }
    return type(cls.__name__, (cls, base), {"__doc__": cls.__doc__, "__module__": cls.__module__, **form})


def _cvxpy_status(solution: Solution) -> str:
    status = _STATUS[solution.status]
    doubtful = status == "optimal_inaccurate" and not solution.gap <= INACCURATE
    return "solver_error" if doubtful or not np.isfinite(solution.value) else status


def _cone_program(data: dict[str, Any]) -> ConeProgram:
    from cvxpy import settings
    from cvxpy.constraints import Zero

    dimensions = data[_conic_solver().DIMS]
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
