"""The two smallest eigenvalues of tridiagonal matrices against SciPy."""

import numpy as np
import pytest
import scipy.linalg as la
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.kernels import tridiagonal


def two_smallest(diagonal, offdiagonal, width):
    squares, pivots, vector = np.empty((3, diagonal.size))
    return *tridiagonal.two_smallest(diagonal, offdiagonal, width, squares, pivots, vector), vector


@settings(max_examples=100)
@given(
    order=st.integers(2, 80),
    exponent=st.integers(-8, 8),
    broken=st.booleans(),
    share=st.sampled_from([1e-15, 1e-6, 1e-2]),
    seed=st.integers(0, 2**32 - 1),
)
def test_brackets_hold_the_eigenvalues(order, exponent, broken, share, seed):
    rng = np.random.default_rng(seed)
    diagonal = 10.0**exponent * rng.standard_normal(order)
    off = 10.0**exponent * rng.random(order - 1)
    if broken:
        off[rng.integers(order - 1)] = 0.0
    radius = np.abs(diagonal).max() + 2 * off.max()
    low, high, second, vector = two_smallest(diagonal, off, share * radius)
    values, vectors = la.eigh_tridiagonal(diagonal, off)
    noise = 1e-13 * radius
    assert low - noise <= values[0] <= high + noise
    assert high - low <= share * radius + noise
    assert second <= values[1] + noise
    assert values[1] - second <= max(0.06 * (values[1] - values[0]), share * radius) + noise
    if share == 1e-15 and values[1] - values[0] > 1e-3 * radius:
        np.testing.assert_allclose(np.abs(vector), np.abs(vectors[:, 0]), atol=1e-6)


def test_equal_eigenvalues_are_both_found():
    low, high, second, _ = two_smallest(np.zeros(5), np.zeros(4), 1e-15)
    assert (low, high) == pytest.approx((0.0, 0.0))
    assert second == pytest.approx(0.0)
