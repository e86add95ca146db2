"""Starts that are not arrays: a Gaussian posterior gives its own rows."""

import numpy as np
import pytest

import vispa
from solvers import BinaryQuadratic, Elliptope, low_rank
from solvers.testing import assert_certified


def problem(n, seed, *, linear):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((n, n))
    return BinaryQuadratic(matrix + matrix.T, 3 * rng.standard_normal(n) if linear else None)


def first_value(problem, start):
    """The objective at the start: what the history's first moment began from."""
    rows = start / np.linalg.norm(start, axis=1, keepdims=True)
    return float(np.vdot(problem.relaxation().cost @ rows, rows))


@pytest.mark.parametrize("linear", [False, True], ids=["pure", "linear"])
def test_the_posterior_of_a_solution_is_where_it_came_from(linear):
    # One that sweeps certify: where they crawl, the central path ends both runs, wherever they began.
    task = problem(80, 1, linear=linear)
    cold = low_rank(task, tol=1e-8, rng=0)
    posterior = vispa.SignGaussian.from_solution(cold)
    warm = low_rank(task, start=posterior, tol=1e-8, rng=0)
    assert_certified(warm, tol=1e-8)
    assert warm.iterations < cold.iterations
    factor = posterior.to_factor(homogenised=linear)
    assert first_value(task, factor) == pytest.approx(cold.value, rel=1e-9)


@pytest.mark.parametrize("rank", [0, 2])
def test_a_posterior_found_by_inference(rank):
    task = problem(40, 1, linear=True)
    rng = np.random.default_rng(2)
    posterior = vispa.SignGaussian(
        0.3 * rng.standard_normal(40), rng.standard_normal((40, rank)), rng.uniform(0, 1, 40)
    )
    assert_certified(low_rank(task, start=posterior, rng=0))


def test_many_residuals_share_few_columns():
    """Y is met on the diagonal and against the mean exactly, elsewhere on average."""
    rng = np.random.default_rng(3)
    posterior = vispa.SignGaussian(
        rng.standard_normal(300), rng.standard_normal((300, 2)), rng.uniform(0, 1, 300)
    )
    factor = posterior.to_factor(width=16, rng=0)
    assert factor.shape == (301, 16)
    gram, target = factor @ factor.T, posterior.elliptope()
    np.testing.assert_allclose(np.diag(gram), 1.0)
    np.testing.assert_allclose(gram[0], target[0], atol=1e-14)
    error = (gram - target)[np.triu_indices(301, 2)]
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(300)
    assert np.abs(error).max() <= 1.0


def test_wide_enough_is_exact():
    posterior = vispa.SignGaussian([0.5, -0.5, 1.0], residual=[0.75, 0.75, 0.0])
    np.testing.assert_allclose(
        posterior.to_factor(width=3) @ posterior.to_factor(width=3).T, posterior.elliptope()
    )


def test_factorised_posterior_of_a_large_problem_stays_narrow():
    posterior = vispa.SignGaussian.factorised(np.zeros(500))
    solution = low_rank(problem(500, 4, linear=False), start=posterior, max_iterations=1, rng=0)
    assert solution.rank <= 24


def test_same_seed_same_result():
    posterior = vispa.SignGaussian.factorised(np.full(60, 0.1))
    task = problem(60, 5, linear=True)
    one, two = (low_rank(task, start=posterior, rng=3) for _ in range(2))
    np.testing.assert_array_equal(one.factor, two.factor)


def test_wrong_sizes_and_widths_are_refused():
    posterior = vispa.SignGaussian.factorised([0.0, 0.5])
    with pytest.raises(ValueError, match=r"start must have shape \(3, k\) with k >= 1; found \(2, 3\)"):
        low_rank(Elliptope(np.eye(3)), start=posterior)
    with pytest.raises(ValueError, match="pass rank or start, not both"):
        low_rank(Elliptope(np.eye(2)), start=posterior, rank=2)
    with pytest.raises(ValueError, match="width must be at least 1; found 0"):
        posterior.to_factor(width=0)
