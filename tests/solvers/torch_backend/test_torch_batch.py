"""Batches: every problem is certified on its own, and agrees with what is known of it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import seeded

from solvers import BinaryQuadratic, Status, low_rank
from solvers.testing import FAMILIES, degenerate_matrix, planted_dense
from solvers.testing.assert_certified import assert_certified
from solvers.torch_backend import BatchMoment, solve_batch
from solvers.torch_backend.dense import certificate
from solvers.torch_backend.dense.interior_point import interior

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4}


def scales(solved, reference):
    """What a relative gap is relative to, problem by problem."""
    costs = solved.costs.double()
    norm = torch.linalg.matrix_norm(0.5 * (costs + costs.mT))
    if solved.linear is not None:
        norm = torch.sqrt(norm**2 + 0.5 * solved.linear.double().square().sum(dim=1))
    return torch.maximum(norm, reference.abs())


@st.composite
def batches(draw, max_n=20):
    """A batch in which easy and hopeless-looking problems sit side by side, each with its own scale."""
    n = draw(st.integers(1, max_n))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    families = draw(st.lists(st.sampled_from(FAMILIES), min_size=1, max_size=8))
    scale = 10.0 ** generator.integers(-8, 9, size=len(families))
    costs = np.stack([degenerate_matrix(family, n, generator) for family in families]) * scale[:, None, None]
    linear = None
    if draw(st.booleans()):
        linear = generator.standard_normal((len(families), n)) * scale[:, None]
        linear[generator.integers(2, size=len(families)) == 0] = 0.0
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    costs = torch.from_numpy(costs).to(dtype)
    return costs, None if linear is None else torch.from_numpy(linear).to(dtype)


@settings(max_examples=25)
@given(batch=batches(), seed=st.integers(0, 2**32 - 1), kernel=st.sampled_from(["compiled", "torch"]))
def test_agrees_with_the_solver_of_single_problems(batch, seed, kernel):
    costs, linear = batch
    tolerance = TOLERANCE[costs.dtype]
    solved = solve_batch(costs, linear, tol=tolerance, generator=seeded(seed), kernel=kernel)
    assert solved.certified.all()
    for index in range(len(solved)):
        solution = solved.solution(index)
        assert_certified(solution, tolerance)
        reference = low_rank(solution.problem, tol=1e-7, rng=0)
        allowed = 1.1 * tolerance * float(scales(solved, solved.value)[index])
        assert abs(solution.value - reference.value) <= allowed
        assert solution.lower_bound <= reference.value + 1e-6 * allowed / tolerance


@settings(max_examples=25)
@given(
    n=st.integers(4, 30),
    seed=st.integers(0, 2**32 - 1),
    linear=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_finds_planted_optima(n, seed, linear, dtype):
    generator = np.random.default_rng(seed)
    planted = [planted_dense(n, rank, rng=generator, linear=linear) for rank in (1, 2, 3)]
    costs = torch.from_numpy(np.stack([one.problem.A for one in planted])).to(dtype)
    terms = torch.from_numpy(np.stack([one.problem.b for one in planted])).to(dtype) if linear else None
    known = torch.tensor([one.value for one in planted], dtype=torch.float64)
    solved = solve_batch(costs, terms, tol=TOLERANCE[dtype], generator=seeded(seed))
    assert solved.certified.all()
    allowed = 1.1 * TOLERANCE[dtype] * scales(solved, known)
    assert ((solved.value - known).abs() <= allowed).all()
    rounded = 0.0 if dtype is torch.float64 else 1e-6
    assert (solved.lower_bound <= known + (1e-10 + rounded) * scales(solved, known)).all()


@pytest.mark.parametrize("tol", [1e-3, 1e-8, 1e-10])
def test_every_tolerance_is_kept(tol):
    costs = torch.randn(6, 15, 15, generator=seeded(0), dtype=torch.float64)
    solved = solve_batch(costs, tol=tol, generator=seeded(1))
    assert solved.certified.all()
    assert (solved.gap <= tol).all()
    for index in range(6):
        assert_certified(solved.solution(index), tol)


def test_kernels_take_the_same_steps():
    costs = torch.randn(5, 20, 20, generator=seeded(0), dtype=torch.float64)
    compiled, torch_ = (
        solve_batch(costs, generator=seeded(1), kernel=kernel) for kernel in ("compiled", "torch")
    )
    # a certificate on the verge may need another look
    assert ((compiled.iterations - torch_.iterations).abs() <= 20).all()
    torch.testing.assert_close(compiled.value, torch_.value, rtol=1e-7, atol=0)


def test_the_same_seed_gives_the_same_result_and_global_state_is_left_alone():
    costs = torch.randn(5, 12, 12, generator=seeded(0))
    before = torch.get_rng_state()
    first, second = solve_batch(costs, generator=seeded(7)), solve_batch(costs, generator=seeded(7))
    assert torch.equal(first.factor, second.factor)
    assert torch.equal(first.lower_bound, second.lower_bound)
    solve_batch(costs)
    assert torch.equal(torch.get_rng_state(), before)


def test_pieces_are_solved_as_the_whole(monkeypatch):
    from solvers.torch_backend.dense import solve_batch as batch

    costs = torch.randn(7, 12, 12, generator=seeded(0), dtype=torch.float64)
    whole = solve_batch(costs, generator=seeded(1))
    monkeypatch.setattr(batch, "PIECE_BYTES", {"compiled": 2 * 4 * 12**2})
    pieces = solve_batch(costs, generator=seeded(1))
    assert pieces.certified.all()
    torch.testing.assert_close(pieces.value, whole.value, rtol=1e-6, atol=0)


def test_spurious_critical_points_are_left():
    """From rank one, coordinate sweeps stop at signs that no single flip improves."""
    costs = torch.randn(8, 25, 25, generator=seeded(3), dtype=torch.float64)
    narrow = solve_batch(costs, rank=1, generator=seeded(4))
    wide = solve_batch(costs, generator=seeded(4))
    assert narrow.certified.all()
    torch.testing.assert_close(narrow.value, wide.value, rtol=3e-6, atol=0)
    assert narrow.factor.shape[2] > 1


def test_the_interior_point_method_needs_no_good_start():
    costs = torch.from_numpy(
        np.stack([degenerate_matrix(family, 18, 5) for family in FAMILIES if family != "zero"])
    )
    start = certificate.climb(costs, torch.zeros(6, 18, dtype=torch.float64), torch.full((6,), 1e-3).double())
    factors = certificate.normalised(torch.randn(6, 18, 2, generator=seeded(0), dtype=torch.float64))
    scale = torch.linalg.matrix_norm(costs)
    found = interior(costs, start, factors, 1e-8 * scale, lambda: False)
    # the y that is returned is the one that the bound rests on
    assert (found.bound.bound <= found.bound.dual.sum(dim=1)).all()
    assert (torch.linalg.eigvalsh(costs - torch.diag_embed(found.bound.dual))[:, 0] > 0).all()
    value = certificate.multipliers(costs, found.factors).sum(dim=1)
    assert (value - found.bound.bound <= 1e-8 * scale).all()
    for cost, bound in zip(costs, found.bound.bound, strict=True):
        exact = low_rank(BinaryQuadratic(cost.numpy()), tol=1e-9, rng=0)
        assert (
            exact.lower_bound - 1e-7 * float(scale.max())
            <= float(bound)
            <= exact.value + 1e-12 * abs(exact.value)
        )


def test_problems_stop_on_their_own():
    easy, hard = torch.diag(torch.ones(20)), torch.randn(20, 20, generator=seeded(0))
    solved = solve_batch(torch.stack([easy, hard + hard.T]), generator=seeded(1))
    assert solved.iterations[0] < solved.iterations[1]


def test_limits_and_callbacks_end_a_batch_with_valid_bounds():
    costs = torch.randn(4, 30, 30, generator=seeded(0), dtype=torch.float64)
    exact = solve_batch(costs, generator=seeded(1))
    seen = []

    def stop(moment):
        seen.append(moment)
        raise StopIteration

    def interrupt(moment):
        raise KeyboardInterrupt

    for options, expected in (
        ({"max_iterations": 10}, Status.ITERATION_LIMIT),
        ({"max_seconds": 1e-9}, Status.TIME_LIMIT),
        ({"callback": stop}, Status.INTERRUPTED),
        ({"callback": interrupt}, Status.INTERRUPTED),
    ):
        solved = solve_batch(costs, generator=seeded(1), **options)
        assert [solved.statuses[i] for i in solved.status] == [expected] * 4
        assert (solved.lower_bound <= exact.value).all()
        assert (solved.lower_bound > -torch.inf).all()
        assert (solved.value >= exact.lower_bound).all()
        torch.testing.assert_close(
            solved.gap, (solved.value - solved.lower_bound) / scales(solved, solved.value)
        )
        resumed = solve_batch(costs, start=solved.factor)
        assert resumed.certified.all()
    assert isinstance(seen[0], BatchMoment)
    assert (seen[0].iteration, seen[0].total) == (10, 4)


def test_an_interrupted_batch_bounds_what_it_never_began(monkeypatch):
    from solvers.torch_backend.dense import solve_batch as batch

    monkeypatch.setattr(batch, "PIECE_BYTES", {"compiled": 1})
    costs = torch.randn(3, 10, 10, generator=seeded(0), dtype=torch.float64)
    solved = solve_batch(costs, generator=seeded(1), max_seconds=1e-9)
    assert (solved.iterations > 0).tolist() == [True, False, False]
    symmetric = 0.5 * (costs + costs.mT)
    symmetric.diagonal(dim1=1, dim2=2).zero_()
    gershgorin = costs.diagonal(dim1=1, dim2=2).sum(dim=1) - symmetric.abs().sum(dim=(1, 2))
    torch.testing.assert_close(solved.lower_bound[1:], gershgorin[1:])
    assert (solved.value >= solved.lower_bound).all()
