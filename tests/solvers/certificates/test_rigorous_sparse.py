"""Sparse elimination and the bounds proved by it."""

import json
from fractions import Fraction

import numpy as np
import pytest
import scipy.linalg as la
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import random_graph

from solvers import Elliptope, low_rank, read_problem
from solvers.certificates.rigorous import rigorous_bound
from solvers.linalg import sparse_cholesky as elimination
from solvers.linalg.sparse_cholesky import SparseCholesky, TooMuchFill
from solvers.testing.planted import planted_dyadic


def grid(rows, columns, *, seed=0):
    """Couplings +-1 on a torus."""
    rng = np.random.default_rng(seed)
    number = np.arange(rows * columns).reshape(rows, columns)
    ends = np.concatenate([np.roll(number, -1, 0).ravel(), np.roll(number, -1, 1).ravel()])
    half = sp.coo_array(
        (rng.choice([-1.0, 1.0], ends.size), (np.tile(number.ravel(), 2), ends)), shape=(number.size,) * 2
    )
    return sp.csr_array(half + half.T)


@pytest.mark.parametrize(
    "matrix",
    [
        grid(20, 25),
        random_graph(300, 3, 0),
        random_graph(300, 30, 1),
        random_graph(400, 1, 2),
        sp.csr_array((90, 90)),
        sp.csr_array(np.ones((70, 70)) - np.eye(70)),
        sp.block_diag([grid(9, 9), random_graph(150, 4, 3)], format="csr"),
    ],
    ids=["grid", "sparse", "denser", "pieces", "empty", "full", "two"],
)
def test_it_factors_exactly_what_is_positive_definite(matrix):
    found = SparseCholesky(sp.csr_array(matrix))
    dense = matrix.toarray()
    scale = 1.0 + np.abs(dense).sum(axis=1).max()
    diagonal = np.random.default_rng(0).uniform(0, 1, matrix.shape[0])
    smallest = la.eigvalsh(dense + np.diag(diagonal))[0]
    assert found.factorises(diagonal - smallest + 1e-9 * scale)
    assert not found.factorises(diagonal - smallest - 1e-9 * scale)
    assert not found.factorises(np.full(matrix.shape[0], np.nan))


@settings(max_examples=40)
@given(st.integers(66, 160), st.integers(0, 2**32 - 1))
def test_the_factor_fills_only_where_it_says(n, seed):
    """Row lengths bound those of the dense factor in the same order, which is what the error bound rests on."""
    rng = np.random.default_rng(seed)
    matrix = random_graph(n, float(rng.uniform(1, 8)), seed)
    found = SparseCholesky(matrix)
    order = np.argsort(found._place)
    shifted = matrix.toarray() + np.diag(np.abs(matrix).sum(axis=1) + 1.0)
    factor = la.cholesky(shifted[np.ix_(order, order)], lower=True)
    lengths = np.count_nonzero(factor, axis=1)
    assert np.all(lengths <= found.row_lengths[order])
    outside = found._sequence.size
    assert np.count_nonzero(factor[:, :outside]) <= found._columns.size + outside


@settings(max_examples=40)
@given(st.integers(70, 120), st.integers(0, 2**32 - 1))
def test_each_vertex_is_of_least_degree_when_its_turn_comes(n, seed):
    """By the definition: its neighbours meet one another from then on, and its column holds them."""
    matrix = random_graph(n, float(np.random.default_rng(seed).uniform(1, 6)), seed)
    found = SparseCholesky(matrix)
    meets = [set(row.indices.tolist()) for row in (matrix[[vertex]] for vertex in range(n))]
    left = set(range(n))
    for number, vertex in enumerate(found._sequence.tolist()):
        assert len(meets[vertex]) == min(len(meets[other]) for other in left)
        column = found._columns[found._pointers[number] : found._pointers[number + 1]]
        assert set(found._vertices[column].tolist()) == meets[vertex]
        left.remove(vertex)
        for other in meets[vertex]:
            meets[other] |= meets[vertex] - {other}
            meets[other].remove(vertex)
    np.testing.assert_array_equal(found.core, sorted(left))


@settings(max_examples=40)
@given(st.integers(66, 130), st.integers(0, 2**32 - 1))
def test_the_factor_is_that_of_a_dense_factorisation(n, seed):
    matrix = random_graph(n, float(np.random.default_rng(seed).uniform(0, 6)), seed)
    diagonal = np.abs(matrix).sum(axis=1) + np.random.default_rng(seed).uniform(0.1, 1.0, n)
    found, seen = SparseCholesky(matrix), {}

    class Watched:
        @staticmethod
        def eliminate(*arguments):
            seen["arguments"] = arguments
            return found_kernels.eliminate(*arguments)

    found_kernels, found._kernels = found._kernels, Watched
    assert found.factorises(diagonal)
    _, pointers, columns, *_, factor, work = seen["arguments"]
    order, count = found._vertices, found._sequence.size
    dense = (matrix.toarray() + np.diag(diagonal))[np.ix_(order, order)]
    expected = la.cholesky(dense, lower=True)
    below = np.zeros((n, count))
    below[columns, np.repeat(np.arange(count), np.diff(pointers))] = factor
    np.testing.assert_allclose(below, np.tril(expected, -1)[:, :count], atol=1e-12 * np.abs(dense).max())
    core = np.tril(work[n:].reshape(n - count, n - count).T)
    whole = expected[count:, count:] @ expected[count:, count:].T
    np.testing.assert_allclose(core, np.tril(whole), atol=1e-12 * np.abs(dense).max())


def test_fill_stays_low_on_grids():
    """n log n entries, as nested dissection has; the band of a 60 x 60 torus would hold 430,000."""
    found = SparseCholesky(grid(60, 60))
    assert found._columns.size < 60_000
    assert found.core.size < 800


def test_too_much_fill_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(elimination, "MAX_ENTRIES", 10_000)
    with pytest.raises(TooMuchFill, match="10,000 entries"):
        SparseCholesky(random_graph(3000, 6, 0))
    monkeypatch.setattr("solvers.certificates.rigorous.MAX_CORE", 1000)
    with pytest.raises(ValueError, match=r"at N = 3000. Pass certificate='estimate'"):
        low_rank(Elliptope(random_graph(3000, 6, 0)), certificate="rigorous")
    with pytest.raises(ValueError, match="dense cost is offered up to N = 1000; found N = 1001"):
        low_rank(Elliptope(np.zeros((1001, 1001))), certificate="rigorous")


@pytest.mark.parametrize("n", [300, 2000])
@pytest.mark.parametrize("linear", [False, True])
def test_planted_sparse_problems_are_proved(n, linear):
    """Exactly planted, and large enough for the sparse factorisation."""
    planted = planted_dyadic(n, rng=n, linear=linear)
    cost = planted.problem.relaxation().cost
    for noise in (0.0, 1e-9):
        dual = planted.dual + noise * np.random.default_rng(0).standard_normal(planted.dual.size)
        for estimate in (None, -1e-8):
            bound = rigorous_bound(cost, dual, smallest_eigenvalue=estimate)
            assert Fraction(bound) <= Fraction(planted.value)
            assert planted.value - bound <= 5e-7 * np.linalg.norm(sp.csr_array(cost).data)


def test_a_bad_estimate_costs_sharpness_and_nothing_else():
    planted = planted_dyadic(600, rng=1)
    for estimate in (1.0, 0.0, -1e-12, -1.0, -1e300):
        bound = rigorous_bound(planted.problem.A, planted.dual, smallest_eigenvalue=estimate)
        assert bound <= planted.value


@pytest.mark.parametrize("name", ["G11", "G14", "G55", "G60"])
def test_real_graphs_are_proved(shared_data, name):
    optimum = json.loads((shared_data / "optima.json").read_text())[name]["value"]
    solution = low_rank(read_problem(shared_data / "gset" / name), certificate="rigorous", rng=0)
    assert solution.certified
    assert solution.gap <= 1e-6
    assert -solution.lower_bound >= optimum * (1 - 1e-9)


def test_beyond_what_dense_factors_reach():
    solution = low_rank(Elliptope(grid(110, 110)), certificate="rigorous", tol=1e-4, rng=0)
    assert solution.problem.size == 12_100
    assert solution.certified


@pytest.mark.parametrize("first_pool", [1, 2])
def test_lists_that_outgrow_their_room_are_begun_again(first_pool, monkeypatch):
    matrix = random_graph(600, 4, 7)
    roomy = SparseCholesky(matrix)
    monkeypatch.setattr(elimination, "FIRST_POOL", first_pool)
    crowded = SparseCholesky(matrix)
    np.testing.assert_array_equal(crowded._sequence, roomy._sequence)
    np.testing.assert_array_equal(crowded._columns, roomy._columns)
    np.testing.assert_array_equal(crowded.row_lengths, roomy.row_lengths)
