"""The two smallest eigenvalues of tridiagonal matrices, and the graph passes, against SciPy."""

import numpy as np
import pytest
import scipy.linalg as la
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from solvers.kernels.graph import absolute_row_sums, component_labels, without_diagonal
from solvers.kernels.tridiagonal import two_smallest


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


@settings(max_examples=60)
@given(order=st.integers(1, 60), edges=st.integers(0, 80), seed=st.integers(0, 2**32 - 1))
def test_components_and_diagonal_as_scipy_has_them(order, edges, seed):
    rng = np.random.default_rng(seed)
    ends = rng.integers(0, order, (2, edges))
    half = sp.coo_array((rng.standard_normal(edges), ends), shape=(order, order))
    matrix = sp.csr_array(half + half.T)
    count, labels = component_labels(matrix.indptr, matrix.indices)
    expected, names = connected_components(matrix, directed=False)
    assert count == expected
    np.testing.assert_array_equal(labels, names)

    starts, indices, values, diagonal = without_diagonal(matrix.indptr, matrix.indices, matrix.data)
    hollow = matrix.toarray() - np.diag(matrix.diagonal())
    np.testing.assert_array_equal(
        sp.csr_array((values, indices, starts), shape=matrix.shape).toarray(), hollow
    )
    np.testing.assert_array_equal(diagonal, matrix.diagonal())
    np.testing.assert_allclose(absolute_row_sums(starts, values), np.abs(hollow).sum(axis=1), rtol=1e-13)


def test_a_matrix_of_one_row_has_one_component():
    empty = sp.csr_array((1, 1))
    assert component_labels(empty.indptr, empty.indices)[0] == 1


def test_equal_eigenvalues_are_both_found():
    low, high, second, _ = two_smallest(np.zeros(5), np.zeros(4), 1e-15)
    assert (low, high) == pytest.approx((0.0, 0.0))
    assert second == pytest.approx(0.0)
