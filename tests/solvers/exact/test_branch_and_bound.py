"""Branch and bound: equal to enumeration, never a false proof, the same tree after a break, honest statuses."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from solvers import BinaryQuadratic, Elliptope, MaxCut, TreeEnd, branch_and_bound, brute_force
from solvers.branching import bounding
from solvers.branching import branch_and_bound as driver
from solvers.testing import degenerate_problems


def random_graph(n, seed, *, density=0.5, signed=False):
    rng = np.random.default_rng(seed)
    weights = rng.choice([-1.0, 1.0], (n, n)) if signed else np.ones((n, n))
    upper = np.triu(weights * (rng.random((n, n)) < density), 1)
    return upper + upper.T


@pytest.fixture
def weak_bounds(monkeypatch):
    """Few rounds a node, so that small problems branch."""
    monkeypatch.setattr(bounding, "MAX_ROUNDS", 2)


def summary(solution):
    return [(node.number, node.parent, node.pair, node.bound, node.finished) for node in solution.tree]


@pytest.fixture(params=[0, bounding.ENUMERATED], ids=["bounds", "enumeration"])
def enumerated(request, monkeypatch):
    """Small nodes by bounds, or by enumeration."""
    monkeypatch.setattr(bounding, "ENUMERATED", request.param)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(degenerate_problems(max_n=10))
def test_every_optimum_is_that_of_enumeration(enumerated, problem):
    solution = branch_and_bound(problem, rng=0)
    minimum = brute_force(problem).value
    scale = max(abs(minimum), float(np.linalg.norm(problem.b)), np.finfo(float).tiny)
    assert solution.optimal
    assert solution.value == pytest.approx(minimum, rel=1e-6, abs=1e-6 * scale)
    assert solution.lower_bound <= minimum + 1e-9 * scale
    assert solution.gap <= 1e-6
    assert solution.value == pytest.approx(
        float(problem.evaluate(solution.signs)), rel=1e-9, abs=1e-9 * scale
    )


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 14), st.integers(0, 2**32 - 1), st.sampled_from([1.0, 0.5, 6.0, 2.0**40]))
def test_whole_numbers_are_proved_exactly(enumerated, n, seed, scale):
    rng = np.random.default_rng(seed)
    A = rng.integers(-4, 5, (n, n))
    problem = BinaryQuadratic(scale * (A + A.T), scale * rng.integers(-4, 5, n), constant=scale)
    solution = branch_and_bound(problem, rng=0)
    assert solution.value == solution.lower_bound == brute_force(problem).value
    assert solution.gap == 0.0
    assert float(problem.evaluate(solution.signs)) == solution.value


@pytest.mark.parametrize("n", [5, 9, 51])
def test_odd_cycles_lose_one_edge(n):
    ring = np.roll(np.eye(n), 1, axis=1)
    solution = branch_and_bound(MaxCut(ring + ring.T), rng=0)
    assert solution.optimal
    assert solution.report()["value"] == solution.report()["upper_bound"] == n - 1


def test_complete_graphs_need_branching_or_cliques():
    solution = branch_and_bound(MaxCut(1.0 - np.eye(11)), rng=0)
    assert solution.optimal
    assert solution.report()["value"] == 30


def test_homogenised_elliptopes_keep_their_first_sign():
    rng = np.random.default_rng(3)
    A = rng.integers(-3, 4, (9, 9)).astype(float)
    problem = Elliptope(A + A.T, homogenised=True)
    solution = branch_and_bound(problem, rng=0)
    assert solution.signs[0] == 1
    assert solution.value == brute_force(problem).value


def test_a_break_and_a_checkpoint_lead_to_the_same_tree(tmp_path, weak_bounds):
    problem = MaxCut(random_graph(24, 4, density=0.9, signed=True))
    whole = branch_and_bound(problem, rng=0)
    assert len(whole.tree) >= 3, "an instance that branches"
    path = tmp_path / "search.npz"

    def stop(moment):
        raise StopIteration

    for _ in range(len(whole.tree) - 1):
        part = branch_and_bound(problem, rng=0, checkpoint=path, callback=stop)
        assert part.status is TreeEnd.INTERRUPTED
        assert part.lower_bound <= whole.value <= part.value
        assert part.open_nodes > 0
    resumed = branch_and_bound(problem, rng=0, checkpoint=path)
    assert resumed.optimal
    assert summary(resumed) == summary(whole)
    np.testing.assert_array_equal(resumed.signs, whole.signs)


def test_a_search_that_is_killed_goes_on_from_its_last_checkpoint(tmp_path, weak_bounds, monkeypatch):
    problem = MaxCut(random_graph(24, 4, density=0.9, signed=True))
    whole = branch_and_bound(problem, rng=0)
    path = tmp_path / "search.npz"
    monkeypatch.setattr(driver, "CHECKPOINT_SECONDS", 0.0)

    class Killed(BaseException):
        """Nothing is saved on its way out, as where the process dies."""

    def die(moment):
        if moment.nodes == 2:
            raise Killed

    with pytest.raises(Killed):
        branch_and_bound(problem, rng=0, checkpoint=path, callback=die)
    assert path.exists()
    resumed = branch_and_bound(problem, rng=0, checkpoint=path)
    assert summary(resumed) == summary(whole)
    np.testing.assert_array_equal(resumed.signs, whole.signs)


def test_an_interrupt_inside_a_node_loses_only_that_node(tmp_path, weak_bounds, monkeypatch):
    from solvers.cuts import tighten

    problem = MaxCut(random_graph(24, 4, density=0.9, signed=True))
    whole = branch_and_bound(problem, rng=0)
    path, calls = tmp_path / "search.npz", []
    prove = tighten.Tightener.prove

    def interrupted(self, *arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return prove(self, *arguments)

    monkeypatch.setattr(tighten.Tightener, "prove", interrupted)
    part = branch_and_bound(problem, rng=0, checkpoint=path)
    assert part.status is TreeEnd.INTERRUPTED
    monkeypatch.setattr(tighten.Tightener, "prove", prove)
    assert summary(branch_and_bound(problem, rng=0, checkpoint=path)) == summary(whole)


def test_the_same_seed_grows_the_same_tree(weak_bounds):
    problem = MaxCut(random_graph(24, 1, density=0.9, signed=True))
    assert summary(branch_and_bound(problem, rng=5)) == summary(branch_and_bound(problem, rng=5))


def test_several_workers_prove_the_same_value(weak_bounds):
    problem = MaxCut(random_graph(24, 2, density=0.9, signed=True))
    alone = branch_and_bound(problem, rng=0)
    with ThreadPoolExecutor(2) as executor:
        together = branch_and_bound(problem, rng=0, workers=executor)
    assert together.optimal
    assert together.value == together.lower_bound == alone.value


def test_a_time_limit_leaves_a_valid_bound():
    problem = MaxCut(random_graph(90, 0))
    solution = branch_and_bound(problem, max_seconds=0.05, rng=0)
    assert solution.status is TreeEnd.TIME_LIMIT
    assert solution.lower_bound <= solution.value
    assert not solution.optimal


def test_a_wide_gap_is_reached_at_the_root():
    problem = MaxCut(random_graph(40, 1, density=0.9, signed=True))
    solution = branch_and_bound(problem, gap=0.5, rng=0)
    assert solution.status is TreeEnd.GAP_REACHED
    assert 0 < solution.gap <= 0.5
    assert solution.nodes == 1


def test_checkpoints_of_other_problems_are_refused(tmp_path):
    path = tmp_path / "search.npz"
    branch_and_bound(MaxCut(random_graph(8, 0)), checkpoint=path, rng=0)
    with pytest.raises(ValueError, match="another problem"):
        branch_and_bound(MaxCut(random_graph(8, 1)), checkpoint=path, rng=0)
    path.write_text("not a checkpoint")
    with pytest.raises(ValueError, match="branch_and_bound wrote"):
        branch_and_bound(MaxCut(random_graph(8, 1)), checkpoint=path, rng=0)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"gap": -1.0}, "gap"),
        ({"max_seconds": 0.0}, "max_seconds"),
        ({"workers": 0}, "workers"),
        ({"proof": 1}, "proof"),
        ({"callback": 3}, "callback"),
    ],
)
def test_bad_options_are_refused(options, error):
    with pytest.raises((TypeError, ValueError), match=error):
        branch_and_bound(MaxCut(np.zeros((2, 2))), **options)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["g05_60.0", "pm1s_80.0"])
def test_library_problems_are_proved(shared_data, name):
    import json

    from solvers import read_rudy

    best = json.loads((shared_data / "biqmac" / "optima.json").read_text())[name]["best"]
    solution = branch_and_bound(read_rudy(shared_data / "biqmac" / name), rng=0)
    assert solution.optimal
    assert solution.report()["value"] == best
