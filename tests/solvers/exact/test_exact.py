"""The exact relaxation: closed forms, planted optima, enumeration, both conic solvers, honest statuses."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from instances import random_graph

from solvers import BinaryQuadratic, Elliptope, MaxCut, Status, brute_force, exact, low_rank, read_problem
from solvers.exact.shor import TriangleSolution
from solvers.exact.triangle_inequalities import all_triangles, most_violated
from solvers.testing import (
    Planted,
    assert_certified,
    degenerate_problems,
    in_representation,
    planted_problems,
)

SOLVERS = ["clarabel", "scs"]


def cycle(n: int) -> np.ndarray:
    ring = np.roll(np.eye(n), 1, axis=1)
    return ring + ring.T


def random_problem(n: int, seed: int = 0, scale: float = 1.0) -> BinaryQuadratic:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    return BinaryQuadratic(scale * (A + A.T), scale * rng.standard_normal(n))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("n", [5, 7])
def test_odd_cycles_have_a_closed_form(n: int, solver: str) -> None:
    solution = exact(MaxCut(cycle(n)), solver=solver)
    assert -solution.value == pytest.approx(n * (1 + np.cos(np.pi / n)) / 2, rel=1e-7)
    assert solver == "scs" or solution.rank == 2
    assert_certified(solution)


@settings(max_examples=60)
@given(degenerate_problems(max_n=10))
def test_every_degenerate_problem_is_certified_below_its_minimum(problem: BinaryQuadratic) -> None:
    solution = exact(problem)
    assert_certified(solution)
    minimum = brute_force(problem).value
    scale = max(abs(minimum), abs(solution.value))
    assert solution.lower_bound <= minimum + 1e-9 * scale


@settings(max_examples=25)
@given(degenerate_problems(max_n=8))
def test_scs_certifies_too(problem: BinaryQuadratic) -> None:
    assert_certified(exact(problem, solver="scs"))


@settings(max_examples=40)
@given(planted_problems())
def test_planted_optima_are_found(planted: Planted) -> None:
    solution = exact(planted.problem)
    assert_certified(solution)
    scale = max(abs(planted.value), float(np.linalg.norm(planted.dual)))
    assert abs(solution.value - planted.value) <= 1e-6 * scale


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_scales_agree_to_seven_digits(scale: float, solver: str) -> None:
    reference = exact(random_problem(15), solver="clarabel")
    scaled = exact(random_problem(15, scale=scale), solver=solver)
    assert scaled.value == pytest.approx(scale * reference.value, rel=1e-7)
    assert scaled.gap <= 1e-6
    assert_certified(scaled)


@pytest.mark.parametrize("representation", ["sparse", "operator"])
def test_representations_agree(representation: str) -> None:
    problem = random_problem(12)
    other = BinaryQuadratic(in_representation(problem.A, representation), problem.b)
    assert exact(other).value == pytest.approx(exact(problem).value, rel=1e-12)


def test_constant_is_added_to_value_and_bound_only() -> None:
    plain = exact(Elliptope(cycle(5)))
    moved = exact(Elliptope(cycle(5), constant=100.0))
    assert moved.value == pytest.approx(plain.value + 100.0)
    assert moved.lower_bound == pytest.approx(plain.lower_bound + 100.0)
    assert moved.gap == pytest.approx(plain.gap, abs=1e-12)


def test_single_and_diagonal_problems_need_no_solver() -> None:
    solution = exact(BinaryQuadratic(np.diag([1.0, -2.0, 4.0])))
    assert solution.value == solution.lower_bound == 3.0
    assert exact(BinaryQuadratic([[3.0]])).value == 3.0


@pytest.mark.parametrize("solver", SOLVERS)
def test_triangle_inequalities_close_the_gap_of_the_pentagon(solver: str) -> None:
    solution = exact(MaxCut(cycle(5)), solver=solver, triangle_inequalities=True)
    assert isinstance(solution, TriangleSolution)
    assert -solution.value == pytest.approx(4.0, abs=1e-5)
    assert -solution.lower_bound == pytest.approx(4.0, abs=1e-5)
    assert_certified(solution)


@pytest.mark.parametrize(("n", "threshold", "worst"), [(12, 40, 1e-5), (24, 40, 1e-5), (24, 20, 2e-4)])
def test_triangle_inequalities_hold_and_tighten(
    n: int, threshold: int, worst: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 12: all at once; 24: in rounds until all hold; the last: as for large N, to the coarser tolerance.
    monkeypatch.setattr(sys.modules["solvers.exact.shor"], "ALL_TRIANGLES_UP_TO", threshold)
    problem = MaxCut(random_graph(n, 0.4 * n, seed=n))
    plain, cut = exact(problem), exact(problem, triangle_inequalities=True)
    assert_certified(cut)
    assert all_triangles(n).values(cut.gram()).min() >= -1.0 - worst
    assert cut.lower_bound > plain.lower_bound + 1e-3
    assert cut.lower_bound <= brute_force(problem).value + 1e-6


def test_most_violated_agrees_with_the_full_list() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((9, 2))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gram = rows @ rows.T
    everything = all_triangles(9).values(gram)
    found = most_violated(gram, 7, 1e-9)
    np.testing.assert_allclose(np.sort(found.values(gram)), np.sort(everything)[:7], atol=1e-14)
    assert most_violated(np.eye(9), 7, 1e-9).count == 0


def test_triangle_matrices_are_nonnegative_shifts_on_the_cube() -> None:
    triangles = all_triangles(5)
    for signs in np.random.default_rng(1).choice([-1.0, 1.0], (20, 5)):
        gram = np.outer(signs, signs)
        assert triangles.values(gram).min() >= -1.0
        np.testing.assert_allclose(triangles.vectorised(5).T @ gram.ravel(), triangles.values(gram))


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_time_limit_is_reported_with_a_valid_bound(solver: str) -> None:
    problem = random_problem(40)
    solution = exact(problem, solver=solver, max_seconds=1e-3)
    assert solution.status is Status.TIME_LIMIT
    assert not solution.certified
    assert solution.lower_bound <= exact(problem).value
    np.testing.assert_allclose(np.linalg.norm(solution.factor, axis=1), 1.0, atol=1e-12)


def test_a_solver_failure_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    import cvxpy

    def fail(*_arguments: object, **_options: object) -> None:
        raise cvxpy.error.SolverError("no")

    monkeypatch.setattr(cvxpy.Problem, "solve", fail)
    problem = random_problem(6)
    solution = exact(problem)
    assert solution.status is Status.FAILED
    assert solution.lower_bound <= brute_force(problem).value <= solution.value + 1e3


def test_an_unreachable_tolerance_is_not_called_certified() -> None:
    solution = exact(random_problem(20), tol=1e-15)
    assert solution.status is Status.NOT_CERTIFIED
    assert 0 <= solution.gap < 1e-6


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["mcp100", "mcp124-1", "mcp250-1"])
def test_clarabel_and_the_low_rank_solver_agree_on_real_files(shared_data, name: str) -> None:
    problem = read_problem(shared_data / "sdplib" / f"{name}.dat-s")
    optimum = json.loads((shared_data / "optima.json").read_text())[name]["value"]
    solution = exact(problem)
    assert_certified(solution)
    assert solution.report()["value"] == pytest.approx(optimum, rel=1e-6)
    assert low_rank(problem, rng=0).value == pytest.approx(solution.value, rel=1e-6)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="solver must be one of 'clarabel', 'scs'; found 'mosek'"):
        exact(Elliptope(np.eye(2)), solver="mosek")
    with pytest.raises(ValueError, match="max_seconds must be positive"):
        exact(Elliptope(np.eye(2)), max_seconds=0)
    with pytest.raises(ValueError, match="tol must be finite"):
        exact(Elliptope(np.eye(2)), tol=float("nan"))
    with pytest.raises(TypeError, match="problem must be"):
        exact(np.eye(2))
