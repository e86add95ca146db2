"""LowRankSolver in CVXPY: Clarabel's answers wherever the problem fits, and words wherever it does not."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vispa
from solvers import Solution, Status, round_homogeneous

cp = pytest.importorskip("cvxpy")

ROOT = Path(__file__).resolve().parents[3]
QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PRECISE = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}


def _unit(order: int = 3, **attributes: bool):
    """A variable and the equality that fixes its diagonal to one."""
    X = cp.Variable((order, order), name="X", **(attributes or {"PSD": True}))
    return X, cp.diag(X) == 1


def _cost(order: int, seed: int = 0) -> np.ndarray:
    matrix = np.random.default_rng(seed).standard_normal((order, order))
    return matrix + matrix.T


# Each form returns the PSD matrix S, an expression of the variable, and the constraints that say so.
def _declared(order, diagonal):
    X = cp.Variable((order, order), PSD=True)
    return X, [cp.diag(X) == diagonal]


def _symmetric(order, diagonal):
    X = cp.Variable((order, order), symmetric=True)
    return X, [X >> 0, cp.diag(2 * X) == 2 * diagonal]


def _one_by_one(order, diagonal):
    X = cp.Variable((order, order), symmetric=True)
    return X, [*(X[i, i] == diagonal[i] for i in range(order)), X >> 0]


def _undeclared(order, diagonal):
    X = cp.Variable((order, order))
    return (X + X.T) / 2, [cp.diag(X) == diagonal, X >> 0]


def _negative(order, diagonal):
    X = cp.Variable((order, order), NSD=True)
    return -X, [-3 * cp.diag(X) == 3 * diagonal]


def _upside_down(order, diagonal):
    X = cp.Variable((order, order), symmetric=True)
    return -X, [cp.diag(X) + diagonal == 0, X << 0]


def _affine(order, diagonal):
    X = cp.Variable((order, order), symmetric=True)
    shift = np.arange(order * order, dtype=float).reshape(order, order)
    S = 0.5 * X - (shift + shift.T) / 10
    return S, [S >> 0, cp.diag(S) == diagonal]


def _bordered(order, diagonal):
    """[[a, x^T], [x, X]]: the first diagonal entry is a constant."""
    if order == 1:
        return _declared(order, diagonal)
    x, X = cp.Variable((order - 1, 1)), cp.Variable((order - 1, order - 1), symmetric=True)
    S = cp.bmat([[np.full((1, 1), diagonal[0]), x.T], [x, X]])
    return S, [S >> 0, cp.diag(X) == diagonal[1:]]


FORMS = [_declared, _symmetric, _one_by_one, _undeclared, _negative, _upside_down, _affine, _bordered]


@st.composite
def _problems(draw):
    order = draw(st.integers(1, 5))
    entries = st.integers(-4, 4)
    upper = np.array(draw(st.lists(entries, min_size=order**2, max_size=order**2)), dtype=float)
    cost = upper.reshape(order, order) + upper.reshape(order, order).T
    fixed = st.sampled_from([0.25, 1.0, 1.0, 1.0, 3.0])
    diagonal = np.array(draw(st.lists(fixed, min_size=order, max_size=order)))
    S, constraints = draw(st.sampled_from(FORMS))(order, diagonal)
    objective = cp.sum(cp.multiply(cost, S)) + draw(st.sampled_from([0.0, 2.5, -100.0]))
    sense = draw(st.sampled_from([cp.Minimize, cp.Maximize]))
    return cp.Problem(sense(objective), constraints), S, diagonal, float(np.abs(cost).sum())


def _duals(problem):
    return [np.array(constraint.dual_value) for constraint in problem.constraints]


@QUIET
@given(_problems())
def test_values_and_duals_are_clarabels(drawn):
    problem, S, diagonal, scale = drawn
    expected = problem.solve(solver=cp.CLARABEL, **PRECISE)
    expected_duals = _duals(problem)
    value = problem.solve(solver=vispa.LowRankSolver(), tol=1e-8, rng=0)
    assert problem.status == cp.OPTIMAL
    assert value == pytest.approx(expected, abs=1e-6 * (1 + 3 * scale))
    np.testing.assert_allclose(np.diag(S.value), diagonal, rtol=1e-12)
    assert np.linalg.eigvalsh(S.value)[0] >= -1e-12 * diagonal.sum()
    # Multipliers of diag(S) are unique (Delorme and Poljak 1993), in both senses and under either sign.
    for found, wanted in zip(_duals(problem), expected_duals, strict=True):
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, atol=2e-3 * (1 + scale))


@QUIET
@given(_problems())
def test_the_cone_program_is_solved_to_the_letter(drawn):
    """Primal and dual feasible, with the certified bound as the dual objective."""
    problem, _, diagonal, scale = drawn
    solver = vispa.LowRankSolver()
    data, _, inverse = problem.get_problem_data(solver)
    before = data["A"].copy(), data["b"].copy(), data["c"].copy()
    raw = solver.solve_via_data(data, False, False, {"tol": 1e-8, "rng": 0})
    for old, new in zip(before, (data["A"], data["b"], data["c"]), strict=True):
        assert abs(old - new).max() == 0
    solution, zero = raw["solution"], data["dims"].zero
    slack = data["b"] - data["A"] @ raw["primal"]
    np.testing.assert_allclose(slack[:zero], 0, atol=1e-12)
    multipliers = np.concatenate([raw["eq_dual"], raw["ineq_dual"]])
    np.testing.assert_allclose(data["c"] + data["A"].T @ multipliers, 0, atol=1e-10 * (1 + scale))
    offset = inverse[-1]["offset"]
    rounding = 1e-10 * (1 + scale + abs(offset)) * (1 + diagonal.max())
    assert data["c"] @ raw["primal"] + offset == pytest.approx(solution.value, abs=rounding)
    assert offset - data["b"] @ multipliers == pytest.approx(solution.lower_bound, abs=rounding)
    assert 0 <= slack[zero:] @ raw["ineq_dual"] + rounding <= 1e-8 * 20 * (1 + scale) + 2 * rounding
    dual = np.zeros((diagonal.size, diagonal.size))
    dual[np.triu_indices(diagonal.size)] = raw["ineq_dual"]
    dual[np.triu_indices(diagonal.size, 1)] /= np.sqrt(2)
    assert np.linalg.eigvalsh(dual, UPLO="U")[0] >= -1e-6 * (1 + scale)


def test_a_cost_that_only_stated_symmetry_balances():
    order, C = 4, np.random.default_rng(1).standard_normal((4, 4))
    X = cp.Variable((order, order))
    problem = cp.Problem(cp.Maximize(cp.trace(C @ X)), [X >> 0, X == X.T, cp.diag(X) == 1])
    expected = problem.solve(solver=cp.CLARABEL, **PRECISE)
    psd, symmetry, unit = _duals(problem)
    assert problem.solve(solver=vispa.LowRankSolver(), tol=1e-9, rng=0) == pytest.approx(expected, rel=1e-7)
    np.testing.assert_array_equal(X.value, X.value.T)
    found = _duals(problem)
    np.testing.assert_allclose(found[0], psd, atol=1e-4)
    np.testing.assert_allclose(found[1] - found[1].T, symmetry - symmetry.T, atol=1e-4)
    np.testing.assert_allclose(found[2], unit, atol=1e-4)


def test_equations_stated_twice_share_their_multiplier():
    C = _cost(4)
    X, unit = _unit(4)
    problem = cp.Problem(cp.Minimize(cp.trace(C @ X)), [unit, 3 * X[0, 0] == 3, X[1, 1] - X[1, 1] == 0])
    expected = problem.solve(solver=vispa.LowRankSolver(), rng=0)
    first, twice, empty = _duals(problem)
    single = cp.Problem(cp.Minimize(cp.trace(C @ X)), [unit])
    assert single.solve(solver=vispa.LowRankSolver(), rng=0) == expected
    total = first + np.array([3 * float(twice), 0, 0, 0])
    np.testing.assert_allclose(total, single.constraints[0].dual_value, rtol=1e-12)
    assert empty == 0


def test_parameters_are_read_anew():
    X, unit = _unit(4)
    C = cp.Parameter((4, 4), symmetric=True)
    problem, solver = cp.Problem(cp.Minimize(cp.trace(C @ X)), [unit]), vispa.LowRankSolver()
    for seed in range(3):
        C.value = _cost(4, seed)
        value = problem.solve(solver=solver, rng=0)
        assert value == pytest.approx(problem.solve(solver=cp.CLARABEL), rel=1e-5)


def test_a_problem_starts_anew_from_its_rows_whatever_became_of_those_handed_out():
    X, unit = _unit(4)
    problem, solver = cp.Problem(cp.Minimize(cp.trace(_cost(4, 0) @ X)), [unit]), vispa.LowRankSolver()
    value = problem.solve(solver=solver, rng=0)
    for fill in (7.0, 0.0, np.nan):
        problem.solver_stats.extra_stats.factor[:] = fill
        assert problem.solve(solver=solver, rng=0) == pytest.approx(value, rel=1e-6)


def test_statistics_carry_the_solution_for_rounding():
    graph = np.roll(np.eye(5), 1, axis=1)
    graph += graph.T
    X, unit = _unit(5)
    laplacian = np.diag(graph.sum(axis=0)) - graph
    problem = cp.Problem(cp.Maximize(cp.trace(laplacian @ X) / 4), [unit])
    problem.solve(solver=vispa.LowRankSolver(), rng=0)
    statistics = problem.solver_stats
    solution = statistics.extra_stats
    assert isinstance(solution, Solution)
    assert statistics.solver_name == "VISPA_LOW_RANK"
    assert statistics.solve_time == solution.seconds > 0
    assert statistics.num_iters == solution.iterations
    assert -solution.value == pytest.approx(problem.value, rel=1e-12)
    assert float(np.sum(unit.dual_value)) == pytest.approx(-solution.lower_bound, rel=1e-12)
    assert round_homogeneous(solution, rng=0).value == pytest.approx(-4.0)


def test_options_reach_the_solver_and_are_checked_by_it():
    X, unit = _unit(12)
    problem = cp.Problem(cp.Minimize(cp.trace(_cost(12) @ X)), [unit])
    moments: list[object] = []
    options = {"rank": 7, "certificate": "rigorous", "max_seconds": 60.0, "callback": moments.append}
    problem.solve(solver=vispa.LowRankSolver(), rng=3, tol=1e-5, **options)
    solution = problem.solver_stats.extra_stats
    assert (solution.rank, solution.certificate) == (7, "rigorous")
    assert moments
    again = vispa.low_rank(solution.problem, rng=3, tol=1e-5, rank=7, certificate="rigorous")
    np.testing.assert_array_equal(again.factor, solution.factor)
    for bad, message in [
        ({"tol": -1.0}, "tol must be positive"),
        ({"rank": 13}, "rank must be at least 1 and at most 12"),
        ({"certificate": "none"}, "certificate must be one of"),
    ]:
        with pytest.raises(ValueError, match=message):
            problem.solve(solver=vispa.LowRankSolver(), **bad)
    with pytest.raises(TypeError, match="eps"):
        problem.solve(solver=vispa.LowRankSolver(), eps=1e-3)


def _stop(_):
    raise StopIteration


@pytest.mark.parametrize("limit", [{"max_iterations": 1}, {"max_seconds": 1e-9}, {"callback": _stop}])
def test_limits_return_the_best_point_with_a_valid_bound(limit):
    X, unit = _unit(60)
    problem = cp.Problem(cp.Minimize(cp.trace(_cost(60) @ X)), [unit])
    optimum = problem.solve(solver=vispa.LowRankSolver(), tol=1e-9, rng=0)
    with pytest.warns(UserWarning, match="inaccurate"):
        value = problem.solve(solver=vispa.LowRankSolver(), rng=0, tol=1e-9, rank=2, **limit)
    assert problem.status == cp.USER_LIMIT
    assert -float(np.sum(unit.dual_value)) - 1e-6 <= optimum <= value + 1e-6
    np.testing.assert_allclose(np.diag(X.value), 1, rtol=1e-14)


def test_a_tolerance_below_rounding_ends_inaccurate():
    X, unit = _unit(20)
    problem = cp.Problem(cp.Minimize(cp.trace(_cost(20) @ X)), [unit])
    with pytest.warns(UserWarning, match="inaccurate"):
        problem.solve(solver=vispa.LowRankSolver(), tol=1e-30, rng=0)
    assert problem.status == cp.OPTIMAL_INACCURATE


@pytest.mark.parametrize(
    "failure", [{"status": Status.FAILED}, {"value": np.nan}, {"status": Status.STALLED, "gap": 0.1}]
)
def test_a_failure_is_a_solver_error(monkeypatch, failure):
    from solvers.cvxpy_plugin import solver as cvxpy_solver

    def fail(*arguments, **options):
        return dataclasses.replace(vispa.low_rank(*arguments, **options), **failure)

    monkeypatch.setattr(cvxpy_solver, "low_rank", fail)
    X, unit = _unit()
    with pytest.raises(cp.error.SolverError, match="'VISPA_LOW_RANK' failed"):
        cp.Problem(cp.Minimize(cp.sum(X)), [unit]).solve(solver=vispa.LowRankSolver())


def _with(*more, objective=None):
    """A fitting problem with something more."""

    def build():
        X, unit = _unit()
        constraints = [constraint(X) for constraint in more]
        goal = cp.Minimize(cp.sum(X)) if objective is None else objective(X)
        return cp.Problem(goal, [unit, *constraints])

    return build


def _of(constraints, **attributes):
    """A problem of a variable with given attributes and constraints, cost all ones."""

    def build():
        X = cp.Variable((3, 3), name="X", **attributes)
        total = cp.real(cp.sum(X)) if X.is_complex() else cp.sum(X)
        return cp.Problem(cp.Minimize(total), constraints(X))

    return build


def _with_a_free_variable():
    X, unit = _unit()
    return cp.Problem(cp.Minimize(cp.sum(X)), [unit, X[0, 1] == cp.Variable()])


def _dual_form():
    y = cp.Variable(3)
    return cp.Problem(cp.Maximize(cp.sum(y)), [_cost(3) - cp.diag(y) >> 0])


def _congruence():
    X, T = cp.Variable((3, 3), symmetric=True), np.triu(np.ones((3, 3)))
    return cp.Problem(cp.Minimize(cp.sum(X)), [T.T @ X @ T >> 0, cp.diag(X) == 1])


def _skew_cost():
    X = cp.Variable((3, 3))
    return cp.Problem(cp.Minimize(cp.trace(np.triu(np.ones((3, 3))) @ X)), [X >> 0, cp.diag(X) == 1])


REFUSED = {
    "sum": (_with(lambda X: cp.sum(X) == 1), r"Equality constraint 2 of 2 ties several entries"),
    "trace": (_of(lambda X: [cp.trace(X) == 3], PSD=True), r"Equality constraint 1 of 1 ties several"),
    "row": (
        _with(lambda X: X[0, 0] == 1, lambda X: X[1, :] @ np.eye(3)[:, :2] == [0, 1]),
        r"Equality constraint 3 of 3 \(its row 0\) fixes the off-diagonal entry \(0, 1\)",
    ),
    "off-diagonal": (
        _with(lambda X: X[0, 2] == 0),
        r"Equality constraint 2 of 2 fixes the off-diagonal entry \(0, 2\)",
    ),
    "half an entry": (
        _of(lambda X: [X >> 0, cp.diag(X) == 1, X[2, 1] == 0]),
        r"Equality constraint 2 of 2 fixes the off-diagonal entry \(1, 2\)",
    ),
    "asymmetry": (
        _of(lambda X: [X >> 0, cp.diag(X) == 1, X[2, 1] - X[1, 2] == 1]),
        r"Equality constraint 2 of 2 fixes the off-diagonal entry \(1, 2\)",
    ),
    "nothing fixed": (
        _of(lambda X: [], PSD=True),
        r"No equality constraint fixes the diagonal entry \(0, 0\)",
    ),
    "one not fixed": (
        _of(lambda X: [X[0, 0] == 1, X[2, 2] == 1], PSD=True),
        r"No equality constraint fixes the diagonal entry \(1, 1\)",
    ),
    "negative": (
        _of(lambda X: [cp.diag(X) == [1, -2, 1]], PSD=True),
        r"diagonal entry \(1, 1\) of the PSD matrix is fixed to -2; it must be positive",
    ),
    "zero": (_of(lambda X: [cp.diag(X) == [1, 1, 0]], PSD=True), r"\(2, 2\) .* is fixed to 0; it must be"),
    "contradiction": (_with(lambda X: X[1, 1] == 2), r"Equality constraint \d of 2 .*contradicts another"),
    "0 = 1": (_with(lambda X: X[1, 1] - X[1, 1] == 1), r"Equality constraint 2 of 2 has no variable in it"),
    "inequality": (_with(lambda X: X[0, 1] >= -0.5), r"Constraint 2, '-0.5 <= X\[0, 1\]', is an inequality"),
    "nonneg": (
        _of(lambda X: [cp.diag(X) == 1, X >> 0], nonneg=True),
        r"variable X carries the inequality nonneg",
    ),
    "bounds": (
        _of(lambda X: [cp.diag(X) == 1, X >> 0], bounds=[-1, 1]),
        r"variable X carries the inequality bounds",
    ),
    "two matrices": (
        _with(lambda X: X - np.eye(3) / 2 >> 0),
        r"2 PSD matrices are required: the attribute of variable X; constraint 2, 'X",
    ),
    "batch": (
        lambda: cp.Problem(cp.Minimize(0), [cp.Variable((2, 3, 3)) >> 0]),
        r"Constraint 1, .* is about 2 PSD matrices",
    ),
    "no matrix": (_of(lambda X: [cp.diag(X) == 1], symmetric=True), r"No constraint makes a matrix PSD"),
    "free variable": (_with_a_free_variable, r"1 scalar variable\(s\) of the problem do not enter the PSD"),
    "part of a variable": (
        _of(lambda X: [X[:2, :2] >> 0, cp.diag(X) == 1], symmetric=True),
        r"3 scalar variable\(s\) of the problem do not enter the PSD matrix",
    ),
    "dual form": (_dual_form, r"The PSD constraint fixes the off-diagonal entry \(0, 1\)"),
    "congruence": (_congruence, r"The PSD constraint mixes its variables"),
    "skew cost": (
        _skew_cost,
        r"entry \(0, 1\) of the PSD matrix and its mirror image differently.*symmetric=True",
    ),
    "quadratic": (
        _with(objective=lambda X: cp.Minimize(cp.sum_squares(X))),
        r"The objective .* is not linear",
    ),
    "second order": (_with(lambda X: cp.SOC(2, X[0])), r"Constraint 2, .* is a SOC constraint"),
    "exponential": (_with(lambda X: cp.ExpCone(X[0, 0], X[0, 1], X[1, 1])), r"is a ExpCone constraint"),
    "norm": (_with(lambda X: cp.norm(X[0]) <= 2), r"Constraint 2, .* is an inequality"),
    "complex": (_of(lambda X: [cp.diag(X) == 1, X >> 0], hermitian=True), r"variable X is complex"),
    "integer": (_of(lambda X: [cp.diag(X) == 1, X >> 0], integer=True), r"mixed-integer"),
    "boolean": (_of(lambda X: [cp.diag(X) == 1, X >> 0], boolean=True), r"mixed-integer"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused_in_words(name):
    build, message = REFUSED[name]
    problem = build()
    with pytest.raises(cp.error.SolverError, match=message):
        problem.solve(solver=vispa.LowRankSolver())
    assert problem.value is None


def test_solvers_are_copied_and_pickled():
    solver = vispa.LowRankSolver()
    assert isinstance(solver, vispa.LowRankSolver)
    copies = [copy.deepcopy(solver), pickle.loads(pickle.dumps(solver))]
    X, unit = _unit()
    problem = cp.Problem(cp.Minimize(cp.sum(X)), [unit])
    values = [problem.solve(solver=one, rng=0) for one in (solver, *copies)]
    assert values[0] == values[1] == values[2]


def _python(code: str, *, path: str = "") -> str:
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {path!r}) if {path!r} else None\n{code}",
    ]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_vispa_is_imported_without_cvxpy_and_the_plugin_says_what_it_needs(tmp_path):
    ask = "import vispa\nplugin = vispa.LowRankSolver\nassert not sys.modules.get('cvxpy')\n"
    ask += "try:\n    plugin()\nexcept ImportError as error:\n    print(error)"
    blocked = _python("sys.modules['cvxpy'] = None\n" + ask)
    assert "install cvxpy 1.9 or newer" in blocked
    (tmp_path / "cvxpy.py").write_text("__version__ = '1.8.2'\n")
    assert "needs cvxpy 1.9 or newer; found 1.8.2" in _python(ask, path=str(tmp_path))
