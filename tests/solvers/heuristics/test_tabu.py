"""Two-flip search and tabu search: local optimality, agreement with enumeration, scales, limits, honesty."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import random_graph

from solvers import (
    BinaryQuadratic,
    Elliptope,
    MaxCut,
    SearchEnd,
    brute_force,
    exact,
    low_rank,
    one_flip,
    read_problem,
    round_homogeneous,
    tabu_search,
    two_flip,
)
from solvers.heuristics.pool import partition_crossover
from solvers.heuristics.tabu_walk import TabuWalk
from solvers.problems.binary_form import binary_form
from solvers.testing import REPRESENTATIONS, degenerate_problems, in_representation

BEST_KNOWN = {"G1": 11624, "G51": 3848, "G11": 564}


def minimised(problem, signs):
    """Objective in the minimised sense, by the problem's own evaluation."""
    return (-1 if isinstance(problem, MaxCut) else 1) * float(problem.evaluate(signs))


def coefficients(problem):
    """Sum of the absolute coefficients: what rounding errors are relative to."""
    relaxation = problem.relaxation()
    return float(np.abs(relaxation.cost @ np.eye(relaxation.size)).sum())


def least_after_flips(problem, signs):
    """Objective at the best point that differs in one sign or two."""
    n = signs.shape[0]
    first, second = np.triu_indices(n)
    neighbours = np.repeat(signs[None, :].astype(int), first.shape[0], axis=0)
    rows = np.arange(first.shape[0])
    neighbours[rows, first] *= -1
    neighbours[rows, second] *= np.where(first == second, 1, -1)
    values = problem.evaluate(neighbours)
    return -float(values.max()) if isinstance(problem, MaxCut) else float(values.min())


def random_problem(n, seed=0, *, linear=True, representation="dense", scale=1.0):
    rng = np.random.default_rng(seed)
    A = scale * rng.standard_normal((n, n))
    b = scale * rng.standard_normal(n) if linear else None
    return BinaryQuadratic(in_representation(A + A.T, representation), b, constant=2.5 * scale)


@settings(max_examples=60)
@given(problem=degenerate_problems(max_n=14), seed=st.integers(0, 2**32 - 1))
def test_no_flip_of_one_or_two_signs_gains(problem, seed):
    start = np.random.default_rng(seed).choice([-1, 1], problem.n)
    rounding = 1e-11 * coefficients(problem)
    pairs = two_flip(problem, start)
    found = tabu_search(problem, start, max_iterations=50, rng=seed)
    for signs in (pairs, found.signs):
        value = minimised(problem, signs)
        assert least_after_flips(problem, signs) >= value - rounding
        assert value <= minimised(problem, start) + rounding
    assert abs(found.value - minimised(problem, found.signs)) <= rounding
    assert found.value <= minimised(problem, pairs) + rounding


@settings(max_examples=40)
@given(problem=degenerate_problems(max_n=16), seed=st.integers(0, 2**32 - 1))
def test_small_problems_are_solved(problem, seed):
    """Three thousand flips on 2^16 points and less: no drawn example may miss the minimum."""
    start = np.random.default_rng(seed).choice([-1, 1], problem.n)
    found = tabu_search(problem, start, max_iterations=3_000, rng=seed)
    assert found.value <= brute_force(problem).value + 1e-11 * coefficients(problem)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_hard_small_problems_need_the_search(representation):
    """One walk of two-flip search misses about a third of these minima; the tabu search finds all."""
    missed = 0
    for seed in range(20):
        problem = random_problem(16, seed, representation=representation)
        start = np.random.default_rng(seed).choice([-1, 1], 16)
        minimum = brute_force(problem).value
        found = tabu_search(problem, start, max_iterations=3_000, rng=seed)
        assert found.value == pytest.approx(minimum, rel=1e-12)
        missed += minimised(problem, two_flip(problem, start)) > minimum + 1e-9
    assert missed >= 3


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_scales_make_the_same_moves(representation, linear):
    """Powers of two scale without rounding, so the walk must not change, from about 1e-8 to about 1e8."""
    start = np.random.default_rng(1).choice([-1, 1], 30)
    reference = random_problem(30, 5, linear=linear, representation=representation)
    signs = tabu_search(reference, start, max_iterations=400, rng=2).signs
    pairs = two_flip(reference, start)
    for exponent in (-27, 27):
        scaled = random_problem(30, 5, linear=linear, representation=representation, scale=2.0**exponent)
        np.testing.assert_array_equal(tabu_search(scaled, start, max_iterations=400, rng=2).signs, signs)
        np.testing.assert_array_equal(two_flip(scaled, start), pairs)


def test_two_flip_is_better_than_one_flip_on_average():
    graph = MaxCut(random_graph(400, 3))
    starts = np.random.default_rng(0).choice([-1, 1], (50, 400))
    untouched = starts.copy()
    singles, pairs = graph.evaluate(one_flip(graph, starts)), graph.evaluate(two_flip(graph, starts))
    np.testing.assert_array_equal(starts, untouched)
    assert np.all(pairs >= graph.evaluate(starts))
    assert pairs.mean() >= 1.01 * singles.mean()


def test_two_flip_does_not_depend_on_the_representation():
    starts = np.random.default_rng(0).choice([-1, 1], (10, 25))
    found = [two_flip(random_problem(25, representation=form), starts) for form in REPRESENTATIONS]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize(
    "problem", [random_problem(60), MaxCut(random_graph(300, 4))], ids=["dense", "sparse"]
)
def test_walks_keep_their_fields_and_best_point(problem):
    """However the steps are cut into calls: the path is the same, fields follow, and the best is what it says."""
    form = binary_form(problem)
    start = np.random.default_rng(0).choice([-1.0, 1.0], problem.n)
    whole, cut = (TabuWalk(form, np.random.default_rng(3)) for _ in range(2))
    whole.start(start)
    cut.start(start)
    whole.advance(2_000, 10_000)
    for budget in (1, 7, 500, 492, 1_000):
        cut.advance(budget, 10_000)
    np.testing.assert_array_equal(whole.best, cut.best)
    np.testing.assert_array_equal(whole._signs, cut._signs)
    assert whole.steps == cut.steps == 2_000
    fields = whole.zero_diagonal @ whole._signs + 0.5 * form.b
    np.testing.assert_allclose(whole._fields, fields, atol=1e-9)
    assert whole.best_value == pytest.approx(float(form.evaluate(whole.best[None, :])[0]), rel=1e-10)
    assert whole.best_value < float(form.evaluate(start[None, :])[0])
    assert float(form.evaluate(whole._signs[None, :])[0]) == pytest.approx(whole._values[0], rel=1e-9)


@pytest.mark.parametrize(
    "problem", [random_problem(60), MaxCut(random_graph(300, 4))], ids=["dense", "sparse"]
)
def test_a_flipped_sign_stays_for_its_tenure(problem):
    """Step by step: a sign may come back early only by going below everything seen before."""
    walk = TabuWalk(binary_form(problem), np.random.default_rng(0))
    walk.start(np.ones(problem.n))
    last_flip, early = {}, 0
    for step in range(600):
        before, best = walk._signs.copy(), walk.best_value
        walk.advance(1, 10_000)
        (j,) = np.flatnonzero(before != walk._signs)
        if step - last_flip.get(j, -1_000) <= walk._tenure[0]:
            assert walk.best_value < best
            early += 1
        else:
            last_flip[j] = step
    assert early < 60


def test_the_best_free_flip_is_taken():
    problem = MaxCut(random_graph(200, 5))
    walk = TabuWalk(binary_form(problem), np.random.default_rng(0))
    walk.start(np.ones(200))
    for _ in range(3):
        gains = walk._signs * walk._fields
        before = walk._signs.copy()
        walk.advance(1, 100)
        (j,) = np.flatnonzero(before != walk._signs)
        assert gains[j] == gains[before == 1].max()


def test_combining_takes_the_better_of_every_cluster():
    """Two triangles apart: one point has the left one cut, the other the right one; together both."""
    triangle = np.ones((3, 3)) - np.eye(3)
    problem = MaxCut(np.kron(np.eye(2), triangle))
    form = binary_form(problem)
    walk = TabuWalk(form, np.random.default_rng(0))
    first, second = np.array([1.0, 1, -1, 1, 1, 1]), np.array([1.0, 1, 1, 1, 1, -1])
    child = partition_crossover(walk.zero_diagonal, 0.5 * form.b, first, second, np.random.default_rng(0))
    assert float(problem.evaluate(child)) == 4.0
    assert float(problem.evaluate(first)) == float(problem.evaluate(second)) == 2.0


@settings(max_examples=60)
@given(
    problem=degenerate_problems(min_n=2, max_n=12, representations=("dense", "sparse")),
    seed=st.integers(0, 2**31),
)
def test_combining_never_loses(problem, seed):
    form, rng = binary_form(problem), np.random.default_rng(seed)
    walk = TabuWalk(form, rng)
    first, second = rng.choice([-1.0, 1.0], (2, problem.n))
    child = partition_crossover(walk.zero_diagonal, 0.5 * form.b, first, second, rng)
    assert minimised(problem, child) <= minimised(problem, first) + 1e-9 * coefficients(problem)
    assert np.all((child == first) | (child == second))


def test_seeds_decide_and_global_state_is_untouched():
    problem = MaxCut(random_graph(300, 5))
    start = np.ones(300)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    runs = [tabu_search(problem, start, max_iterations=3_000, rng=seed) for seed in (7, 7, 8)]
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.testing.assert_array_equal(runs[0].signs, runs[1].signs)
    assert runs[0].value == runs[1].value
    assert runs[0].iterations == 3_000
    assert not np.array_equal(runs[0].signs, runs[2].signs)
    assert np.all(start == 1)


def test_several_starts_are_none_worse_than_the_best_of_them():
    problem = random_problem(80, linear=False)
    starts = np.random.default_rng(0).choice([-1, 1], (30, 80))
    found = tabu_search(problem, starts, max_iterations=1, rng=0)
    assert found.value <= problem.evaluate(two_flip(problem, starts)).min() + 1e-9
    assert found.status is SearchEnd.ITERATION_LIMIT


def test_gap_is_that_of_the_bound_and_zero_is_met_only_when_proved():
    problem = MaxCut(random_graph(60, 4))
    solution = low_rank(problem, rng=0)
    found = tabu_search(problem, np.ones(60), max_iterations=2_000, solution=solution, rng=0)
    assert found.lower_bound == solution.lower_bound
    assert found.certificate == solution.certificate
    assert found.gap == pytest.approx((found.value - solution.lower_bound) / -found.value, rel=1e-9)
    assert found.value >= solution.lower_bound
    without = tabu_search(problem, np.ones(60), max_iterations=2_000, rng=0)
    assert (without.lower_bound, without.gap, without.certificate) == (None, None, "none")


def test_bound_met_stops_at_once_and_is_true():
    """An even cycle is cut whole, and its relaxation says so: the search must stop before its limit."""
    cycle = np.roll(np.eye(20), 1, axis=1)
    problem = MaxCut(cycle + cycle.T)
    found = tabu_search(problem, np.ones(20), solution=low_rank(problem, rng=0), max_iterations=10**6, rng=0)
    assert found.status is SearchEnd.BOUND_MET
    assert found.value == -20
    assert found.iterations < 10**5
    # values half apart: the same argument would be false, and the same difference must not end the search
    weights = 0.5 * (cycle + cycle.T)
    weights[0, 2] = weights[2, 0] = 0.3
    halves = MaxCut(weights)
    bound = dataclasses.replace(low_rank(halves, rng=0), lower_bound=brute_force(halves).value - 0.6)
    assert (
        tabu_search(halves, np.ones(20), solution=bound, max_iterations=5_000, rng=0).status
        is SearchEnd.ITERATION_LIMIT
    )


def test_limits_and_interruptions_keep_the_best():
    problem = MaxCut(random_graph(500, 5))
    moments = []

    def stop(moment):
        moments.append(moment)
        if len(moments) == 4:
            raise StopIteration

    found = tabu_search(problem, np.ones(500), max_seconds=60, rng=0, callback=stop)
    assert found.status is SearchEnd.INTERRUPTED
    assert found.value <= min(moment.value for moment in moments) + 1e-9
    assert [moment.value for moment in moments] == sorted((m.value for m in moments), reverse=True)

    def interrupt(moment):
        if moment.walks == 2:
            raise KeyboardInterrupt

    assert tabu_search(problem, np.ones(500), rng=0, callback=interrupt).status is SearchEnd.INTERRUPTED
    found = tabu_search(problem, np.ones(500), max_seconds=1e-9, rng=0)
    assert found.status is SearchEnd.TIME_LIMIT
    assert "max_seconds" in found.message
    assert -found.value >= float(problem.evaluate(two_flip(problem, np.ones(500))))


def test_homogenised_elliptope_keeps_its_first_sign():
    relaxation = random_problem(9).relaxation()
    found = tabu_search(relaxation, -np.ones(10), max_iterations=2_000, rng=0)
    assert found.signs[0] == 1
    assert found.value == pytest.approx(brute_force(relaxation).value, rel=1e-12)
    assert found.value == pytest.approx(float(relaxation.evaluate(found.signs)), rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_smallest_problems(n):
    for problem in (random_problem(n), BinaryQuadratic(np.zeros((n, n))), MaxCut(sp.csr_array((n, n)))):
        found = tabu_search(problem, np.ones(n), max_iterations=200, rng=0)
        assert found.value == pytest.approx(brute_force(problem).value, rel=1e-12, abs=1e-15)
        assert two_flip(problem, np.ones(n)).shape == (n,)


def test_rounding_with_two_flips_is_none_worse_sample_by_sample():
    solution = low_rank(MaxCut(random_graph(200, 4)), rng=0)
    one, two = (
        round_homogeneous(solution, samples=40, local_search=search, rng=3)
        for search in ("one-flip", "two-flip")
    )
    same = round_homogeneous(solution, samples=40, rng=3)
    np.testing.assert_array_equal(one.values, same.values)
    assert np.all(two.values <= one.values)
    assert two.values.mean() < one.values.mean()


def test_bad_arguments_are_named():
    problem = random_problem(4)
    other = exact(random_problem(4, 1))
    start = np.ones(4)
    with pytest.raises(
        TypeError, match="problem must be a BinaryQuadratic, MaxCut or Elliptope; found numpy ndarray"
    ):
        tabu_search(np.eye(4), start)
    with pytest.raises(ValueError, match="signs must hold only"):
        tabu_search(problem, [0, 1, 1, 1])
    with pytest.raises(ValueError, match="signs must hold only"):
        two_flip(problem, [1, 1, 1, np.nan])
    with pytest.raises(ValueError, match=r"signs must have shape \(..., 4\); found \(3,\)"):
        tabu_search(problem, [1, 1, 1])
    with pytest.raises(ValueError, match="signs must hold at least one point"):
        tabu_search(problem, np.ones((0, 4)))
    with pytest.raises(ValueError, match="max_seconds must be positive"):
        tabu_search(problem, start, max_seconds=0)
    with pytest.raises(ValueError, match="max_iterations must be at least 1"):
        tabu_search(problem, start, max_iterations=0)
    with pytest.raises(TypeError, match="max_iterations must be an integer"):
        tabu_search(problem, start, max_iterations=1.5)
    with pytest.raises(TypeError, match="solution must be a Solution; found float"):
        tabu_search(problem, start, solution=1.0)
    with pytest.raises(ValueError, match="solution must be of this very problem"):
        tabu_search(problem, start, solution=other)
    with pytest.raises(ValueError, match="local_search must be True, False, 'one-flip' or 'two-flip'"):
        round_homogeneous(other, local_search="three-flip")


def test_large_operators_are_refused_in_words():
    operator = sp.linalg.aslinearoperator(sp.eye_array(5000, format="csr"))
    for search in (tabu_search, two_flip):
        with pytest.raises(
            ValueError, match="a LinearOperator is formed densely, up to order 4096; found 5000"
        ):
            search(Elliptope(operator), np.ones(5000))


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["G1", "G51", "G11"])
def test_real_graphs_come_within_a_percent_of_the_best_known_cut(shared_data, name):
    problem = read_problem(shared_data / "gset" / name)
    solution = low_rank(problem, tol=1e-4, rng=0)
    rounding = round_homogeneous(solution, samples=100, rng=0)
    found = tabu_search(problem, rounding.signs, solution=solution, max_iterations=500_000, rng=0)
    assert rounding.value > found.value
    assert float(problem.evaluate(found.signs)) == -found.value
    assert 0.99 * BEST_KNOWN[name] <= -found.value <= BEST_KNOWN[name]
