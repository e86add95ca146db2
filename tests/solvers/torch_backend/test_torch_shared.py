"""Problems that share a matrix."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import layer, seeded

from solvers import BinaryQuadratic, Status, low_rank
from solvers.testing import FAMILIES, degenerate_matrix
from solvers.torch_backend import layer_signs, solve_batch, solve_shared
from solvers.torch_backend.shared import certificate as shared_certificate
from solvers.torch_backend.shared import shared_solver as shared_run
from solvers.torch_backend.shared import solve_shared as shared
from solvers.torch_backend.shared.costs import SharedCosts
from solvers.torch_backend.shared.lanczos import smallest_eigenvalues


def exact_values(matrix, linear):
    costs = matrix.double().expand(linear.shape[0], -1, -1)
    return solve_batch(costs, linear.double(), tol=1e-8, generator=seeded(0))


@settings(max_examples=15)
@given(
    n=st.integers(1, 14),
    family=st.sampled_from([family for family in FAMILIES if family != "zero"]),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    exponent=st.sampled_from([-9, 0, 9]),
)
def test_agrees_with_problems_that_have_a_matrix_each(n, family, seed, dtype, exponent):
    generator = np.random.default_rng(seed)
    matrix = torch.from_numpy(10.0**exponent * degenerate_matrix(family, n, generator)).to(dtype)
    linear = torch.from_numpy(10.0**exponent * generator.standard_normal((4, n))).to(dtype)
    linear[2] = 0.0
    solved = solve_shared(matrix, linear, generator=seeded(seed))
    assert solved.certified.all()
    reference = exact_values(matrix, linear)
    allowed = 1e-4 * torch.maximum(
        reference.value.abs(),
        torch.sqrt(matrix.double().norm() ** 2 + 0.5 * linear.double().norm(dim=1) ** 2),
    )
    assert ((solved.value - reference.value).abs() <= 1.01 * allowed).all()
    assert (solved.lower_bound <= reference.value + 1e-3 * allowed).all()
    assert (solved.gap <= 1e-4).all()


def test_early_products_in_lower_precision_change_nothing_in_the_end(monkeypatch):
    weights, inputs = layer()
    matrix, linear = inputs.T @ inputs, -2 * weights @ (inputs.T @ inputs)
    seen = []
    sweep = shared_run.sweep_shared
    monkeypatch.setattr(
        shared_run, "sweep_shared", lambda matrix, *rest: seen.append(matrix.dtype) or sweep(matrix, *rest)
    )
    monkeypatch.setattr(shared, "_early_dtype", lambda device: torch.bfloat16)
    solved = solve_shared(matrix, linear, generator=seeded(1))
    assert seen[:2] == [torch.bfloat16] * 2
    assert torch.float32 in seen
    assert solved.certified.all()
    torch.testing.assert_close(solved.value, exact_values(matrix, linear).value, rtol=1e-4, atol=0)


def test_eigenvalues_side_by_side_are_those_of_each_slack_matrix():
    weights, inputs = layer(width=40)
    costs = SharedCosts(inputs.T @ inputs, weights)
    dual = torch.randn(41, 3, generator=seeded(2), dtype=torch.float64)
    which = torch.tensor([4, 0, 2])
    found = smallest_eigenvalues(
        costs, which, dual, torch.full((3,), -1e-9, dtype=torch.float64), seeded(3), sharply=True
    )
    for place, problem in enumerate(which):
        whole = costs.product(torch.eye(41, dtype=torch.float64)[:, None], problem[None])[:, 0]
        exact = torch.linalg.eigvalsh(whole - torch.diag(dual[:, place]))[0]
        assert found.value[place] - found.error[place] <= exact + 1e-12
        assert exact <= found.value[place] + 1e-12
        assert found.error[place] <= 0.1 * exact.abs()


def test_a_linear_term_that_is_not_finite_fails_alone():
    weights, inputs = layer()
    matrix = inputs.T @ inputs
    clean = solve_shared(matrix, weights, generator=seeded(0))
    weights[3, 2] = torch.nan
    solved = solve_shared(matrix, weights, generator=seeded(0))
    assert solved.certified.tolist() == [True, True, True, False, True, True]
    assert solved.statuses[int(solved.status[3])] is Status.FAILED
    assert torch.isnan(solved.value[3])
    assert solved.lower_bound[3] == -torch.inf
    kept = torch.tensor([0, 1, 2, 4, 5])
    torch.testing.assert_close(solved.value[kept], clean.value[kept], rtol=2e-4, atol=1e-3)


def test_limits_end_with_valid_bounds():
    weights, inputs = layer(width=30)
    matrix, linear = inputs.T @ inputs, -2 * weights @ (inputs.T @ inputs)
    exact = exact_values(matrix, linear)

    def stop(moment):
        raise StopIteration

    for options, expected in (
        ({"max_iterations": 10}, Status.ITERATION_LIMIT),
        ({"max_seconds": 1e-9}, Status.TIME_LIMIT),
        ({"callback": stop}, Status.INTERRUPTED),
    ):
        solved = solve_shared(matrix, linear, tol=1e-9, generator=seeded(1), **options)
        assert [solved.statuses[i] for i in solved.status] == [expected] * 6
        assert (solved.lower_bound <= exact.value).all()
        assert torch.isfinite(solved.lower_bound).all()
        assert (solved.value >= exact.lower_bound).all()


@pytest.mark.parametrize("samples", [40, 160], ids=["singular", "regular"])
def test_agrees_with_the_solver_of_single_problems_channel_by_channel(samples):
    weights, inputs = layer(channels=3, width=80, samples=samples)
    matrix = inputs.T @ inputs
    linear = -2 * weights @ matrix / weights.abs().mean(dim=1, keepdim=True)
    solved = solve_shared(matrix, linear, tol=1e-5, generator=seeded(0))
    assert solved.certified.all()
    # singular ones crawl, and are finished by the interior point method
    assert (solved.iterations <= 100).all()
    for channel in range(3):
        problem = BinaryQuadratic(matrix.numpy(), linear[channel].numpy())
        alone = low_rank(problem, tol=1e-5, rng=0)
        assert abs(float(solved.value[channel]) - alone.value) <= 2e-5 * abs(alone.value)
        cost = problem.relaxation().cost
        slack = cost - np.diag(solved.dual[channel].numpy())
        proved = solved.dual[channel].sum() + 81 * min(np.linalg.eigvalsh(slack)[0], 0.0)
        assert solved.lower_bound[channel] <= proved + 1e-9 * abs(alone.value)


@pytest.mark.parametrize("order", [40, 200])
def test_beyond_the_orders_that_are_factorised_lanczos_decides(monkeypatch, order):
    monkeypatch.setattr(shared_certificate, "PROVED_ORDER", {"cpu": 30})
    monkeypatch.setattr(shared_certificate, "CLIMBED_ORDER", 30)
    weights, inputs = layer(width=order, samples=3 * order)
    matrix, linear = inputs.T @ inputs, -2 * weights @ (inputs.T @ inputs)
    exact = exact_values(matrix, linear)
    solved = solve_shared(matrix, linear, generator=seeded(0))
    assert solved.certified.all()
    assert (solved.lower_bound <= exact.value).all()
    ended = solve_shared(matrix, linear, tol=1e-8, generator=seeded(0), max_iterations=10)
    assert not ended.certified.any()
    assert (ended.lower_bound <= exact.value).all()
    assert (ended.gap < 0.5).all()


A, B = torch.eye(3), torch.ones(2, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: solve_shared(torch.ones(3, 4), B),
            ValueError,
            r"matrix must be square; found shape \(3, 4\)",
        ),
        (
            lambda: solve_shared(A, B.double()),
            TypeError,
            "dtype of matrix, torch.float32; found torch.float64",
        ),
        (lambda: solve_shared(A.int(), B), TypeError, "matrix must be float32 or float64; found torch.int32"),
        (lambda: solve_shared(A, B[:, :2]), ValueError, r"linear must have shape \(2, 3\); found \(2, 2\)"),
        (lambda: solve_shared(A, B[:0]), ValueError, "linear must not be empty"),
        (lambda: solve_shared(A.to("meta"), B), ValueError, "cpu or cuda device.*found meta"),
        (lambda: solve_shared(A, B.to("meta")), ValueError, "linear must be on the device of matrix, cpu"),
        (lambda: solve_shared(torch.nan * A, B), ValueError, "matrix must be finite"),
        (
            lambda: solve_shared(A.clone().requires_grad_(), B),
            ValueError,
            "matrix must not require a gradient",
        ),
        (
            lambda: solve_shared(A, B.clone().requires_grad_()),
            ValueError,
            "linear must not require a gradient",
        ),
        (lambda: solve_shared(A, B, rank=5), ValueError, "rank must be at least 1 and at most 4"),
        (
            lambda: solve_shared(A, B, start=torch.ones(2, 3, 2)),
            ValueError,
            r"start must have shape \(2, 4, 2\)",
        ),
        (lambda: solve_shared(A, B, start=torch.zeros(2, 4, 2)), ValueError, "none of them zero"),
        (
            lambda: solve_shared(A, B, rank=1, start=torch.ones(2, 4, 2)),
            ValueError,
            "rank or start, not both",
        ),
        (lambda: layer_signs(B), ValueError, "inputs or gram must be given, and not both"),
        (lambda: layer_signs(B, inputs=A, gram=A), ValueError, "inputs or gram must be given, and not both"),
        (lambda: layer_signs(B, inputs=torch.ones(5, 2)), ValueError, r"inputs must have shape \(5, 3\)"),
        (lambda: layer_signs(B, gram=torch.triu(torch.ones(3, 3))), ValueError, "gram must be symmetric"),
        (lambda: layer_signs(torch.nan * B, gram=A), ValueError, "weights must be finite"),
        (lambda: layer_signs(B, inputs=torch.inf * torch.ones(5, 3)), ValueError, "inputs must be finite"),
        (lambda: layer_signs(B, gram=A, rounds=0), ValueError, "rounds must be at least 1"),
        (lambda: layer_signs(B, gram=A, samples=0), ValueError, "samples must be at least 1"),
    ],
)
def test_bad_input_is_refused_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_running_out_of_memory_is_explained(monkeypatch):
    def fail(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(shared_run, "sweep_shared", fail)
    with pytest.raises(
        MemoryError, match=r"GiB are needed; solve fewer problems at once than 2, or lower rank"
    ):
        solve_shared(A, B)


@pytest.mark.gpu
@pytest.mark.parametrize("samples", [300, 50], ids=["regular", "singular"])
def test_the_device_agrees_with_the_processor(samples):
    weights, inputs = layer(channels=40, width=100, samples=samples, dtype=torch.float32)
    matrix = inputs.T @ inputs
    linear = -2 * weights @ matrix
    there = solve_shared(matrix.cuda(), linear.cuda())
    here = solve_shared(matrix, linear)
    assert there.certified.all()
    torch.testing.assert_close(there.value.cpu(), here.value, rtol=2e-4, atol=0)
    assert (layer_signs(weights.cuda(), inputs=inputs.cuda()).gap < 1.0).all()
