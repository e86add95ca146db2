"""{0, 1} problems, as w = 2 x - 1: equal to x^T Q x at every point of the cube."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from solvers import BinaryQuadratic, brute_force


def cube(n):
    return ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(float)


@given(st.integers(1, 8), st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([1e-6, 1.0, 1e6]))
def test_values_are_those_of_the_file(n, seed, sparse, scale):
    rng = np.random.default_rng(seed)
    Q = np.rint(10 * rng.standard_normal((n, n))) * scale
    offset = float(rng.standard_normal()) * scale
    problem = BinaryQuadratic.from_qubo(sp.csr_array(Q) if sparse else Q, offset=offset)
    points = cube(n)
    values = np.einsum("mi,ij,mj->m", points, Q, points) + offset
    np.testing.assert_allclose(problem.evaluate(2 * points - 1), values, rtol=1e-12, atol=1e-10 * scale)
    assert brute_force(problem).value == pytest.approx(values.min(), rel=1e-12, abs=1e-10 * scale)
    assert sp.issparse(problem.A) == sparse


def test_one_triangle_means_both():
    upper = np.array([[1.0, 4.0], [0.0, -3.0]])
    points = 2 * cube(2) - 1
    full = BinaryQuadratic.from_qubo((upper + upper.T) / 2)
    np.testing.assert_array_equal(BinaryQuadratic.from_qubo(upper).evaluate(points), full.evaluate(points))


@pytest.mark.parametrize("Q", [np.ones((2, 3)), [[np.nan]], np.empty((0, 0))])
def test_bad_matrices_are_refused(Q):
    with pytest.raises(ValueError, match="Q must"):
        BinaryQuadratic.from_qubo(Q)


def test_operators_are_refused():
    with pytest.raises(TypeError, match="LinearOperator"):
        BinaryQuadratic.from_qubo(sp.linalg.aslinearoperator(np.eye(2)))
