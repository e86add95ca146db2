"""How a solve ends: values are the factor's, and a bound that contradicts one is never certified, on any path."""

import dataclasses
from importlib import import_module

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import Elliptope, MaxCut, Status, low_rank
from solvers.burer_monteiro.finish import judged_gap, judged_status
from solvers.linalg.sphere import normalise
from solvers.problems.solution import STATUSES
from solvers.torch_backend import cut_cost, solve_batch, solve_shared, solve_sparse
from solvers.torch_backend.dense.batch_solver import BatchSolver
from solvers.torch_backend.shared.shared_solver import SharedSolver
from solvers.torch_backend.sparse.sparse_solver import SparseSolver

# modules whose packages call a function by the same name
device_door = import_module("solvers.torch_backend.solve_on_device")
door = import_module("solvers.low_rank")


def costs(kind, order, seed):
    """Symmetric matrices whose solves escape, stall, or end at once."""
    rng = np.random.default_rng(seed)
    if kind == "integer":
        matrix = rng.integers(-5, 6, (order, order)).astype(float)
    elif kind == "graph":
        matrix = (rng.random((order, order)) < 3.0 / order) * rng.choice([-1.0, 1.0], (order, order))
    elif kind == "low rank":
        vector = rng.integers(1, 20, order).astype(float)
        matrix = np.outer(vector, vector)
    else:
        matrix = rng.standard_cauchy((order, order))
    return matrix + matrix.T


@st.composite
def solves(draw):
    """A cost and options of `low_rank`: tolerances from coarse to the finest, ranks from 1 to N, and limits."""
    order = draw(st.integers(1, 24))
    matrix = costs(
        draw(st.sampled_from(["integer", "graph", "low rank", "cauchy"])),
        order,
        draw(st.integers(0, 2**32 - 1)),
    )
    options = {
        "tol": draw(st.sampled_from([0.3, 0.1, 1e-2, 1e-4, 1e-6, 1e-8])),
        "rank": draw(st.integers(1, order)),
        "max_iterations": draw(st.sampled_from([1, 7, 60, 3000])),
        "rng": draw(st.integers(0, 2**32 - 1)),
    }
    if draw(st.booleans()):
        # every row alike is critical: only an escape leads on
        options.pop("rank")
        options["start"] = np.ones((order, 1))
    return sp.csr_array(matrix) if draw(st.booleans()) else matrix, options


@settings(max_examples=250)
@given(solve=solves())
def test_the_value_is_that_of_the_factor_whatever_ended_the_solve(solve):
    """Regression: an escape once left its decrease out of the value that was reported."""
    cost, options = solve
    solution = low_rank(Elliptope(cost), **options)
    matrix = cost.toarray() if sp.issparse(cost) else cost
    value = float(np.vdot(matrix @ solution.factor, solution.factor))
    scale = max(abs(value), float(np.linalg.norm(matrix)))
    assert abs(solution.value - value) <= 1e-12 * scale
    assert abs(np.linalg.norm(solution.factor, axis=1) - 1.0).max() <= 1e-13
    if solution.certified:
        smallest = np.linalg.eigvalsh(matrix - np.diag(solution.dual))[0]
        bound = solution.dual.sum() + len(matrix) * min(smallest, 0.0)
        assert value - bound <= options["tol"] * scale * (1.0 + 1e-9) + 1e-13 * scale


@settings(max_examples=40)
@given(solve=solves())
def test_on_a_device_too(solve):
    cost, options = solve
    solution = low_rank(Elliptope(cost), **options, device="cpu")
    matrix = cost.toarray() if sp.issparse(cost) else cost
    value = float(np.vdot(matrix @ solution.factor, solution.factor))
    assert abs(solution.value - value) <= 1e-12 * max(abs(value), float(np.linalg.norm(matrix)))


def test_a_loose_solve_from_one_column_is_certified():
    """Regression: the value of before an escape once said STALLED."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        matrix = np.triu(rng.integers(-5, 6, (6, 6)), 1).astype(float)
        assert low_rank(Elliptope(matrix + matrix.T), rank=1, tol=0.1, rng=0).certified


def test_a_sparse_cost_on_a_device_in_either_precision(monkeypatch):
    monkeypatch.setattr(device_door, "DENSE_ORDER", 4)
    graph = sp.random_array((80, 80), density=0.05, rng=np.random.default_rng(1))
    problem = MaxCut(graph + graph.T)
    for tol in (1e-2, 1e-3, 1e-6):
        for limit in (15, 100_000):
            solution = low_rank(problem, device="cpu", tol=tol, rng=0, max_iterations=limit)
            cost = problem.relaxation().cost
            value = float(np.vdot(cost @ solution.factor, solution.factor))
            assert solution.value == pytest.approx(value, rel=1e-12)


EXCESS = 0.03


def lifted(value):
    """A bound that contradicts the value, three hundredths above it."""
    return value + EXCESS * abs(value)


def contradicted(found):
    return dataclasses.replace(found, bound=lifted(found.value), reason=Status.CERTIFIED)


def graph(order=12):
    upper = np.triu(np.random.default_rng(0).integers(0, 2, (order, order)), 1)
    return upper + upper.T


def refuse(solution):
    assert solution.status is Status.STALLED
    assert np.isnan(solution.gap)
    assert not solution.certified
    assert solution.lower_bound > solution.value


def refuse_all(solved):
    assert {solved.statuses[int(status)] for status in solved.status} == {Status.STALLED}
    assert bool(solved.gap.isnan().all())
    assert not bool(solved.certified.any())


def test_an_estimate_above_the_value_is_not_certified(monkeypatch):
    solve = door.solve
    monkeypatch.setattr(door, "solve", lambda *rest, **options: contradicted(solve(*rest, **options)))
    refuse(low_rank(MaxCut(graph()), rng=0))


@pytest.mark.parametrize("device", [None, "cpu"])
def test_nor_is_a_proof(monkeypatch, device):
    finish = import_module("solvers.burer_monteiro.finish")
    monkeypatch.setattr(finish, "_proved_bound", lambda relaxation, found: lifted(found.value))
    refuse(low_rank(MaxCut(graph()), rng=0, certificate="rigorous", device=device))


def test_nor_is_what_a_device_found(monkeypatch):
    whole = device_door.solve_batch

    def wrong(*arguments, **options):
        solved = whole(*arguments, **options)
        return dataclasses.replace(solved, lower_bound=lifted(solved.value), gap=-EXCESS + 0.0 * solved.gap)

    monkeypatch.setattr(device_door, "solve_batch", wrong)
    refuse(low_rank(MaxCut(graph()), rng=0, device="cpu"))


def test_nor_is_what_a_device_found_of_a_sparse_cost(monkeypatch):
    whole = device_door.solve_sparse

    def wrong(*arguments, **options):
        solved = whole(*arguments, **options)
        return dataclasses.replace(solved, lower_bound=lifted(solved.value), gap=0.0)

    monkeypatch.setattr(device_door, "solve_sparse", wrong)
    monkeypatch.setattr(device_door, "DENSE_ORDER", 4)
    refuse(low_rank(MaxCut(graph()), rng=0, device="cpu"))


def wrong_run(run):
    def contradicting(self):
        run(self)
        self.bound = lifted(self.value)
        self.status[:] = STATUSES.index(Status.CERTIFIED)

    return contradicting


def test_nor_are_batches(monkeypatch):
    monkeypatch.setattr(BatchSolver, "run", wrong_run(BatchSolver.run))
    refuse_all(solve_batch(torch.from_numpy(graph()).double().expand(3, -1, -1)))


def test_nor_are_problems_that_share_a_matrix(monkeypatch):
    monkeypatch.setattr(SharedSolver, "run", wrong_run(SharedSolver.run))
    refuse_all(solve_shared(torch.from_numpy(graph()).double(), torch.ones(3, 12, dtype=torch.float64)))


def test_nor_is_a_huge_sparse_cost(monkeypatch):
    solve = SparseSolver.solve

    def contradicting(self, *arguments):
        solve(self, *arguments)
        self.bound = lifted(self.value)

    monkeypatch.setattr(SparseSolver, "solve", contradicting)
    refuse(solve_sparse(cut_cost(torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]]))))


def test_gaps_and_statuses_are_judged_alike():
    gaps = judged_gap(
        [-9.0, -10.0, -10.0 - 1e-13, -10.0, np.nan, 0.0], [-10.0, -10.0, -10.0, -9.0, -9.0, 0.0], 10.0
    )
    np.testing.assert_array_equal(gaps, [0.1, 0.0, 0.0, np.nan, np.nan, 0.0])
    assert float(judged_gap(0.0, 0.0, 0.0)) == 0.0
    reasons = [STATUSES.index(Status.CERTIFIED)] * 4 + [STATUSES.index(Status.TIME_LIMIT), -1]
    found = judged_status(reasons, gaps, 0.05)
    names = [STATUSES[place].name for place in found[:5]]
    assert names == ["NOT_CERTIFIED", "CERTIFIED", "CERTIFIED", "STALLED", "TIME_LIMIT"]


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-160, 1e160, 1e200, 1e300])
def test_start_rows_of_any_length_count_by_their_direction(scale, device):
    """Regression: rows of 1e200 came back as zeros, those of 1e160 ended in IndexError, of 1e-200 were refused."""
    cost = np.array([[0.0, 2.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, -3.0]])
    start = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.25]])
    plain = low_rank(Elliptope(cost), start=start, rng=0, device=device)
    far = low_rank(Elliptope(cost), start=start * scale, rng=0, device=device)
    assert far.certified
    assert far.value == pytest.approx(plain.value, rel=1e-12)
    np.testing.assert_allclose(far.factor, plain.factor, atol=1e-6)


def test_rows_of_very_different_entries_stay_finite():
    rows = np.array([[1e300, 1e-300], [5e-324, 0.0], [1e200, 1e200]])
    np.testing.assert_allclose(normalise(rows), [[1.0, 0.0], [1.0, 0.0], [0.5**0.5, 0.5**0.5]], rtol=1e-15)
    with pytest.raises(ValueError, match="row 1 is"):
        normalise(np.array([[1e200, 0.0], [0.0, 0.0]]))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_start_tensors_of_any_length_count_by_their_direction(scale):
    matrix = torch.from_numpy(graph()).float()
    start = torch.randn(1, 12, 3, generator=torch.Generator().manual_seed(0))
    dense = [solve_batch(matrix[None], start=start * factor) for factor in (1.0, scale)]
    torch.testing.assert_close(dense[1].value, dense[0].value, rtol=1e-5, atol=0.0)
    linear = torch.zeros(1, 11)
    shared = [solve_shared(matrix[1:, 1:], linear, start=start * factor) for factor in (1.0, scale)]
    torch.testing.assert_close(shared[1].value, shared[0].value, rtol=1e-3, atol=1e-6)
    cost = cut_cost(torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]]))
    sparse = [solve_sparse(cost, start=start[0, :5].contiguous() * factor) for factor in (1.0, scale)]
    assert all(solution.certified for solution in sparse)
