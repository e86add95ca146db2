"""A cost before it is solved: leaves fall, parts are found, and nothing of the problem is lost."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

import solvers.problems.components
from solvers import Elliptope, exact, low_rank
from solvers.burer_monteiro import presolve
from solvers.burer_monteiro.presolve import Presolve
from solvers.certificates.dual_bound import dense_slack


def sparse_cost(order, edges, seed, *, diagonal=True, scale=1.0):
    rng = np.random.default_rng(seed)
    half = sp.coo_array(
        (rng.standard_normal(edges), rng.integers(0, order, (2, edges))), shape=(order, order)
    )
    cost = sp.csr_array(half + half.T)
    if not diagonal:
        cost.setdiag(0.0)
        cost.eliminate_zeros()
    return scale * cost


def tree(order, seed):
    rng = np.random.default_rng(seed)
    parents = rng.integers(0, np.arange(1, order))
    names = rng.permutation(order)
    ends = names[np.arange(1, order)], names[parents]
    half = sp.coo_array((rng.standard_normal(order - 1), ends), shape=(order, order))
    return sp.csr_array(half + half.T)


def core_of(cost):
    """Rows left when rows with one neighbour are removed until there are none, by the definition."""
    pattern = cost.toarray() != 0
    np.fill_diagonal(pattern, False)
    while np.any(pattern.sum(axis=1) == 1):
        leaf = int(np.argmax(pattern.sum(axis=1) == 1))
        pattern[leaf] = pattern[:, leaf] = False
    return np.flatnonzero(pattern.any(axis=1))


@settings(max_examples=80)
@given(
    order=st.integers(1, 60),
    edges=st.integers(0, 90),
    seed=st.integers(0, 2**32 - 1),
    exponent=st.sampled_from([-900, -8, 0, 8, 900]),
    small=st.sampled_from([1, 6, 64]),
)
def test_parts_hold_the_core_and_nothing_else(order, edges, seed, exponent, small):
    cost = sparse_cost(order, edges, seed, scale=2.0**exponent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solvers.problems.components, "SMALL_COMPONENT", small)
        prepared = Presolve(cost)
    core = core_of(cost)
    rows = np.concatenate([part.rows for part in prepared.components] + [np.empty(0, int)])
    np.testing.assert_array_equal(np.sort(rows), core)
    sizes = [part.order for part in prepared.components]
    assert sizes == sorted(sizes)
    zero_diagonal = cost.toarray() * 2.0**-prepared.exponent
    np.fill_diagonal(zero_diagonal, 0.0)
    expected = zero_diagonal[np.ix_(core, core)].copy()
    for part in prepared.components:
        np.testing.assert_array_equal(part.cost.toarray(), zero_diagonal[np.ix_(part.rows, part.rows)])
        assert np.all(np.diff(part.rows) > 0)
        places = np.searchsorted(core, part.rows)
        expected[np.ix_(places, places)] = 0.0
        if part.order > small:
            assert connected_components(part.cost, directed=False)[0] == 1 or part.order <= len(core)
    # no entry joins two parts
    assert not expected.any()


@settings(max_examples=60)
@given(
    order=st.integers(20, 300),
    density=st.floats(0.2, 3.0),
    seed=st.integers(0, 2**32 - 1),
    few=st.sampled_from([1, 2, 8, 64]),
)
def test_leaves_fall_alike_with_and_without_the_compiler(order, density, seed, few):
    cost = sparse_cost(order, int(density * order), seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(presolve, "FEW_LEAVES", 0)
        compiled = Presolve(cost)
        # so few have room that some have to begin again with the compiler
        patch.setattr(presolve, "FEW_LEAVES", few)
        patch.setattr(presolve, "ROWS_A_LEAF", 1)
        interpreted = Presolve(cost)
    assert interpreted.fixed_value == compiled.fixed_value
    for name in ("_leaves", "_neighbours", "_weights"):
        np.testing.assert_array_equal(getattr(interpreted, name, 0), getattr(compiled, name, 0))
    for here, there in zip(interpreted.components, compiled.components, strict=True):
        np.testing.assert_array_equal(here.rows, there.rows)
        np.testing.assert_array_equal(here.cost.toarray(), there.cost.toarray())


@settings(max_examples=40)
@given(order=st.integers(2, 40), edges=st.integers(1, 60), seed=st.integers(0, 2**32 - 1))
def test_solutions_with_leaves_are_those_of_the_whole_problem(order, edges, seed):
    cost = sparse_cost(order, edges, seed)
    original = cost.copy()
    solution = low_rank(Elliptope(cost, constant=3.0), tol=1e-7, rng=seed)
    assert solution.certified
    np.testing.assert_array_equal(cost.toarray(), original.toarray())
    np.testing.assert_allclose(np.linalg.norm(solution.factor, axis=1), 1.0)
    value = np.vdot(cost @ solution.factor, solution.factor)
    size = max(abs(value), sp.linalg.norm(cost))
    assert solution.value == pytest.approx(value + 3.0, abs=1e-12 * size)
    # the multipliers alone prove the bound, for the whole cost
    smallest = np.linalg.eigvalsh(dense_slack(cost, solution.dual))[0]
    assert solution.lower_bound <= solution.dual.sum() + order * min(smallest, 0.0) + 3.0 + 1e-9 * size
    assert solution.dual.sum() + 3.0 >= solution.lower_bound - 1e-9 * size


@pytest.mark.parametrize("seed", range(3))
def test_leaves_agree_with_the_exact_solution(seed):
    cost = sparse_cost(30, 32, seed, diagonal=False)
    assert len(core_of(cost)) < 25
    solution = low_rank(Elliptope(cost), rng=seed)
    reference = exact(Elliptope(cost))
    assert solution.value == pytest.approx(reference.value, rel=1e-5)
    assert solution.lower_bound <= reference.value + 1e-6 * abs(reference.value)


@pytest.mark.parametrize("certificate", ["estimate", "rigorous"])
@pytest.mark.parametrize("order", [2, 3, 50, 3000])
def test_a_tree_needs_no_iteration(order, certificate):
    cost = tree(order, order)
    solution = low_rank(Elliptope(cost), rng=0, certificate=certificate)
    assert solution.certified
    assert solution.iterations == 0
    assert solution.value == pytest.approx(-np.abs(cost.data).sum(), rel=1e-12)
    assert solution.gap <= 1e-9


def test_a_path_peels_from_both_ends_and_a_start_is_kept_where_it_may_be():
    # each row falls as soon as the one before it has
    path = sp.csr_array(np.eye(6, k=1) + np.eye(6, k=-1))
    solution = low_rank(Elliptope(path), start=np.tile([[0.6, 0.8]], (6, 1)))
    np.testing.assert_allclose(np.abs(solution.factor), np.tile([[0.6, 0.8]], (6, 1)))
    np.testing.assert_allclose(solution.gram()[0], [1, -1, 1, -1, 1, -1])
    np.testing.assert_allclose(np.sort(solution.dual), [-2, -2, -2, -2, -1, -1])


def test_a_leaf_of_weight_zero_is_harmless():
    stored = sp.csr_array((np.array([1.0, 1.0, 0.0, 0.0]), ([0, 1, 1, 2], [1, 0, 2, 1])), shape=(3, 3))
    solution = low_rank(Elliptope(stored), rng=0)
    assert solution.certified
    assert solution.value == pytest.approx(-2.0)


@pytest.mark.parametrize("diagonal", [0.0, 1e-320])
def test_a_diagonal_of_which_only_the_places_are_stored_makes_no_neighbours(diagonal):
    places = np.arange(4)
    rows, columns = np.r_[places, 0, 1, 1, 2], np.r_[places, 1, 0, 2, 1]
    stored = sp.csr_array((np.r_[np.full(4, diagonal), np.full(4, 1e10)], (rows, columns)))
    prepared = Presolve(stored)
    assert not prepared.components
    solution = low_rank(Elliptope(stored), rng=0)
    assert solution.certified
    assert solution.value == pytest.approx(-4e10)


@pytest.mark.parametrize("kind", ["leaf", "two", "alone"])
def test_a_large_graph_in_pieces_is_taken_apart(kind):
    ring = sp.csr_array(np.roll(np.eye(600), 1, axis=1) + np.roll(np.eye(600), -1, axis=1))
    if kind == "two":
        cost = sp.block_diag([ring, ring], format="csr")
    else:
        cost = sp.block_diag([ring, sp.csr_array((1, 1))], format="csr").tolil()
        if kind == "leaf":
            cost[0, 600] = cost[600, 0] = 2.0
    prepared = Presolve(sp.csr_array(cost))
    assert [part.order for part in prepared.components] == [600] * (2 if kind == "two" else 1)
    assert prepared.fixed_value == (-4.0 if kind == "leaf" else 0.0) * 2.0**-prepared.exponent
