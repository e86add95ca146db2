"""Points where descent ends above the optimum: no certificate may be given there, and the solve must go on."""

import numpy as np
import pytest
import scipy.sparse as sp

from solvers import Elliptope, MaxCut, low_rank
from solvers.linalg.lanczos import Krylov, smallest_eigenpair, start_vector


def sparse_graph(order, seed):
    rng = np.random.default_rng(seed)
    ends = rng.integers(0, order, (2, 5 * order // 2))
    ends = ends[:, ends[0] != ends[1]]
    weights = sp.coo_array((np.ones(ends.shape[1]), ends), shape=(order, order))
    return MaxCut(sp.csr_array(weights + weights.T))


def assert_true(solution, tol):
    """The claimed bound is one that dense eigenvalues grant."""
    cost = solution.problem.relaxation().cost.toarray()
    smallest = np.linalg.eigvalsh(cost - np.diag(solution.dual))[0]
    bound = solution.dual.sum() + cost.shape[0] * min(smallest, 0.0)
    scale = max(abs(solution.value), np.linalg.norm(cost))
    assert solution.certified
    assert (solution.value - bound) / scale <= 1.01 * tol


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rank", [3, 5, 8])
def test_a_rank_too_small_is_noticed(rank, seed):
    # too narrow a factor has second-order points whose slack matrix is negative far from the range of V
    solution = low_rank(sparse_graph(600, seed), rank=rank, rng=seed)
    assert_true(solution, 1e-6)
    assert solution.rank > rank or rank == 8


@pytest.mark.parametrize("columns", [1, 12])
def test_a_start_with_unused_columns_is_not_trusted(columns):
    # sweeps never leave the line on which all rows begin, however many columns are free
    problem = sparse_graph(400, 1)
    start = np.zeros((400, columns))
    start[:, 0] = np.random.default_rng(0).choice([-1.0, 1.0], 400)
    solution = low_rank(problem, start=start, rng=0)
    assert_true(solution, 1e-6)


def test_a_hidden_eigenvalue_is_found_before_a_certificate_is_believed():
    # a kernel of ten dimensions, to which the start leans, and one negative direction outside it
    order = 400
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((order, order)))[0]
    values = np.concatenate([np.zeros(10), [-1e-3], rng.uniform(0.01, 1.0, order - 11)])
    cost = (basis * values) @ basis.T
    krylov = Krylov(0.5 * (cost + cost.T), np.zeros(order), start_vector(order, rng, None))
    pair = smallest_eigenpair(krylov, threshold=-1e-6, known=1e-9, confirmation=3.0)
    assert pair.value < -1e-6
    assert pair.error == np.inf
    krylov = Krylov(0.5 * (cost + cost.T), np.zeros(order), start_vector(order, rng, None))
    pair = smallest_eigenpair(krylov, threshold=-1e-6, known=1e-9, insist=True)
    assert pair.value - pair.error <= -1e-3 + 1e-9 <= pair.value + 1e-8


def test_a_bound_after_a_limit_is_a_bound():
    problem = sparse_graph(600, 0)
    best = low_rank(problem, rng=0, tol=1e-8).value
    for iterations in (1, 10, 30, 50, 120):
        solution = low_rank(problem, rank=5, rng=0, max_iterations=iterations)
        assert solution.lower_bound <= best + 1e-7 * abs(best)


def test_a_saddle_of_a_dense_cost_is_left():
    cost = np.ones((80, 80)) - np.eye(80)
    solution = low_rank(Elliptope(cost), start=np.ones((80, 1)), rng=0)
    assert solution.certified
    assert solution.value == pytest.approx(-80.0, rel=1e-5)
