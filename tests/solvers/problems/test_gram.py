"""Costs kept as a factor X: the same answers as the formed matrix, without forming it."""

import pickle
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import BinaryQuadratic, Elliptope, Gram, Status, brute_force, exact, low_rank, round_homogeneous
from solvers.certificates.rigorous import rigorous_bound
from solvers.linalg.matvec import Matvec
from solvers.linalg.sphere import random_rows
from solvers.methods.gram_relaxation import GramRelaxation
from solvers.methods.over_relaxation import OverRelaxation
from solvers.problems.binary_form import binary_form, diagonal, frobenius_norm
from solvers.problems.components import split_diagonal
from solvers.problems.scaling import binary_exponent, scale_by_power
from solvers.testing import assert_certified

FORMS = {"dense": np.array, "sparse": sp.csr_array}


def draw(m, n, seed):
    """A matrix, sparse enough to be worth keeping sparse, and weights of both signs."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random((m, n)) < 0.6, rng.standard_normal((m, n)), 0.0), rng.standard_normal(m)


def matrix_of(gram):
    return gram @ np.eye(gram.shape[0])


def bordered(form, m, n, seed):
    X, weights = draw(m, n, seed)
    b = np.random.default_rng(seed + 1).standard_normal(n)
    return BinaryQuadratic(Gram(FORMS[form](X), weights), b).relaxation().cost


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("linear", [False, True], ids=["pure", "linear"])
class TestMatrix:
    """Everything that a Gram says of its matrix, against the matrix."""

    def cost(self, form, linear):
        if linear:
            return bordered(form, 4, 9, 0)
        X, weights = draw(4, 9, 0)
        return Gram(FORMS[form](X), weights)

    def test_products_and_entries(self, form, linear):
        cost, (X, weights) = self.cost(form, linear), draw(4, 9, 0)
        dense = X.T @ (weights[:, None] * X)
        if linear:
            half = 0.5 * np.random.default_rng(1).standard_normal(9)
            dense = np.block([[np.zeros((1, 1)), half[None]], [half[:, None], dense]])
        np.testing.assert_allclose(matrix_of(cost), dense, atol=1e-14)
        np.testing.assert_allclose(cost @ np.arange(dense.shape[0]), dense @ np.arange(dense.shape[0]))
        np.testing.assert_allclose(cost.formed(), dense, atol=1e-14)
        np.testing.assert_allclose(diagonal(cost), np.diag(dense), atol=1e-14)
        assert frobenius_norm(cost) == pytest.approx(np.linalg.norm(dense))
        zero_diagonal, entries = split_diagonal(cost)
        np.testing.assert_allclose(matrix_of(zero_diagonal) + np.diag(entries), dense, atol=1e-14)
        assert frobenius_norm(zero_diagonal) == pytest.approx(np.linalg.norm(dense - np.diag(np.diag(dense))))
        np.testing.assert_array_equal(matrix_of(pickle.loads(pickle.dumps(cost))), matrix_of(cost))

    def test_scaling(self, form, linear):
        cost = self.cost(form, linear)
        dense = matrix_of(cost)
        scale = np.random.default_rng(2).uniform(0.1, 5, dense.shape[0])
        np.testing.assert_allclose(matrix_of(cost.scaled(scale)), dense * np.outer(scale, scale), atol=1e-13)
        exponent = binary_exponent(cost)
        small = matrix_of(scale_by_power(cost, -exponent))
        np.testing.assert_array_equal(small, np.ldexp(dense, -exponent))
        assert 1 / 64 < np.abs(small).max() < 1

    def test_the_first_dual_is_feasible(self, form, linear):
        zero_diagonal, _ = split_diagonal(self.cost(form, linear))
        dual = zero_diagonal.dominated_dual()
        assert np.linalg.eigvalsh(matrix_of(zero_diagonal) - np.diag(dual))[0] >= -1e-12

    def test_sweeps_are_those_of_the_formed_matrix(self, form, linear):
        cost = bordered(form, 7, 75, 3) if linear else Gram(FORMS[form](draw(7, 75, 3)[0]), draw(7, 75, 3)[1])
        zero_diagonal, _ = split_diagonal(cost)
        start = random_rows(cost.shape[0], 5, np.random.default_rng(0))
        formed = matrix_of(zero_diagonal)
        np.fill_diagonal(formed, 0.0)
        matvec = Matvec(formed)
        kept, dense = GramRelaxation(zero_diagonal), OverRelaxation(matvec)
        one, two = start.copy(), matvec.arrange(start)
        for _ in range(2):
            moved, expected = kept.advance(one, 6), dense.advance(two, 6)
            assert moved.decrease == pytest.approx(expected.decrease, rel=1e-9)
            assert moved.last_decrease == pytest.approx(expected.last_decrease, rel=1e-6)
        np.testing.assert_allclose(one, two[:, :5], atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("linear", [False, True], ids=["pure", "linear"])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 6), (3, 40), (60, 20), (10, 260)])
def test_certified_as_when_formed(m, n, linear, form):
    X, weights = draw(m, n, m + n)
    b = np.random.default_rng(n).standard_normal(n) if linear else None
    kept = low_rank(BinaryQuadratic(Gram(FORMS[form](X), weights), b), rng=0)
    formed = low_rank(BinaryQuadratic(X.T @ (weights[:, None] * X), b), rng=0)
    assert_certified(kept)
    assert kept.value == pytest.approx(formed.value, rel=3e-6, abs=1e-9)


def test_every_other_solver_takes_it():
    X, weights = draw(3, 10, 5)
    problem = BinaryQuadratic(Gram(X, weights), np.ones(10), constant=1.0)
    formed = BinaryQuadratic(X.T @ (weights[:, None] * X), np.ones(10), constant=1.0)
    best = brute_force(problem)
    assert best.value == pytest.approx(brute_force(formed).value)
    assert exact(problem).value == pytest.approx(exact(formed).value, rel=1e-5)
    rounded = round_homogeneous(low_rank(problem, rng=0), local_search="two-flip", rng=0)
    assert rounded.value == pytest.approx(best.value)
    assert float(binary_form(problem).evaluate(best.point[None].astype(float))[0]) == pytest.approx(
        best.value
    )


def test_with_a_fixed_diagonal():
    X, weights = draw(3, 30, 6)
    a = np.random.default_rng(0).uniform(0.1, 9, 30)
    solution = low_rank(Elliptope(Gram(X, weights), diagonal=a), certificate="rigorous", rng=0)
    assert_certified(solution)
    np.testing.assert_allclose(np.diag(solution.gram()), a)


def test_least_squares_is_least_squares():
    rng = np.random.default_rng(0)
    X, target = rng.standard_normal((12, 8)), rng.standard_normal(12)
    problem = BinaryQuadratic.least_squares(X, target)
    signs = np.where(rng.random((5, 8)) < 0.5, -1, 1)
    np.testing.assert_allclose(problem.evaluate(signs), [np.sum((X @ w - target) ** 2) for w in signs])
    solution = low_rank(problem, rng=0)
    assert_certified(solution)
    assert solution.lower_bound <= brute_force(problem).value


def test_the_matrix_is_not_formed():
    """n^2 numbers would be 128 MB; X has 0.64."""
    X = np.random.default_rng(0).standard_normal((20, 4000))
    problem = BinaryQuadratic(Gram(X, -np.ones(20)))
    low_rank(problem, rank=4, max_iterations=1, rng=0)  # compile first
    tracemalloc.start()
    solution = low_rank(problem, rng=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert solution.certified
    assert peak < 20_000_000


def test_tall_factors_are_formed_and_flat_ones_kept():
    assert isinstance(Gram(np.ones((5, 10))).economical(), np.ndarray)
    assert isinstance(Gram(np.ones((5, 11))).economical(), Gram)
    edges = sp.csr_array(np.eye(6)[:5] - np.eye(6, k=1)[:5])
    laplacian = Gram(edges).economical()
    assert sp.issparse(laplacian)
    assert laplacian.nnz == 16
    assert isinstance(Gram(sp.csr_array(np.ones((2, 6)))).economical(), Gram)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 8), st.booleans(), st.booleans())
def test_the_enclosure_holds_exactly(seed, m, n, sparse, linear):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((m, n)) * 10.0 ** rng.uniform(-9, 0, (m, 1))
    weights, half = rng.standard_normal(m), rng.standard_normal(n)
    gram = Gram(sp.csr_array(X) if sparse else X, weights)
    gram = gram.homogenised(half) if linear else gram
    matrix, error = gram.enclosure()
    columns = [[Fraction(x) for x in column] for column in X.T]
    exact_weights = [Fraction(w) for w in weights]
    shift = int(linear)
    squared = Fraction(0)
    for i in range(n):
        for j in range(n):
            entry = sum(w * a * b for w, a, b in zip(exact_weights, columns[i], columns[j], strict=True))
            squared += (entry - Fraction(matrix[i + shift, j + shift])) ** 2
    # the Frobenius norm bounds the spectral one, but it is not proved below the error: allow for its factor
    assert squared <= n * Fraction(error) ** 2
    assert error <= 1e-12 * np.sum(np.abs(weights)[:, None] * X**2) + 1e-290


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_a_rigorous_bound_never_passes_an_exact_optimum(seed):
    """A planted sum of squares is a Gram with integer X whose optimum is known exactly."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 12))
    signs = rng.choice([-1.0, 1.0], n)
    X = rng.integers(-4, 5, (int(rng.integers(1, 9)), n)).astype(float)
    X[:, 0] -= (X @ signs) * signs[0]  # X s = 0, so s s^T has value 0, and nothing is below
    scale = 2.0 ** rng.integers(-30, 30)
    dual = np.zeros(n)
    bound = rigorous_bound(Gram(scale * X), dual)
    assert -1e-9 * scale**2 * np.sum(X**2) <= bound <= 0.0


def test_rigorous():
    X, weights = draw(8, 300, 7)
    for b in (None, np.ones(300)):
        solution = low_rank(BinaryQuadratic(Gram(X, weights), b), certificate="rigorous", rng=0)
        assert solution.status is Status.CERTIFIED
        assert solution.lower_bound < solution.value


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Gram(np.ones(3)), ValueError, r"X must have 2 dimension\(s\); found shape \(3,\)"),
        (lambda: Gram(np.ones((0, 3))), ValueError, r"X must not be empty; found shape \(0, 3\)"),
        (lambda: Gram(sp.csr_array((3, 0))), ValueError, r"X must not be empty; found shape \(3, 0\)"),
        (lambda: Gram([[np.nan]]), ValueError, "X must be finite"),
        (lambda: Gram(sp.csr_array([[np.inf]])), ValueError, "X must be finite"),
        (lambda: Gram([["a"]]), TypeError, "X must hold real numbers"),
        (lambda: Gram(sp.csr_array([[1j]])), TypeError, "X must hold real numbers"),
        (lambda: Gram([[1e200]]), ValueError, "X must have entries whose products .* size 1e.200. Rescale"),
        (lambda: Gram([[1.0]], [1.0, 2.0]), ValueError, "weights must have length 1; found 2"),
        (lambda: Gram([[1.0]], [np.inf]), ValueError, "weights must be finite"),
        (lambda: BinaryQuadratic.from_factor([[1.0, 2.0]], b=[1.0]), ValueError, "b must have length 2"),
        (lambda: BinaryQuadratic.least_squares([[1.0]], [1.0, 2.0]), ValueError, "target must have length 1"),
    ],
)
def test_refused_in_words(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize("form", FORMS)
def test_the_caller_keeps_the_factor(form):
    X = FORMS[form](np.ones((2, 5)))
    gram = Gram(X)
    (gram.vectors.data if form == "sparse" else gram.vectors)[...] = 7.0
    np.testing.assert_array_equal(X.toarray() if form == "sparse" else X, np.ones((2, 5)))
