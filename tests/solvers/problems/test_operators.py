"""Costs that are only applied: at any scale, in narrow types, and when they misbehave."""

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from solvers import BinaryQuadratic, Elliptope, exact, low_rank
from solvers.problems.binary_form import dense_matrix
from solvers.problems.operators import GuardedOperator, probe_operator


def glass(n, seed=0):
    matrix = np.random.default_rng(seed).standard_normal((n, n))
    return 0.5 * (matrix + matrix.T)


def rounding_to_float32(matrix):
    """An operator that declares float64 or float32 and computes in float32."""
    narrow = matrix.astype(np.float32)
    noise = 1.0 + 3e-8 * np.random.default_rng(1).standard_normal(matrix.shape)
    return LinearOperator(
        matrix.shape, matvec=lambda x: ((matrix * noise) @ x).astype(np.float32), dtype=narrow.dtype
    )


@pytest.mark.parametrize("linear", [False, True])
def test_an_operator_in_float32_is_symmetric_to_its_own_rounding(linear):
    matrix = glass(30)
    b = np.arange(30.0) if linear else None
    operator = rounding_to_float32(matrix)
    solution = low_rank(BinaryQuadratic(operator, b), tol=1e-3, rng=0)
    right = low_rank(BinaryQuadratic(matrix, b), tol=1e-6, rng=0)
    assert solution.value == pytest.approx(right.value, rel=2e-3)
    assert dense_matrix("cost", operator, limit=30) == pytest.approx(matrix, abs=1e-5)


def test_an_asymmetric_operator_is_refused_in_any_type():
    for dtype in (np.float32, np.float64):
        skew = (glass(20) + 1e-3 * np.tri(20)).astype(dtype)
        with pytest.raises(ValueError, match="must be symmetric"):
            probe_operator("cost", aslinearoperator(skew))


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-160, 1.0, 1e160, 1e290])
@pytest.mark.parametrize("linear", [False, True])
def test_the_scale_of_an_operator_does_not_matter(scale, linear):
    matrix = glass(20)
    b = np.linspace(-1.0, 1.0, 20) if linear else np.zeros(20)
    right = low_rank(BinaryQuadratic(matrix, b), rng=0)
    solution = low_rank(BinaryQuadratic(aslinearoperator(scale * matrix), scale * b), rng=0)
    assert solution.certified
    assert solution.value / scale == pytest.approx(right.value, rel=2e-6)
    assert solution.lower_bound / scale <= right.value + 1e-9 * abs(right.value)


def test_a_zero_operator_is_solved():
    solution = low_rank(Elliptope(aslinearoperator(np.zeros((5, 5)))), rng=0)
    assert solution.value == solution.lower_bound == 0.0


@pytest.mark.parametrize("after", [0, 3, 8])
def test_an_operator_that_returns_nan_is_named(after):
    matrix, calls = glass(12), []

    def product(x):
        calls.append(1)
        return matrix @ x * (np.nan if len(calls) > after else 1.0)

    operator = LinearOperator((12, 12), matvec=product, matmat=product, dtype=np.float64)
    with pytest.raises(ValueError, match="cost must be finite"):
        low_rank(Elliptope(operator), rng=0)


def test_a_guarded_operator_is_scaled_and_computes_in_float64():
    guarded = GuardedOperator(aslinearoperator(np.eye(3, dtype=np.float32)), 2)
    assert (guarded @ np.ones(3)).tolist() == [4.0, 4.0, 4.0]
    assert (guarded @ np.ones((3, 2))).dtype == np.float64
    assert guarded.H is guarded


def test_exact_forms_a_float32_operator():
    pytest.importorskip("cvxpy")
    matrix = glass(8)
    assert exact(Elliptope(rounding_to_float32(matrix))).value == pytest.approx(
        exact(Elliptope(matrix)).value, rel=1e-5
    )


class InPlace(LinearOperator):
    """An operator that writes the product over what it is applied to."""

    def __init__(self, matrix):
        super().__init__(np.float64, matrix.shape)
        self.matrix = matrix

    def _matmat(self, X):
        X[:] = self.matrix @ X
        return X


class InOneBuffer(InPlace):
    """An operator that answers in the same memory at every call of one shape."""

    def __init__(self, matrix):
        super().__init__(matrix)
        self.buffers = {}

    def _matmat(self, X):
        buffer = self.buffers.setdefault(X.shape, np.empty(X.shape))
        buffer[:] = self.matrix @ X
        return buffer


@pytest.mark.parametrize("kind", [InPlace, InOneBuffer])
@pytest.mark.parametrize("linear", [False, True])
def test_an_operator_may_write_over_its_argument_and_over_its_last_answer(kind, linear):
    matrix, b = glass(12), np.arange(12.0) if linear else None
    right = low_rank(BinaryQuadratic(aslinearoperator(matrix), b), rng=0)
    found = low_rank(BinaryQuadratic(kind(matrix), b), rng=0)
    assert (found.value, found.lower_bound) == (right.value, right.lower_bound)
    signs = np.random.default_rng(0).choice([-1, 1], (3, 12))
    np.testing.assert_allclose(
        BinaryQuadratic(kind(matrix), b).evaluate(signs), BinaryQuadratic(matrix, b).evaluate(signs)
    )
    diagonal = np.arange(1.0, 13.0)
    right = low_rank(Elliptope(aslinearoperator(matrix), diagonal=diagonal), rng=0)
    assert low_rank(Elliptope(kind(matrix), diagonal=diagonal), rng=0).value == right.value


def test_a_matvec_in_one_buffer_is_refused_since_its_products_of_several_vectors_are_wrong():
    matrix, buffer = glass(8), np.empty((8, 1))

    def matvec(x):
        buffer[:] = (matrix @ x).reshape(-1, 1)
        return buffer

    with pytest.raises(ValueError, match=r"several vectors at once.*new array"):
        low_rank(BinaryQuadratic(LinearOperator(matrix.shape, matvec=matvec, dtype=float)), rng=0)
