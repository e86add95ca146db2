"""Rounding: closed-form expectations, guarantees, local optimality, representations, seeds."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import (
    BinaryQuadratic,
    MaxCut,
    brute_force,
    exact,
    low_rank,
    one_flip,
    read_problem,
    round_fixed_mean,
    round_homogeneous,
)
from solvers.testing import degenerate_problems, in_representation

ROUNDINGS = [round_homogeneous, round_fixed_mean]
REPRESENTATIONS = ["dense", "sparse", "operator"]


def random_problem(
    n: int, seed: int = 0, linear: bool = True, representation: str = "dense"
) -> BinaryQuadratic:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    return BinaryQuadratic(
        in_representation(A + A.T, representation), rng.standard_normal(n) if linear else None, constant=2.5
    )


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_expected_value_is_met_by_samples(linear: bool, representation: str) -> None:
    solution = exact(random_problem(12, linear=linear, representation=representation))
    rounding = round_homogeneous(solution, samples=40_000, local_search=False, rng=1)
    error = rounding.values.std() / np.sqrt(rounding.values.shape[0])
    assert abs(rounding.values.mean() - rounding.expected_value) <= 5 * error


def test_expected_value_of_orthogonal_rows_is_the_trace() -> None:
    # arcsin(0) = 0: only the diagonal counts.
    from dataclasses import replace

    problem = random_problem(6, linear=False)
    solution = replace(exact(problem), factor=np.eye(6))
    rounding = round_homogeneous(solution, samples=1, rng=0)
    assert rounding.expected_value == pytest.approx(np.trace(problem.A) + 2.5, rel=1e-14)


def test_fixed_mean_has_the_mean_of_its_gaussian() -> None:
    # w_1 = sgn(mu + z g): with A = 0 the value is b w, and E[w] = 2 Phi(mu / sigma) - 1.
    from dataclasses import replace

    from scipy.stats import norm

    problem = BinaryQuadratic(np.zeros((1, 1)), [1.0])
    mean = -0.3
    rows = np.array([[0.6, 0.8], [0.6 * mean, 0.8 * mean]])
    rows[1] += np.sqrt(1 - mean**2) * np.array([-0.8, 0.6])
    solution = replace(exact(problem), factor=rows)
    values = round_fixed_mean(solution, samples=40_000, local_search=False, rng=0).values
    expected = 2 * norm.cdf(mean / np.sqrt(1 - mean**2)) - 1
    assert abs(values.mean() - expected) <= 5 / np.sqrt(40_000)


def test_fixed_mean_equals_homogeneous_without_a_linear_term() -> None:
    solution = exact(random_problem(8, linear=False))
    one, other = (rounding(solution, samples=50, rng=4) for rounding in ROUNDINGS)
    np.testing.assert_array_equal(one.values, other.values)
    assert round_fixed_mean(exact(random_problem(8)), rng=0).expected_value is None


@settings(max_examples=25)
@given(st.integers(4, 12), st.integers(0, 2**31))
def test_maxcut_guarantee(n: int, seed: int) -> None:
    weights = np.triu(np.random.default_rng(seed).random((n, n)), 1)
    solution = low_rank(MaxCut(weights + weights.T), rng=0)
    expected = -round_homogeneous(solution, samples=1, rng=0).expected_value
    assert expected >= 0.87856 * -solution.value * (1 - 1e-9)


@settings(max_examples=60)
@given(degenerate_problems(max_n=9), st.sampled_from(ROUNDINGS), st.booleans())
def test_points_are_consistent_and_bounded(problem: BinaryQuadratic, rounding, search: bool) -> None:
    solution = low_rank(problem, rng=0)
    found = rounding(solution, samples=20, local_search=search, rng=0)
    minimum = brute_force(problem).value
    scale = max(abs(minimum), float(np.abs(found.values).max()), np.finfo(float).tiny)
    assert found.signs.shape == (problem.n,)
    assert found.signs.dtype == np.int8
    assert found.value == found.values.min()
    assert found.value >= minimum - 1e-10 * scale
    assert abs(problem.evaluate(found.signs) - found.value) <= 1e-10 * scale
    assert found.gap >= -1e-9
    assert found.lower_bound == solution.lower_bound


@pytest.mark.parametrize("representation", REPRESENTATIONS)
@pytest.mark.parametrize("linear", [False, True])
def test_one_flip_reaches_a_local_minimum(representation: str, linear: bool) -> None:
    problem = random_problem(30, seed=2, linear=linear, representation=representation)
    start = np.random.default_rng(0).choice([-1, 1], (20, 30))
    untouched = start.copy()
    found = one_flip(problem, start)
    np.testing.assert_array_equal(start, untouched)
    values = problem.evaluate(found)
    assert np.all(values <= problem.evaluate(start))
    for i in range(30):
        flipped = found.copy()
        flipped[:, i] *= -1
        assert np.all(problem.evaluate(flipped) >= values - 1e-9)


def test_sparse_and_dense_searches_make_the_same_moves() -> None:
    dense, sparse = random_problem(25), random_problem(25, representation="sparse")
    start = np.random.default_rng(0).choice([-1, 1], 25)
    np.testing.assert_array_equal(one_flip(dense, start), one_flip(sparse, start))
    assert one_flip(dense, start).shape == (25,)


def test_one_flip_ends_on_ties_and_zero_matrices() -> None:
    signs = np.array([1, -1, 1, -1])
    np.testing.assert_array_equal(one_flip(BinaryQuadratic(np.zeros((4, 4))), signs), signs)
    scaled = BinaryQuadratic(1e-8 * np.ones((4, 4)))
    np.testing.assert_array_equal(one_flip(scaled, signs), signs)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_seeds_decide_and_global_state_is_untouched(rounding) -> None:
    solution = exact(random_problem(10))
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    one, other = rounding(solution, rng=7), rounding(solution, rng=np.random.default_rng(7))
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    without = rounding(solution, rng=7, local_search=False)
    assert not np.array_equal(rounding(solution, rng=8, local_search=False).values, without.values)
    assert np.all(one.values <= without.values + 1e-9)


def test_homogenised_elliptope_keeps_its_first_sign() -> None:
    relaxation = random_problem(7).relaxation()
    found = round_homogeneous(low_rank(relaxation, rng=0), rng=0)
    assert found.signs.shape == (8,)
    assert found.signs[0] == 1
    assert relaxation.evaluate(found.signs) == pytest.approx(found.value)


@pytest.mark.shared_data
def test_real_graph_reaches_within_a_percent_of_the_best_known_cut(shared_data) -> None:
    problem = read_problem(shared_data / "gset" / "G1")
    solution = low_rank(problem, rng=0)
    found = round_homogeneous(solution, samples=300, rng=0)
    assert 0.99 * 11624 <= -found.value <= 11624
    assert problem.evaluate(found.signs) == -found.value
    assert found.gap == pytest.approx((found.value - solution.lower_bound) / -found.value)
    assert sp.issparse(problem.relaxation().cost)


def test_bad_arguments_are_named() -> None:
    solution = exact(random_problem(4))
    with pytest.raises(ValueError, match="samples must be at least 1; found 0"):
        round_homogeneous(solution, samples=0)
    with pytest.raises(TypeError, match="samples must be an integer"):
        round_fixed_mean(solution, samples=2.5)
    with pytest.raises(TypeError, match="solution must be a Solution; found ndarray"):
        round_homogeneous(solution.factor)
    with pytest.raises(ValueError, match="signs must hold only"):
        one_flip(solution.problem, [0, 1, 1, 1])
