"""Bounds with cuts: below the optimum, above Shor's, and what they are at instances with known answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import BinaryQuadratic, MaxCut, brute_force, low_rank, strengthen, tabu_search
from solvers.cuts import tighten
from solvers.testing import degenerate_problems


@settings(max_examples=40)
@given(degenerate_problems(max_n=9), st.integers(0, 20))
def test_bounds_lie_between_shor_and_the_optimum(problem, rounds):
    found = strengthen(problem, max_rounds=rounds, rng=0)
    minimum = brute_force(problem).value
    scale = max(abs(minimum), np.finfo(float).tiny)
    assert found.lower_bound <= minimum + 1e-9 * scale
    if rounds == 20:
        norm = np.linalg.norm(problem.b) + abs(minimum) + np.abs(low_rank(problem, rng=0).dual).sum()
        assert found.lower_bound >= low_rank(problem, rng=0).lower_bound - 1e-3 * norm


@pytest.mark.parametrize("n", [5, 9])
def test_odd_cycles_are_exact(n):
    ring = np.roll(np.eye(n), 1, axis=1)
    found = strengthen(MaxCut(ring + ring.T), rng=0)
    assert -(n - 1) - 1e-2 <= found.lower_bound <= -(n - 1)


def test_planar_grids_are_exact():
    # cut polytopes of graphs without a K_5 minor need no more than cycle inequalities, which triangles imply
    side = 4
    path = np.eye(side, k=1) + np.eye(side, k=-1)
    grid = np.kron(path, np.eye(side)) + np.kron(np.eye(side), path)
    signs = np.triu(np.random.default_rng(1).choice([-1.0, 1.0], grid.shape), 1)
    problem = MaxCut(grid * (signs + signs.T))
    optimum = brute_force(problem).value
    shor = low_rank(problem, rng=0).lower_bound
    found = strengthen(problem, largest_clique=3, rng=0).lower_bound
    assert shor < optimum - 0.1
    assert optimum - 1e-2 <= found <= optimum


def test_cliques_without_violated_triangles_are_found():
    # at Shor's solution of K_5 every product is -1/4: triangles hold with room to spare, the pentagon does not
    found = strengthen(MaxCut(1.0 - np.eye(5)), rng=0)
    assert -6.01 < found.lower_bound <= -6.0
    assert found.cuts.sizes.max() == 5


def signed_grid(side, seed):
    """Random couplings of both signs on a planar grid, whose bound with triangles is exact."""
    path = np.eye(side, k=1) + np.eye(side, k=-1)
    grid = np.kron(path, np.eye(side)) + np.kron(np.eye(side), path)
    signs = np.triu(np.random.default_rng(seed).choice([-1.0, 1.0], grid.shape), 1)
    return MaxCut(grid * (signs + signs.T))


@pytest.mark.parametrize("dense_proofs", [0, tighten.DENSE_PROOFS], ids=["low-rank proof", "dense proof"])
def test_sparse_problems_are_bounded_pair_by_pair(monkeypatch, dense_proofs):
    problem = signed_grid(4, 1)
    optimum = brute_force(problem).value
    dense = strengthen(problem, largest_clique=3, rng=0)
    monkeypatch.setattr(tighten, "SPARSE_FROM", 0)
    monkeypatch.setattr(tighten, "SPARSE_SHARE", 1.0)
    monkeypatch.setattr(tighten, "DENSE_PROOFS", dense_proofs)
    sparse = strengthen(problem, largest_clique=3, rng=0)
    assert optimum - 1e-2 <= sparse.lower_bound <= optimum
    assert sparse.history[0].estimate == pytest.approx(dense.history[0].estimate, rel=1e-4)


def test_many_signs_on_a_sparse_graph():
    problem = signed_grid(15, 2)
    best = tabu_search(problem, np.ones((1, 225)), max_iterations=100_000, rng=0).value
    shor = low_rank(problem, rng=0).lower_bound
    found = strengthen(problem, largest_clique=3, max_rounds=15, rng=0)
    assert found.lower_bound <= best
    assert found.lower_bound >= shor + 0.9 * (best - shor)


@pytest.mark.parametrize("seconds", [1e-9, 60.0])
def test_a_large_sparse_problem_has_a_bound_whenever_time_is_up(monkeypatch, seconds):
    monkeypatch.setattr(tighten, "DENSE_PROOFS", 200)
    problem = signed_grid(15, 2)
    best = tabu_search(problem, np.ones((1, 225)), max_iterations=100_000, rng=0).value
    shor = low_rank(problem, rng=0).lower_bound
    found = strengthen(problem, largest_clique=3, max_rounds=6, max_seconds=seconds, rng=0)
    assert -np.inf < found.lower_bound <= best
    if seconds > 1.0:
        assert found.lower_bound >= shor + 0.3 * (best - shor)


def test_the_multipliers_and_the_dual_prove_the_bound():
    rng = np.random.default_rng(0)
    A = rng.integers(-4, 5, (20, 20))
    problem = BinaryQuadratic(A + A.T, rng.integers(-4, 5, 20), constant=3.0)
    found = strengthen(problem, rng=0)
    cost = np.array(problem.relaxation().cost)
    constant = float(np.trace(cost)) + 3.0
    np.fill_diagonal(cost, 0.0)
    slack = found.cuts.priced(cost, found.multipliers) - np.diag(found.dual)
    value = found.dual.sum() + found.multipliers @ found.cuts.sides
    assert np.linalg.eigvalsh(slack)[0] >= -1e-9 * np.abs(found.dual).max()
    assert found.lower_bound == pytest.approx(value + constant, rel=1e-7)
    assert np.all(found.multipliers >= 0)


def test_a_callback_can_end_the_rounds():
    moments = []

    def stop(moment):
        moments.append(moment)
        if moment.round == 3:
            raise StopIteration

    found = strengthen(MaxCut(1.0 - np.eye(8)), callback=stop, rng=0)
    assert found.rounds == 3 == len(moments)
    assert tuple(moments) == found.history


@pytest.mark.parametrize("options", [{"max_rounds": -1}, {"max_seconds": 0}])
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        strengthen(MaxCut(np.zeros((2, 2))), **options)
