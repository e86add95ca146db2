"""Clique inequalities: valid at every sign vector, found where violated, and worth a bound."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.cuts import separation
from solvers.cuts.cliques import CliqueCuts, canonical, no_cuts
from solvers.cuts.separation import fresh, grown, most_violated_triangles
from solvers.cuts.tighten import Tightener, scaled_cost, start_factor


def random_gram(n, seed, rank=3):
    rows = np.random.default_rng(seed).standard_normal((n, rank))
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    return rows @ rows.T


def random_cuts(n, count, seed):
    rng = np.random.default_rng(seed)
    cuts = no_cuts()
    for _ in range(count):
        size = int(rng.choice([size for size in (3, 5, 7) if size <= n]))
        vertices = rng.choice(n, size, replace=False)[None, :]
        cuts = cuts.join(canonical(vertices, rng.choice([-1, 1], (1, size))))
    return cuts


@given(st.integers(3, 9), st.integers(0, 2**32 - 1))
def test_every_sign_vector_satisfies_every_cut(n, seed):
    cuts = random_cuts(n, 10, seed)
    for signs in product([-1.0, 1.0], repeat=n):
        assert np.all(cuts.slacks(np.outer(signs, signs)) >= 0)
    points = np.array(list(product([-1.0, 1.0], repeat=n)))
    assert np.all(np.min([cuts.slacks(np.outer(s, s)) for s in points], axis=0) == 0), (
        "each is tight somewhere"
    )


@given(st.integers(3, 9), st.integers(0, 2**32 - 1))
def test_all_violated_triangles_are_found(n, seed):
    gram = random_gram(n, seed)
    expected = {}
    for i, j, k in combinations(range(n), 3):
        for b in ([1, 1, 1], [1, 1, -1], [1, -1, 1], [1, -1, -1]):
            value = b[0] * b[1] * gram[i, j] + b[0] * b[2] * gram[i, k] + b[1] * b[2] * gram[j, k]
            if value < -1.01:
                expected[i, j, k, *b] = value
    found = most_violated_triangles(gram, 10_000, 0.01)
    rows = [tuple(row) for row in np.hstack([found.vertices[:, :3], found.signs[:, :3]]).tolist()]
    assert sorted(rows) == sorted(expected)
    slacks = found.slacks(gram)
    np.testing.assert_allclose(slacks, [expected[row] + 1 for row in rows], atol=1e-12)
    assert np.all(np.diff(slacks) >= 0), "the worst first"


def test_where_many_triangles_are_violated_some_of_the_worst_are_found(monkeypatch):
    gram = random_gram(40, 0)
    everything = most_violated_triangles(gram, 100_000, 0.01)
    monkeypatch.setattr(separation, "SAMPLED", 10)
    monkeypatch.setattr(separation, "MOST", everything.count // 4)
    found = most_violated_triangles(gram, 30, 0.01)
    assert found.count == 30
    slacks = found.slacks(gram)
    assert slacks.max() < -0.01
    assert slacks[0] == everything.slacks(gram)[0]


@settings(max_examples=40)
@given(st.integers(5, 8), st.integers(0, 2**32 - 1))
def test_growing_finds_the_best_two_vertices(n, seed):
    gram = random_gram(n, seed, rank=4)
    triangle = canonical(np.array([[0, 1, 2]]), np.array([[1, -1, 1]]))
    best = np.inf
    for pair in combinations(range(3, n), 2):
        for b in product([-1, 1], repeat=2):
            cut = canonical(np.array([[0, 1, 2, *pair]]), np.array([[1, -1, 1, *b]]))
            best = min(best, float(cut.slacks(gram)[0]))
    found = grown(gram, triangle, 3, 5, -10.0)
    assert found.sizes.tolist() == [5]
    assert float(found.slacks(gram)[0]) == pytest.approx(best, abs=1e-12)


@given(st.integers(4, 8), st.integers(0, 2**32 - 1), st.sampled_from([-1, 1]))
def test_merging_two_signs_keeps_what_cuts_say(n, seed, relation):
    cuts = random_cuts(n, 8, seed)
    labels = np.array([*range(n - 1), 0])
    flips = np.array([1] * (n - 1) + [relation])
    merged, left = cuts.merged(labels, flips)
    for signs in product([-1.0, 1.0], repeat=n - 1):
        t = np.array(signs)
        s = flips * t[labels]
        np.testing.assert_array_equal(merged.slacks(np.outer(t, t)), cuts.select(left).slacks(np.outer(s, s)))


def test_known_cuts_are_not_found_again():
    cuts = random_cuts(9, 30, 0)
    assert fresh(cuts, cuts).count == 0
    once = fresh(cuts.join(cuts), no_cuts())
    rows = np.hstack([cuts.vertices, cuts.signs])
    assert once.count == len(np.unique(rows, axis=0))


@settings(max_examples=25)
@given(st.integers(3, 10), st.integers(0, 2**32 - 1), st.integers(0, 12))
def test_any_round_proves_a_bound(n, seed, rounds):
    weights = np.triu(np.random.default_rng(seed).integers(-5, 6, (n, n)).astype(float), 1)
    weights += weights.T
    if not weights.any():
        return
    cost, unit = scaled_cost(weights)
    tightener = Tightener(cost, start_factor(n, np.random.default_rng(seed)))
    for _ in range(rounds):
        tightener.round()
    proof = tightener.prove(1e-3)
    least = min(0.5 * np.dot(s, weights @ np.array(s)) for s in product([-1.0, 1.0], repeat=n))
    assert proof.bound * unit <= least
    tightener.polish()
    assert tightener.prove(1e-6).bound * unit <= least


@settings(max_examples=25)
@given(st.integers(3, 12), st.integers(0, 2**32 - 1), st.floats(0.01, 3.0))
def test_a_proof_that_need_not_be_exact_exceeds_its_target_or_is_exact(n, seed, short):
    weights = np.triu(np.random.default_rng(seed).integers(1, 6, (n, n)).astype(float), 1)
    cost, _ = scaled_cost(weights + weights.T)
    tightener = Tightener(cost, start_factor(n, np.random.default_rng(seed)))
    tightener.round()
    exact = tightener.prove(1e-9).bound
    for target in (exact - short, exact + short):
        bound = tightener.prove(1e-7, target).bound
        assert bound <= exact + 1e-7
        assert bound > min(target, exact - 1e-7)


def test_larger_cliques_raise_the_bound():
    weights = np.triu(np.random.default_rng(2).random((50, 50)) < 0.5, 1).astype(float)
    weights += weights.T
    cost, unit = scaled_cost(weights)
    bounds = []
    for largest in (3, 7):
        tightener = Tightener(cost, start_factor(50, np.random.default_rng(0)), largest=largest)
        shor = tightener.round()
        for _ in range(25):
            tightener.round()
        tightener.polish()
        bounds.append(tightener.prove(1e-6).bound)
    assert shor < bounds[0] - 1.0 / unit
    assert bounds[0] < bounds[1]


def test_empty_sets_are_sets():
    assert isinstance(no_cuts().merged(np.arange(3), np.ones(3, np.int64))[0], CliqueCuts)
    assert no_cuts().slacks(np.eye(3)).shape == (0,)
