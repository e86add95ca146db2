"""The sparse solver on tensors agrees with the NumPy solver, and its bound is one."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import from_edges, random_graph, seeded, star, torus

from solvers import Elliptope, MaxCut, Status, low_rank
from solvers.testing import planted
from solvers.torch_backend import cut_cost, edge_cost, solve_sparse, sparse_cost

ACCURACY = {torch.float32: 1e-4, torch.float64: 1e-6}
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}


def bound_of(matrix, dual):
    """1^T y + n lambda_min(C - Diag(y)) by LAPACK, n and lambda_min over the rows that meet others.

    The solver's y is such that C - Diag(y) should be PSD already.
    """
    zero_diagonal = matrix.toarray()
    np.fill_diagonal(zero_diagonal, 0.0)
    meets = zero_diagonal.any(axis=1)
    slack = (matrix.toarray() - np.diag(dual))[np.ix_(meets, meets)]
    return dual.sum() + meets.sum() * min(np.linalg.eigvalsh(slack)[0] if meets.any() else 0.0, 0.0)


def check(matrix, dtype, seed=0):
    """Solve both ways; compare values, and recompute value and bound from factor and dual."""
    scale = max(abs(matrix).sum(), 1e-300)
    solution = solve_sparse(sparse_cost(matrix, dtype=dtype), tol=TOLERANCE[dtype], generator=seeded(seed))
    reference = low_rank(Elliptope(matrix), tol=1e-8, rng=seed)
    size = max(abs(reference.value), np.linalg.norm(matrix.data), 1e-300)
    assert solution.status is Status.CERTIFIED
    assert solution.gap <= TOLERANCE[dtype]
    assert abs(solution.value - reference.value) <= ACCURACY[dtype] * size
    rounding = (1e-6 if dtype is torch.float32 else 1e-12) * scale
    assert solution.lower_bound <= reference.value + rounding
    factor, dual = solution.factor.double().numpy(), solution.dual.numpy()
    assert np.allclose(np.linalg.norm(factor, axis=1), 1.0, atol=1e-6)
    assert abs(np.vdot(matrix @ factor, factor) - solution.value) <= rounding
    # the eigenvalue is an estimate, whose error is estimated too
    assert solution.lower_bound <= bound_of(matrix, dual) + rounding + 0.1 * TOLERANCE[dtype] * size
    return solution


@st.composite
def graphs(draw):
    """Connected or not, with isolated vertices, weights of both signs, any scale, down to no edges at all."""
    order = draw(st.integers(1, 40))
    count = draw(st.integers(0, 3 * order))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    first, second = rng.integers(0, order, (2, count))
    weights = rng.choice(draw(st.sampled_from([(1.0,), (-1.0, 1.0), (0.3, -2.0, 0.7)])), count)
    return from_edges(order, first, second, weights * draw(st.sampled_from([1.0, 1e-12, 1e12])))


@settings(max_examples=12)
@given(matrix=graphs(), diagonal=st.booleans())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_agrees_with_the_solver_on_arrays(matrix, diagonal, dtype):
    if diagonal:
        matrix = sp.csr_array(matrix + sp.diags_array(np.linspace(-1.0, 1.0, matrix.shape[0])))
    check(matrix, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "matrix",
    [random_graph(400, 5, 0), torus(16, 1), sp.block_diag([torus(12, 2), random_graph(60, 3, 3)], "csr")],
    ids=["random", "torus", "apart"],
)
def test_it_agrees_where_lanczos_certifies(matrix, dtype):
    check(sp.csr_array(matrix), dtype)


@pytest.mark.parametrize("seed", [387, 551, 840, 854, 1392])
def test_small_problems_reach_the_gap_that_float32_can(seed):
    """The predicted error is lost in rounding before the gap, its square root, is within the tolerance."""
    rng = np.random.default_rng(seed)
    order = int(rng.integers(1, 41))
    first, second = rng.integers(0, order, (2, int(rng.integers(0, 3 * order + 1))))
    weights = rng.choice([(1.0,), (-1.0, 1.0), (0.3, -2.0, 0.7)][seed % 3], first.shape[0])
    check(from_edges(order, first, second, weights), torch.float32)


def test_a_narrow_start_is_widened_until_it_certifies():
    matrix = random_graph(500, 5, 4)
    solution = solve_sparse(sparse_cost(matrix), rank=2, tol=1e-4, generator=seeded(0))
    assert solution.certified
    assert solution.rank > 2
    assert [moment.rank for moment in solution.history] == sorted(moment.rank for moment in solution.history)


def test_rows_with_thousands_of_entries_are_gathered_in_pieces():
    matrix = star(3000)
    solution = solve_sparse(sparse_cost(matrix, dtype=torch.float64), tol=1e-4, generator=seeded(0))
    reference = low_rank(Elliptope(matrix), tol=1e-6, rng=0)
    assert solution.certified
    assert abs(solution.value - reference.value) <= 1e-4 * abs(reference.value)


def test_a_planted_optimum_is_found():
    instance = planted.planted_sparse(300, 3, rng=0)
    cost = sparse_cost(instance.problem.A, dtype=torch.float64)
    solution = solve_sparse(cost, tol=1e-4, generator=seeded(0))
    assert solution.certified
    assert solution.lower_bound <= instance.value + 1e-9 * abs(instance.value)
    assert abs(solution.value - instance.value) <= 1e-4 * max(abs(instance.value), cost.frobenius())


def test_the_same_seed_gives_the_same_bits():
    cost = sparse_cost(torus(20, 0))
    first, second, other = (solve_sparse(cost, tol=1e-3, generator=seeded(seed)) for seed in (5, 5, 6))
    assert torch.equal(first.factor, second.factor)
    assert (first.value, first.lower_bound) == (second.value, second.lower_bound)
    assert not torch.equal(first.factor, other.factor)


def test_a_solution_is_a_start():
    cost = sparse_cost(torus(20, 0))
    first = solve_sparse(cost, tol=1e-3, generator=seeded(0))
    again = solve_sparse(cost, tol=1e-3, start=first.factor, generator=seeded(0))
    assert again.iterations < first.iterations
    assert again.value <= first.value + 1e-6 * abs(first.value)


def test_limits_and_callbacks_leave_a_valid_bound():
    matrix = torus(20, 0)
    cost, best = sparse_cost(matrix), low_rank(Elliptope(matrix), tol=1e-6, rng=0).value

    def stop(moment):
        raise StopIteration

    limited = solve_sparse(cost, tol=1e-5, max_iterations=13, generator=seeded(0))
    assert (limited.status, limited.iterations) == (Status.ITERATION_LIMIT, 13)
    timed = solve_sparse(cost, tol=1e-5, max_seconds=1e-9, generator=seeded(0))
    assert timed.status is Status.TIME_LIMIT
    stopped = solve_sparse(cost, tol=1e-5, callback=stop, generator=seeded(0))
    assert stopped.status is Status.INTERRUPTED
    for solution in (limited, timed, stopped):
        assert solution.lower_bound <= best <= solution.value
        assert solution.gap < 1.0


def test_cuts_and_edges_mean_what_the_problems_on_arrays_mean():
    edges, weights = (
        torch.tensor([[0, 1, 2, 3, 0, 0], [1, 2, 3, 0, 2, 2]]),
        torch.tensor([1.0, 2, 3, 4, 5, -1]),
    )
    graph = from_edges(4, *edges.numpy(), weights.numpy())
    relaxation = MaxCut(graph).relaxation()
    cut = solve_sparse(cut_cost(edges, weights.double()), tol=1e-6, generator=seeded(0))
    reference = low_rank(MaxCut(graph), tol=1e-8, rng=0)
    assert cut.report()["value"] == pytest.approx(reference.report()["value"], rel=1e-6)
    assert cut.gap == pytest.approx(
        (cut.value - cut.lower_bound) / max(abs(cut.value), np.linalg.norm(relaxation.cost.data)), abs=1e-9
    )
    plain = edge_cost(edges, weights, order=6)
    assert np.array_equal(
        sp.csr_array((plain.values, plain.indices, plain.pointers), shape=(6, 6)).toarray()[:4, :4],
        graph.toarray(),
    )


def test_low_rank_takes_a_device_for_large_sparse_problems():
    problem = MaxCut(torus(50, 0))
    ours, theirs = (low_rank(problem, tol=1e-3, device=device, rng=0) for device in (None, "cpu"))
    assert theirs.certified
    assert theirs.factor.dtype == np.float64
    assert theirs.value == pytest.approx(ours.value, rel=1e-3)
    assert theirs.lower_bound <= ours.value + 1e-6 * abs(ours.value)
    relaxation = problem.relaxation()
    assert float(np.vdot(relaxation.cost @ theirs.factor, theirs.factor)) == pytest.approx(
        theirs.value, rel=1e-6
    )
