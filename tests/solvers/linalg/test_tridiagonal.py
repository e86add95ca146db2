"""The two smallest eigenvalues of tridiagonal matrices against SciPy."""

import numpy as np
import pytest
import scipy.linalg as la
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.linalg.lanczos import _two_smallest


@settings(max_examples=100)
@given(
    order=st.integers(2, 80),
    exponent=st.integers(-8, 8),
    shift=st.sampled_from([0.0, 10.0]),
    broken=st.booleans(),
    share=st.sampled_from([1e-15, 1e-6, 1e-2]),
    seed=st.integers(0, 2**32 - 1),
)
def test_both_bounds_are_near_their_eigenvalues(order, exponent, shift, broken, share, seed):
    rng = np.random.default_rng(seed)
    diagonal = 10.0**exponent * (shift + rng.standard_normal(order))
    off = 10.0**exponent * rng.random(order - 1)
    if broken:
        off[rng.integers(order - 1)] = 0.0
    radius = np.abs(diagonal).max() + 2 * off.max()
    width = share * radius
    first, second, vector = _two_smallest(diagonal, off, width)
    values, vectors = la.eigh_tridiagonal(diagonal, off)
    noise = 1e-13 * radius
    assert -noise <= first - values[0] <= width + noise
    assert -noise <= values[1] - second <= width + noise
    if share == 1e-15 and values[1] - values[0] > 1e-3 * radius:
        np.testing.assert_allclose(np.abs(vector), np.abs(vectors[:, 0]), atol=1e-6)


def test_equal_eigenvalues_are_both_found():
    first, second, vector = _two_smallest(np.zeros(5), np.zeros(4), 1e-15)
    assert first == pytest.approx(0.0)
    assert second == pytest.approx(0.0)
    assert np.linalg.norm(vector) == pytest.approx(1.0)
