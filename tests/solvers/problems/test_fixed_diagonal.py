"""Elliptopes whose diagonal is fixed to other numbers than one."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import aslinearoperator

from solvers import Elliptope, Status, brute_force, exact, low_rank, one_flip, round_homogeneous, tabu_search
from solvers.certificates.dual_bound import dense_cost, dual_bound
from solvers.certificates.rigorous import rigorous_bound
from solvers.testing import assert_certified
from solvers.testing.planted import planted_dyadic

FORMS = {"dense": np.array, "sparse": sp.csr_array, "operator": aslinearoperator}


def gaussian(n, seed):
    matrix = np.random.default_rng(seed).standard_normal((n, n))
    return matrix + matrix.T


def squares(n, seed):
    """Positive numbers over four orders of magnitude."""
    return 10.0 ** np.random.default_rng(seed).uniform(-2, 2, n)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [1, 5, 40, 230])
def test_low_rank_is_feasible_and_certified(n, form):
    a = squares(n, n)
    problem = Elliptope(FORMS[form](gaussian(n, n)), constant=3.0, diagonal=a)
    solution = low_rank(problem, rng=0)
    assert np.allclose(np.diag(solution.gram()), a, rtol=1e-12)
    assert_certified(solution)
    value = np.sum(gaussian(n, n) * solution.gram()) + 3.0
    assert solution.value == pytest.approx(value, rel=1e-9)


def test_agrees_with_the_conic_solver():
    problem = Elliptope(gaussian(12, 1), diagonal=squares(12, 2))
    conic = exact(problem, tol=1e-7)
    assert_certified(conic)
    assert low_rank(problem, tol=1e-8, rng=0).value == pytest.approx(conic.value, rel=1e-6)
    assert np.allclose(np.diag(conic.gram()), problem.diagonal)


def test_is_the_scaled_problem():
    """<C, D Y D> over unit Y is <D C D, Y>, and the dual vector divides by the diagonal."""
    cost, root = gaussian(30, 3), 2.0 ** np.arange(-15, 15) ** 1.0
    fixed = low_rank(Elliptope(cost, diagonal=root**2), rng=0)
    unit = low_rank(Elliptope(cost * np.outer(root, root)), rng=0)
    assert fixed.value == unit.value
    assert fixed.gap == unit.gap
    np.testing.assert_array_equal(fixed.factor, unit.factor * root[:, None])
    np.testing.assert_array_equal(fixed.dual, unit.dual / root**2)


def test_the_bound_holds_for_any_dual_vector():
    rng = np.random.default_rng(0)
    cost, a = gaussian(15, 4), squares(15, 5)
    optimum = low_rank(Elliptope(cost, diagonal=a), tol=1e-9, rng=0)
    for size in (0.0, 1e-6, 1e-2, 1.0):
        dual = optimum.dual + size * rng.standard_normal(15) / a
        estimate = dual_bound(cost, dual, diagonal=a).bound
        assert estimate <= optimum.value + 1e-12 * abs(optimum.value)
        assert rigorous_bound(cost, dual, diagonal=a) <= optimum.value
        assert rigorous_bound(cost, dual, diagonal=a) == pytest.approx(estimate, rel=1e-9, abs=1e-9)


@settings(max_examples=60)
@given(st.integers(4, 12), st.integers(0, 2**32 - 1), st.integers(-40, 40), st.booleans())
def test_a_rigorous_bound_never_passes_an_exact_optimum(n, seed, exponent, sparse):
    """D^-1/2 C D^-1/2 with C planted exactly and a = 4^k: the optimum stays exactly what was planted."""
    planted = planted_dyadic(n, rng=seed)
    k = np.random.default_rng(seed).integers(-20, 20, n)
    cost = np.ldexp(dense_cost(planted.problem.A), exponent - np.add.outer(k, k))
    a, dual = np.ldexp(1.0, 2 * k), np.ldexp(planted.dual, exponent - 2 * k)
    bound = rigorous_bound(sp.csr_array(cost) if sparse else cost, dual, diagonal=a)
    optimum = Fraction(planted.value) * Fraction(2) ** exponent
    assert Fraction(bound) <= optimum
    assert float(optimum - Fraction(bound)) <= 1e-9 * 2.0**exponent * np.linalg.norm(
        dense_cost(planted.problem.A)
    )


@pytest.mark.parametrize("seed", range(3))
def test_rigorous_and_certified(seed):
    a = np.random.default_rng(seed).uniform(0.1, 30.0, 60)
    solution = low_rank(Elliptope(gaussian(60, seed), diagonal=a), certificate="rigorous", rng=0)
    assert solution.status is Status.CERTIFIED
    assert_certified(solution)
    # the stored bound follows from the stored dual by exact arithmetic on a shift of the same size
    assert solution.lower_bound <= dual_bound(gaussian(60, seed), solution.dual, diagonal=a).bound


def test_extreme_diagonals():
    a = np.array([1e-200, 1.0, 1e200, 3.0])
    cost = gaussian(4, 7) / np.outer(np.sqrt(a), np.sqrt(a))
    for certificate in ("estimate", "rigorous"):
        assert low_rank(Elliptope(cost, diagonal=a), certificate=certificate, rng=0).certified


def test_binary_points_are_signs_times_roots():
    problem = Elliptope(gaussian(8, 6), diagonal=squares(8, 6))
    best = brute_force(problem)
    solution = low_rank(problem, rng=0)
    root = np.sqrt(problem.diagonal)
    point = root * best.point
    assert best.value == pytest.approx(point @ gaussian(8, 6) @ point)
    assert float(problem.evaluate(best.point)) == pytest.approx(best.value)
    rounded = round_homogeneous(solution, rng=0)
    assert rounded.value == pytest.approx(best.value)
    found = tabu_search(problem, np.ones(8), max_iterations=1000, solution=solution, rng=0)
    assert found.value == pytest.approx(best.value)
    assert found.gap == pytest.approx(rounded.gap)
    assert float(problem.evaluate(one_flip(problem, np.ones(8)))) >= best.value - 1e-9
    assert solution.lower_bound <= best.value


def test_expected_value_of_rounding_is_that_of_unit_rows():
    a = squares(20, 8)
    solution = low_rank(Elliptope(gaussian(20, 8), diagonal=a), rng=0)
    drawn = round_homogeneous(solution, samples=20_000, local_search=False, rng=1)
    error = drawn.values.std() / np.sqrt(drawn.values.size)
    assert abs(drawn.values.mean() - drawn.expected_value) <= 4 * error


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"diagonal": [1.0, 0.0]}, ValueError, "diagonal must be positive; found 0.0 at index 1"),
        ({"diagonal": [-2.0, 1.0]}, ValueError, "diagonal must be positive; found -2.0 at index 0"),
        ({"diagonal": [1.0]}, ValueError, "diagonal must have length 2; found 1"),
        ({"diagonal": [1.0, float("nan")]}, ValueError, "diagonal must be finite"),
        ({"diagonal": "ab"}, TypeError, "diagonal must hold real numbers"),
        ({"diagonal": [2.0, 1.0], "homogenised": True}, ValueError, "diagonal must be 1 at index 0"),
        ({"homogenised": "a"}, TypeError, "homogenised must be True or False; found 'a'"),
        ({"maximised": 1}, TypeError, "maximised must be True or False; found 1"),
    ],
)
def test_refused_in_words(arguments, error, words):
    with pytest.raises(error, match=words):
        Elliptope([[0.0, 1.0], [1.0, 0.0]], **arguments)


def test_a_scaled_cost_beyond_the_range_is_refused():
    with pytest.raises(ValueError, match="scaled to unit diagonal"):
        low_rank(Elliptope([[0.0, 1e300], [1e300, 0.0]], diagonal=[1e200, 1e200]))


def test_the_caller_keeps_the_diagonal():
    a = np.array([4.0, 1.0])
    problem = Elliptope(np.eye(2), diagonal=a)
    problem.diagonal[:] = 9.0
    np.testing.assert_array_equal(a, [4.0, 1.0])
