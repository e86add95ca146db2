"""Property tests of the low-rank solver: against the exact SDP, planted optima and the scale of the cost."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import BinaryQuadratic, Elliptope, exact, low_rank
from solvers.certificates.dual_bound import dense_cost
from solvers.testing import assert_certified, degenerate_problems, planted_problems, planted_sparse

TOLERANCE = 1e-6


def scale_of(problem):
    return float(np.linalg.norm(dense_cost(problem.relaxation().cost)))


@settings(max_examples=500)
@given(problem=degenerate_problems(max_n=20), seed=st.integers(0, 2**32 - 1))
def test_agrees_with_the_exact_relaxation(problem, seed):
    """Every drawn case is certified, its bound below and its value above the exact optimum."""
    solution = low_rank(problem, rng=seed)
    assert_certified(solution, TOLERANCE)
    reference = exact(problem)
    allowed = 2 * TOLERANCE * max(abs(reference.value), scale_of(problem))
    assert solution.lower_bound <= reference.value + allowed
    assert solution.value >= reference.lower_bound - allowed
    assert abs(solution.value - reference.value) <= allowed


@settings(max_examples=150)
@given(
    problem=degenerate_problems(max_n=20, representations=("dense", "sparse"), exponents=(0,)),
    exponent=st.integers(-26, 26),
    seed=st.integers(0, 2**32 - 1),
)
def test_gap_does_not_change_with_the_scale(problem, exponent, seed):
    """Scaling by a power of two is exact, so the whole run must be the same."""
    relaxation = problem.relaxation()
    scaled = dataclasses.replace(relaxation, cost=2.0**exponent * relaxation.cost)
    first, second = low_rank(relaxation, rng=seed), low_rank(scaled, rng=seed)
    assert second.gap == pytest.approx(first.gap, rel=1e-6, abs=1e-15)
    assert second.value == pytest.approx(2.0**exponent * first.value, rel=1e-12)
    assert first.certified
    assert second.certified


@settings(max_examples=150)
@given(planted=planted_problems(max_n=40), seed=st.integers(0, 2**32 - 1))
def test_finds_small_planted_optima(planted, seed):
    solution = low_rank(planted.problem, rng=seed)
    assert solution.certified
    allowed = TOLERANCE * max(abs(planted.value), scale_of(planted.problem))
    assert abs(solution.value - planted.value) <= 1.01 * allowed
    assert solution.lower_bound <= planted.value + 1e-9 * allowed / TOLERANCE


@settings(max_examples=150)
@given(planted=planted_problems(max_n=30, exact=True), seed=st.integers(0, 2**32 - 1))
def test_a_rigorous_bound_never_exceeds_an_exactly_planted_optimum(planted, seed):
    solution = low_rank(planted.problem, certificate="rigorous", rng=seed)
    assert solution.lower_bound <= planted.value
    assert solution.gap <= 2 * TOLERANCE


@settings(max_examples=10)
@given(
    n=st.sampled_from([100, 300, 1000, 2000]),
    rank=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
    linear=st.booleans(),
    exponent=st.sampled_from([-8, 0, 8]),
)
def test_finds_large_planted_optima(n, rank, seed, linear, exponent):
    planted = planted_sparse(n, rank, rng=seed, linear=linear, scale=10.0**exponent)
    solution = low_rank(planted.problem, rng=seed)
    assert solution.certified, solution.message
    relaxation = planted.problem.relaxation()
    allowed = TOLERANCE * max(abs(planted.value), float(np.linalg.norm(relaxation.cost.data)))
    assert abs(solution.value - planted.value) <= 1.01 * allowed


@settings(max_examples=100)
@given(
    n=st.integers(2, 20),
    seed=st.integers(0, 2**32 - 1),
    spread=st.integers(1, 8),
    rank=st.integers(1, 3),
)
def test_ill_conditioned_rows_and_narrow_starts(n, seed, spread, rank):
    """Rows whose scales differ by up to 10^8, from a factor that is too narrow: escapes must still arrive."""
    generator = np.random.default_rng(seed)
    scales = 10.0 ** generator.uniform(-spread / 2, spread / 2, n)
    matrix = generator.standard_normal((n, n))
    problem = Elliptope(scales[:, None] * (matrix + matrix.T) * scales)
    assert_certified(low_rank(problem, rank=min(rank, n), rng=seed), TOLERANCE)


def test_a_sparse_problem_with_isolated_vertices():
    cost = sp.coo_array(([1.0, 1.0], ([3, 7], [7, 3])), shape=(10, 10))
    solution = low_rank(BinaryQuadratic(cost), rng=0)
    assert_certified(solution)
    assert solution.value == pytest.approx(-2.0)
