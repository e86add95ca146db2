"""Batches: gradients of the values, and what does not fit."""

import numpy as np
import pytest
import torch
from instances import seeded

from solvers import Status
from solvers.testing import planted_dense
from solvers.testing.assert_certified import assert_certified
from solvers.torch_backend import solve_batch
from solvers.torch_backend.common.memory import working_on


@pytest.fixture
def costs():
    return torch.randn(3, 8, 8, generator=seeded(0), dtype=torch.float64)


def test_values_carry_the_gradient_of_a_fixed_factor():
    """Planted with a unique Y: finite differences of the optimal value itself are the reference."""
    planted = [planted_dense(7, 1, rng=seed, linear=True) for seed in range(2)]
    costs = torch.from_numpy(np.stack([one.problem.A for one in planted])).requires_grad_()
    linear = torch.from_numpy(np.stack([one.problem.b for one in planted])).requires_grad_()
    solved = solve_batch(costs, linear, tol=1e-10, generator=seeded(0))
    weight = torch.tensor([1.0, -2.0], dtype=torch.float64)
    (solved.value * weight).sum().backward()
    points = solved.factor @ solved.factor.mT
    torch.testing.assert_close(costs.grad, weight[:, None, None] * points[:, 1:, 1:])
    torch.testing.assert_close(linear.grad, weight[:, None] * points[:, 0, 1:])
    assert torch.equal(costs.grad, costs.grad.mT)
    assert not solved.lower_bound.requires_grad
    assert not solved.factor.requires_grad
    step = 1e-4
    for index, place in (((0, 2, 5), costs), ((1, 3, 3), costs), ((0, 4), linear)):
        values = []
        for sign in (1.0, -1.0):
            moved = {"costs": costs.detach().clone(), "linear": linear.detach().clone()}
            moved["costs" if place is costs else "linear"][index] += sign * step
            values.append(solve_batch(**moved, tol=1e-10, generator=seeded(0)).value[index[0]])
        slope = weight[index[0]] * (values[0] - values[1]) / (2 * step)
        assert float(place.grad[index]) == pytest.approx(float(slope), abs=1e-4)


def test_gradients_reach_only_what_wants_them(costs):
    linear = torch.randn(3, 8, generator=seeded(1), dtype=torch.float64).requires_grad_()
    solved = solve_batch(costs, linear, generator=seeded(0))
    solved.value.sum().backward()
    torch.testing.assert_close(linear.grad, (solved.factor[:, 1:] @ solved.factor[:, 0, :, None])[..., 0])
    assert costs.grad is None
    assert not solve_batch(costs, generator=seeded(0)).value.requires_grad


def test_float32_costs_receive_float32_gradients(costs):
    single = costs.float().requires_grad_()
    solve_batch(single, generator=seeded(0)).value.sum().backward()
    assert single.grad.dtype is torch.float32


def test_costs_count_by_their_symmetric_part_and_are_not_changed(costs):
    kept = costs.clone()
    solved = solve_batch(costs, generator=seeded(1))
    symmetric = solve_batch(0.5 * (costs + costs.mT), generator=seeded(1))
    assert torch.equal(costs, kept)
    torch.testing.assert_close(solved.value, symmetric.value)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e308])
@pytest.mark.parametrize("where", ["costs", "linear"])
def test_one_bad_problem_fails_alone(costs, poison, where):
    linear = torch.randn(3, 8, generator=seeded(1), dtype=torch.float64)
    clean = solve_batch(costs, linear, generator=seeded(2))
    arguments = {"costs": costs.clone(), "linear": linear.clone()}
    arguments[where][1, 3] = poison
    solved = solve_batch(**arguments, generator=seeded(2))
    assert solved.statuses[int(solved.status[1])] is Status.FAILED
    assert torch.isnan(solved.value[1])
    assert torch.isnan(solved.gap[1])
    assert solved.lower_bound[1] == -torch.inf
    assert solved.certified.tolist() == [True, False, True]
    torch.testing.assert_close(solved.value[::2], clean.value[::2], rtol=2e-6, atol=0)
    with pytest.raises(ValueError, match="index 1 is a problem whose costs were not finite"):
        solved.solution(1)
    assert_certified(solved.solution(2))


def test_a_batch_in_which_everything_fails():
    solved = solve_batch(torch.full((2, 3, 3), torch.nan))
    assert [solved.statuses[i] for i in solved.status] == [Status.FAILED] * 2


def test_problems_of_one_sign_and_extreme_scales():
    costs = torch.tensor([[[3.0]], [[-1e-300]], [[1e300]], [[0.0]], [[5e-324]]], dtype=torch.float64)
    solved = solve_batch(costs)
    assert solved.certified.all()
    torch.testing.assert_close(solved.value, costs[:, 0, 0], rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"costs": np.zeros((2, 3, 3))}, TypeError, "costs must be a torch.Tensor; found ndarray"),
        (
            {"costs": torch.zeros(2, 3, 3, dtype=torch.int64)},
            TypeError,
            "float32 or float64; found torch.int64",
        ),
        ({"costs": torch.zeros(2, 3, 3, dtype=torch.bfloat16)}, TypeError, "found torch.bfloat16"),
        ({"costs": torch.zeros(3, 3)}, ValueError, r"3 dimension\(s\); found shape \(3, 3\)"),
        ({"costs": torch.zeros(0, 3, 3)}, ValueError, r"must not be empty; found shape \(0, 3, 3\)"),
        ({"costs": torch.zeros(2, 0, 0)}, ValueError, "must not be empty"),
        ({"costs": torch.zeros(2, 3, 4)}, ValueError, r"square matrices; found shape \(2, 3, 4\)"),
        (
            {"costs": torch.zeros(2, 3, 3).to_sparse()},
            ValueError,
            "dense tensor; found layout torch.sparse_coo",
        ),
        ({"costs": torch.zeros(2, 3, 3, device="meta")}, ValueError, "cpu or cuda device.*found meta"),
        ({"linear": torch.zeros(2, 4)}, ValueError, r"linear must have shape \(2, 3\); found \(2, 4\)"),
        (
            {"linear": torch.zeros(2, 3).double()},
            TypeError,
            "dtype of costs, torch.float32; found torch.float64",
        ),
        ({"linear": torch.zeros(2, 3, device="meta")}, ValueError, "device of costs, cpu; found meta"),
        (
            {"linear": torch.zeros(2, 3).int()},
            TypeError,
            "linear must be float32 or float64; found torch.int32",
        ),
        ({"rank": 0}, ValueError, "rank must be at least 1 and at most 3; found 0"),
        ({"rank": 4}, ValueError, "at most 3; found 4"),
        ({"rank": 2, "start": torch.ones(2, 3, 2)}, ValueError, "pass rank or start, not both"),
        ({"start": torch.ones(2, 4, 2)}, ValueError, r"start must have shape \(2, 3, 2\)"),
        ({"start": torch.zeros(2, 3, 2)}, ValueError, "start must hold finite rows, none of them zero"),
        ({"start": torch.full((2, 3, 2), torch.nan)}, ValueError, "start must hold finite rows"),
        ({"tol": 0.0}, ValueError, "tol must be positive"),
        ({"max_iterations": 0}, ValueError, "max_iterations must be at least 1"),
        ({"max_seconds": -1.0}, ValueError, "max_seconds must be positive"),
        ({"callback": 3}, TypeError, "callback must be callable or None"),
        ({"generator": 3}, TypeError, "generator must be a torch.Generator or None; found int"),
        ({"kernel": "fast"}, ValueError, "kernel must be one of"),
    ],
)
def test_bad_input_is_refused_in_words(arguments, error, message):
    with pytest.raises(error, match=message):
        solve_batch(**{"costs": torch.zeros(2, 3, 3), **arguments})


@pytest.mark.parametrize("index", [-1, 3, 1.0])
def test_a_problem_that_is_not_there(costs, index):
    with pytest.raises((ValueError, TypeError), match="index must be"):
        solve_batch(costs, generator=seeded(0)).solution(index)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_running_out_of_memory_is_explained(costs, monkeypatch, error):
    from solvers.torch_backend.dense import batch_solver as batch_run

    def fail(*_):
        raise error

    monkeypatch.setattr(batch_run, "frobenius", fail)
    with pytest.raises(MemoryError, match=r"about .* GiB are needed; solve fewer problems at once than 3"):
        solve_batch(costs)


def test_other_errors_pass_through_unchanged():
    with pytest.raises(RuntimeError, match=r"^another$"), working_on(1.0, torch.device("cpu"), ""):
        raise RuntimeError("another")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kernel", ["triton", "torch"])
def test_the_device_agrees_with_the_processor(dtype, kernel):
    costs = torch.randn(20, 40, 40, generator=seeded(0), dtype=dtype)
    linear = torch.randn(20, 40, generator=seeded(1), dtype=dtype)
    there = solve_batch(costs.cuda(), linear.cuda(), kernel=kernel)
    here = solve_batch(costs, linear)
    assert there.certified.all()
    torch.testing.assert_close(there.value.cpu(), here.value, rtol=3e-6, atol=0)
    assert_certified(there.solution(3))
    with pytest.raises(ValueError, match="linear must be on the device of costs"):
        solve_batch(costs.cuda(), linear)
