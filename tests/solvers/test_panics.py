"""A solver's compiled core may raise what is no Exception: one problem's outcome, never the end of all of them."""

import numpy as np
import pytest

import solvers.many
from solvers import BinaryQuadratic, Status, exact, low_rank, solve_many
from solvers.problems.solution import Status as Reason


class Panic(BaseException):
    """What pyo3 raises where Rust panics."""


def glass(n, seed):
    matrix = np.random.default_rng(seed).standard_normal((n, n))
    return BinaryQuadratic(matrix + matrix.T)


def test_a_panic_of_the_conic_solver_is_a_failed_solve(monkeypatch):
    cp = pytest.importorskip("cvxpy")

    def panics(*_, **__):
        raise Panic("index out of bounds")

    monkeypatch.setattr(cp.Problem, "solve", panics)
    solution = exact(glass(5, 0))
    assert solution.status is Status.FAILED
    assert solution.lower_bound <= solution.value


@pytest.mark.parametrize("stops", [KeyboardInterrupt, SystemExit])
def test_who_asks_to_stop_is_heard(stops, monkeypatch):
    cp = pytest.importorskip("cvxpy")

    def ends(*_, **__):
        raise stops

    monkeypatch.setattr(cp.Problem, "solve", ends)
    with pytest.raises(stops):
        exact(glass(5, 0))


def test_a_panic_stands_in_the_place_of_its_problem(monkeypatch):
    problems = [glass(6, seed) for seed in range(3)]

    def panics(problem, **options):
        if problem is problems[1]:
            raise Panic("index out of bounds")
        return low_rank(problem, **options)

    monkeypatch.setattr(solvers.many, "low_rank", panics)
    outcomes = solve_many(problems, rng=0)
    assert [outcome.solution is not None for outcome in outcomes] == [True, False, True]
    assert isinstance(outcomes[1].error, Panic)


def test_sys_exit_ends_the_whole(monkeypatch):
    def ends(*_, **__):
        raise SystemExit(3)

    monkeypatch.setattr(solvers.many, "low_rank", ends)
    with pytest.raises(SystemExit):
        solve_many([glass(4, 0)])


@pytest.mark.parametrize("tol", [1e-9, 1e-10])
def test_clarabel_is_told_the_tolerance(tol):
    pytest.importorskip("cvxpy")
    gaps = [exact(glass(12, seed), tol=tol).gap for seed in range(6)]
    assert max(gaps) <= tol


def test_no_status_advises_what_exact_does_not_have():
    for status in (Reason.NOT_CERTIFIED, Reason.TIME_LIMIT, Reason.FAILED):
        assert "max_iterations" not in status.message
