"""Proofs held against exact answers: planted integers by the thousand, and rational arithmetic."""

from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import Elliptope, low_rank
from solvers.certificates.dual_bound import dual_bound
from solvers.certificates.rigorous import rigorous_bound
from solvers.problems.binary_form import frobenius_norm
from solvers.testing.planted import planted_dyadic, planted_sparse

# What is done to the optimal dual vector before a bound is asked for: nothing leaves S singular, which is as hard
# as it gets.
NOISE = (0.0, 0.0, 1e-15, 1e-8, 1e-2)


@pytest.mark.parametrize("start", range(0, 10_000, 2_000))
def test_no_bound_passes_any_of_ten_thousand_exact_optima(start):
    rng = np.random.default_rng(start)
    for seed in range(start, start + 2_000):
        planted = planted_dyadic(4 + seed % 13, rng=seed, linear=seed % 3 == 0)
        cost = planted.problem.relaxation().cost
        noise = NOISE[seed % 5]
        dual = planted.dual + noise * rng.standard_normal(planted.dual.size) if noise else planted.dual
        bound = rigorous_bound(sp.csr_array(cost) if seed % 10 == 0 else cost, dual)
        # both sides are integers or doubles: nothing rounds here
        assert bound <= planted.value, (seed, bound - planted.value)
        assert planted.value - bound <= (1e-11 + 10 * noise) * (1 + np.abs(cost).sum()), seed


@pytest.mark.parametrize("linear", [False, True], ids=["pure", "linear"])
def test_no_solve_passes_an_exact_optimum(linear):
    for seed in range(150):
        planted = planted_dyadic(4 + seed % 20, rng=seed, linear=linear)
        solution = low_rank(planted.problem, certificate="rigorous", rng=seed)
        assert solution.lower_bound <= planted.value
        assert solution.certified, seed


def exact_product(cost, dual, shift):
    """C - Diag(y) + shift I in rational numbers."""
    matrix = [[Fraction(float(entry)) for entry in row] for row in cost]
    for index in range(len(matrix)):
        matrix[index][index] += shift - Fraction(float(dual[index]))
    return matrix


def is_positive_semidefinite(matrix):
    """By exact elimination: a zero pivot needs a zero column."""
    matrix = [row[:] for row in matrix]
    for pivot in range(len(matrix)):
        diagonal = matrix[pivot][pivot]
        if diagonal < 0 or (diagonal == 0 and any(matrix[row][pivot] for row in range(pivot, len(matrix)))):
            return False
        for row in range(pivot + 1, len(matrix)):
            if diagonal:
                ratio = matrix[row][pivot] / diagonal
                for column in range(pivot, len(matrix)):
                    matrix[row][column] -= ratio * matrix[pivot][column]
    return True


@settings(max_examples=80)
@given(st.integers(2, 7), st.integers(0, 2**32 - 1), st.sampled_from([1e-12, 1.0, 1e9]))
def test_every_bound_follows_from_its_dual_vector_in_rational_arithmetic(n, seed, scale):
    """If 1^T y - N t was claimed, then C - Diag(y) + t I is PSD, exactly."""
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((n, n)) * 10.0 ** rng.integers(-6, 1, (n, n))
    cost = scale * (matrix + matrix.T)
    for dual in (low_rank(Elliptope(cost), rng=0).dual, scale * rng.standard_normal(n)):
        bound = Fraction(rigorous_bound(cost, dual))
        shift = (sum(Fraction(float(y)) for y in dual) - bound) / n
        assert is_positive_semidefinite(exact_product(cost, dual, shift))


@pytest.mark.parametrize("plant", [planted_dyadic, partial(planted_sparse, rank=3)], ids=["dyadic", "sparse"])
@pytest.mark.parametrize("n", [60, 250])
def test_estimates_pass_a_planted_optimum_by_rounding_at_most(plant, n):
    """By eigenvalues of LAPACK below N = 200, of Lanczos above; with multiplicities, because S V = 0."""
    for seed in range(3):
        planted = plant(n, rng=seed, linear=seed == 1)
        cost = planted.problem.relaxation().cost
        scale = max(abs(planted.value), frobenius_norm(cost))
        for noise in (0.0, 1e-6):
            dual = planted.dual + noise * np.random.default_rng(seed).standard_normal(planted.dual.size)
            assert dual_bound(cost, dual, rng=seed).bound <= planted.value + 1e-12 * scale


def rational_unit_row(row):
    """A rational point of the sphere close to a unit vector, by stereographic projection from the far pole."""
    axis = int(np.argmax(np.abs(row)))
    sign = 1 if row[axis] >= 0 else -1
    others = [Fraction(float(x)) / (1 + Fraction(float(abs(row[axis])))) for x in np.delete(row, axis)]
    squared = sum(x * x for x in others)
    point = [2 * x / (1 + squared) for x in others]
    point.insert(axis, sign * (1 - squared) / (1 + squared))
    return point


@settings(max_examples=30)
@given(st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_no_bound_passes_an_exact_feasible_value(n, seed):
    matrix = np.random.default_rng(seed).standard_normal((n, n))
    cost = matrix + matrix.T
    solution = low_rank(Elliptope(cost), certificate="rigorous", tol=1e-10, rng=seed)
    rows = [rational_unit_row(row) for row in solution.factor]
    assert all(sum(x * x for x in row) == 1 for row in rows)
    value = sum(
        Fraction(float(cost[i, j])) * sum(a * b for a, b in zip(rows[i], rows[j], strict=True))
        for i in range(n)
        for j in range(n)
    )
    assert Fraction(solution.lower_bound) <= value
    assert abs(float(value) - solution.value) <= 1e-12 * np.abs(cost).sum()
