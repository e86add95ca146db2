"""Enumeration, against a plain loop over all points and against symmetry."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import BinaryQuadratic, Elliptope, MaxCut, brute_force
from solvers.exact.brute_force import MAX_MINIMISERS
from solvers.testing import degenerate_problems, in_representation


def all_points(n: int) -> np.ndarray:
    return np.array(list(itertools.product([1, -1], repeat=n)))


def as_set(points: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(int(s) for s in point) for point in points}


@settings(max_examples=150)
@given(degenerate_problems(max_n=9))
def test_agrees_with_a_loop_over_all_points(problem: BinaryQuadratic) -> None:
    values = problem.evaluate(all_points(problem.n))
    found = brute_force(problem)
    scale = float(np.abs(values).max())
    assert abs(found.value - values.min()) <= 1e-11 * scale
    assert abs(problem.evaluate(found.point) - found.value) <= 1e-13 * problem.n * scale
    assert found.point.dtype == np.int8
    assert found.minimisers is None


@settings(max_examples=60)
@given(st.integers(1, 9), st.integers(0, 2**31), st.booleans())
def test_all_minimisers_of_integer_problems(n: int, seed: int, linear: bool) -> None:
    rng = np.random.default_rng(seed)
    A = rng.integers(-1, 2, (n, n))
    A = A + A.T
    problem = BinaryQuadratic(A, rng.integers(-2, 3, n) if linear else None, constant=5.0)
    points = all_points(n)
    values = problem.evaluate(points)
    found = brute_force(problem, all_minimisers=True)
    assert found.complete
    assert as_set(found.minimisers) == as_set(points[values == values.min()])
    assert len(found.minimisers) == np.sum(values == values.min())
    assert found.value == values.min()


def test_ties_survive_rounding() -> None:
    # 0.1 + 0.2 != 0.3: the four minimisers differ in the last digits of a plain sum.
    A = np.zeros((3, 3))
    A[0, 1] = A[1, 0] = 0.1
    A[0, 2] = A[2, 0] = 0.2
    A[1, 2] = A[2, 1] = 0.3
    found = brute_force(BinaryQuadratic(1e-8 * A), all_minimisers=True)
    values = BinaryQuadratic(1e-8 * A).evaluate(all_points(3))
    assert len(found.minimisers) == np.sum(values <= values.min() + 1e-20)


def test_drift_stays_below_rounding_over_many_steps() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((18, 18))
    problem = BinaryQuadratic(A + A.T, rng.standard_normal(18))
    found = brute_force(problem)
    bits = (np.arange(1 << 18)[:, None] >> np.arange(18)) & 1
    assert found.value == pytest.approx(problem.evaluate(1 - 2 * bits).min(), rel=1e-14)


def test_mixed_magnitudes_are_recomputed_exactly() -> None:
    # Sums of 1e16 and 1 lose the 1; the doubled precision of the recomputation does not.
    b = np.array([1e16, 1.0, -1e16, 1.0])
    found = brute_force(BinaryQuadratic(np.zeros((4, 4)), b))
    assert found.value == -(2e16 + 2.0)


def test_zero_matrix_of_26_does_not_fill_the_memory() -> None:
    found = brute_force(BinaryQuadratic(np.zeros((26, 26))), all_minimisers=True)
    assert found.value == 0.0
    assert not found.complete
    assert found.minimisers.shape == (MAX_MINIMISERS, 26)


def test_complete_where_the_limit_is_just_reached() -> None:
    found = brute_force(BinaryQuadratic(np.zeros((10, 10))), all_minimisers=True)
    assert found.complete
    assert len(as_set(found.minimisers)) == 1024


def test_maxcut_is_minus_the_cut() -> None:
    pentagon = np.roll(np.eye(5), 1, axis=1)
    problem = MaxCut(pentagon + pentagon.T)
    found = brute_force(problem, all_minimisers=True)
    assert found.value == -4.0
    assert problem.evaluate(found.point) == 4.0
    assert len(found.minimisers) == 10


@pytest.mark.parametrize("representation", ["dense", "sparse", "operator"])
def test_homogenised_elliptope_keeps_its_first_sign(representation: str) -> None:
    rng = np.random.default_rng(3)
    A = rng.standard_normal((6, 6))
    problem = BinaryQuadratic(in_representation(A + A.T, representation), rng.standard_normal(6))
    relaxation = problem.relaxation()
    found = brute_force(relaxation, all_minimisers=True)
    assert found.point[0] == 1
    np.testing.assert_array_equal(found.point[1:], brute_force(problem).point)
    assert len(found.minimisers) == 1


@pytest.mark.parametrize("scale", [1e-300, 1e-8, 1e8, 1e290])
def test_scale_only_scales(scale: float) -> None:
    A = np.array([[1.0, 2.0, -1.0], [2.0, 0.5, 4.0], [-1.0, 4.0, 0.25]])
    reference = brute_force(BinaryQuadratic(A, [1.0, -3.0, 2.0]))
    scaled = brute_force(BinaryQuadratic(scale * A, scale * np.array([1.0, -3.0, 2.0])))
    np.testing.assert_array_equal(scaled.point, reference.point)
    assert scaled.value == pytest.approx(scale * reference.value, rel=1e-14)


def test_refusals_say_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"n <= 26; found n = 27.*low_rank"):
        brute_force(Elliptope(np.zeros((27, 27))))
    with pytest.raises(TypeError, match="problem must be"):
        brute_force(np.eye(3))
