"""Sweeps over batches: every implementation takes the same steps, and reports what they take off the objective."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from solvers.torch_backend.dense import backends
from solvers.torch_backend.dense import over_relaxation as relaxation
from solvers.torch_backend.shared import over_relaxation as shared_sweep

ROOT = Path(__file__).resolve().parents[3]


def batch(problems, rows, width, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    costs = torch.randn(problems, rows, rows, generator=generator, dtype=torch.float64)
    costs = costs + costs.mT
    costs.diagonal(dim1=1, dim2=2).zero_()
    factors = torch.randn(problems, rows, width, generator=generator, dtype=torch.float64)
    factors /= factors.norm(dim=2, keepdim=True)
    betas = torch.rand(problems, 3, generator=generator, dtype=torch.float64)
    return costs.to(dtype), factors.to(dtype), betas.to(dtype)


def objective(costs, factors):
    return torch.einsum("bij,bik,bjk->b", costs.double(), factors.double(), factors.double())


def one_row_after_the_other(costs, factors, betas):
    """The definition, without a thought for speed."""
    for beta in betas.T:
        for row in range(factors.shape[1]):
            pull = torch.einsum("bj,bjk->bk", costs[:, row], factors)
            past = -(1 + beta)[:, None] * pull / pull.norm(dim=1, keepdim=True)
            past = past - beta[:, None] * factors[:, row]
            factors[:, row] = past / past.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("rows", [1 + relaxation.BLOCK_ROWS, 40, 2])
@pytest.mark.parametrize("sweep", [relaxation.sweep_batch, backends.sweep_compiled])
def test_sweeps_are_over_relaxed_coordinate_descent(sweep, rows):
    costs, factors, betas = batch(5, rows, 4)
    expected = factors.clone()
    one_row_after_the_other(costs, expected, betas)
    sweep(costs, factors, betas)
    torch.testing.assert_close(factors, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sweep", [relaxation.sweep_batch, backends.sweep_compiled])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_decrease_reported_is_that_of_the_last_sweep(sweep, dtype):
    costs, factors, betas = batch(5, 20, 4, dtype)
    sweep(costs, factors, betas[:, :2])
    before = objective(costs, factors)
    decrease = sweep(costs, factors, betas[:, 2:])
    tolerance = 1e-4 if dtype is torch.float32 else 1e-11
    torch.testing.assert_close(decrease.double(), before - objective(costs, factors), rtol=0, atol=tolerance)
    assert (decrease >= 0).all()


@pytest.mark.parametrize("sweep", [relaxation.sweep_batch, backends.sweep_compiled])
def test_small_decreases_keep_their_digits_in_float32(sweep):
    """Near a minimiser the objective falls by less than float32 can show of it."""
    costs, factors, betas = batch(3, 20, 6)
    sweep(costs, factors, torch.zeros(3, 300, dtype=torch.float64))
    costs, betas = costs.float(), betas.float()
    turned = torch.randn(factors.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    factors = factors + 1e-4 * turned
    factors = (factors / factors.norm(dim=2, keepdim=True)).float()
    wanted = sweep(costs.double(), factors.double(), betas[:, :1].double())
    assert (wanted < 1e-5 * objective(costs, factors).abs()).all()
    torch.testing.assert_close(sweep(costs, factors, betas[:, :1]).double(), wanted, rtol=1e-2, atol=0)


@pytest.mark.parametrize("sweep", [relaxation.sweep_batch, backends.sweep_compiled])
def test_rows_that_nothing_pulls_stay(sweep):
    costs, factors, betas = batch(4, 6, 3)
    costs[1] = 0.0
    costs[2, 0], costs[2, :, 0] = 0.0, 0.0
    before = factors.clone()
    decrease = sweep(costs, factors, betas)
    assert torch.equal(factors[1], before[1])
    assert torch.equal(factors[2, 0], before[2, 0])
    assert decrease[1] == 0.0
    assert torch.isfinite(factors).all()


def test_threads_share_a_batch(monkeypatch):
    costs, factors, betas = batch(7, 9, 3)
    alone, shared = factors.clone(), factors.clone()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    decrease = backends.sweep_compiled(costs, alone, betas)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(backends.sweep_compiled(costs, shared, betas), decrease)
    assert torch.equal(alone, shared)


def shared(problems, rows, width, dtype):
    """A matrix, half linear terms and factors row by row, for problems that share the first."""
    costs, factors, betas = batch(problems, rows, width, dtype)
    factors = factors.transpose(0, 1).contiguous()
    return costs[0, 1:, 1:].contiguous(), costs[:, 0, 1:].T.contiguous(), factors, betas


def each_on_its_own(matrix, half, factors, betas):
    """The same sweeps over problems that have a matrix each."""
    costs = torch.zeros(half.shape[1], *(1 + size for size in matrix.shape), dtype=matrix.dtype)
    costs[:, 1:, 1:] = matrix
    costs[:, 0, 1:] = costs[:, 1:, 0] = half.T
    alone = factors.transpose(0, 1).contiguous()
    one_row_after_the_other(costs, alone, betas)
    return alone.transpose(0, 1)


@pytest.mark.parametrize("rows", [2 + shared_sweep.BLOCK_ROWS, 12, 2])
@pytest.mark.parametrize("relax", [shared_sweep.relax_torch, shared_sweep.relax_compiled])
def test_problems_that_share_a_matrix_are_swept_as_if_each_had_its_own(relax, rows):
    matrix, half, factors, betas = shared(5, rows, 8, torch.float64)
    expected = each_on_its_own(matrix, half, factors, betas)
    before = factors.clone()
    shared_sweep.sweep_shared(matrix, half, factors, betas, relax)
    torch.testing.assert_close(factors, expected, rtol=0, atol=1e-12)
    first = shared_sweep.sweep_shared(matrix, half, before, betas[:, :1], relax)
    again = shared_sweep.sweep_shared(matrix, half, before.clone(), betas[:, :1], shared_sweep.relax_torch)
    assert (first > 0).all()
    torch.testing.assert_close(
        shared_sweep.sweep_shared(matrix, half, before, betas[:, :1], relax), again, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("relax", [shared_sweep.relax_torch, shared_sweep.relax_compiled])
def test_shared_rows_that_nothing_pulls_stay(relax):
    matrix, half, factors, betas = shared(3, 7, 8, torch.float32)
    matrix[2] = matrix[:, 2] = 0.0
    half[2], half[:, 1] = 0.0, 0.0
    before = factors.clone()
    decrease = shared_sweep.sweep_shared(matrix, half, factors, betas, relax)
    assert torch.equal(factors[3], before[3])
    assert torch.equal(factors[0, 1], before[0, 1])
    assert torch.isfinite(factors).all()
    assert (decrease >= 0).all()


def test_products_in_lower_precision_follow_the_rows():
    matrix, half, factors, betas = shared(4, 70, 8, torch.float32)
    expected = each_on_its_own(*(tensor.double() for tensor in (matrix, half, factors, betas)))
    shared_sweep.sweep_shared(matrix.bfloat16(), half, factors, betas, shared_sweep.relax_torch)
    # stale rows would be off by as much as a sweep moves them
    assert (factors - expected).norm(dim=2).mean() < 0.05


COMPARE_WITH_TRITON = """
import torch
from solvers.torch_backend.dense import over_relaxation as relaxation
from solvers.torch_backend.dense import backends
from test_torch_sweeps import batch

backends.FUSED_ROWS, backends.BLOCK_ROWS = 5, 3
for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
    for rows, width in ((5, 3), (7, 2)):
        costs, factors, betas = batch(2, rows, width, dtype)
        costs[1] = 0.0
        expected = factors.clone()
        wanted = relaxation.sweep_batch(costs, expected, betas)
        found = backends.sweep_triton(costs, factors, betas)
        torch.testing.assert_close(factors, expected, rtol=0, atol=tolerance)
        torch.testing.assert_close(found, wanted, rtol=10 * tolerance, atol=10 * tolerance)

from solvers.torch_backend.shared.over_relaxation import relax_torch, relax_triton, sweep_shared

costs, factors, betas = batch(3, 5, 2)
matrix, half = costs[0, 1:, 1:].contiguous(), costs[:, 0, 1:].T.contiguous()
expected = factors.transpose(0, 1).contiguous()
found = expected.clone()
wanted = sweep_shared(matrix, half, expected, betas[:, :1], relax_torch)
decrease = sweep_shared(matrix, half, found, betas[:, :1], relax_triton)
torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
torch.testing.assert_close(decrease, wanted, rtol=0, atol=1e-11)
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_the_triton_kernel_agrees_with_torch_in_the_interpreter():
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", COMPARE_WITH_TRITON], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.gpu
@pytest.mark.parametrize(("rows", "width"), [(64, 13), (65, 16), (128, 16), (200, 24), (33, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_triton_kernel_agrees_with_torch_on_the_device(rows, width, dtype):
    costs, factors, betas = (tensor.cuda() for tensor in batch(3, rows, width, dtype))
    expected = factors.clone()
    wanted = relaxation.sweep_batch(costs, expected, betas)
    found = backends.sweep_triton(costs, factors, betas)
    tolerance = 1e-10 if dtype is torch.float64 else 1e-3
    torch.testing.assert_close(factors, expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(found, wanted, rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shared_sweeps_agree_with_torch_on_the_device(dtype):
    pytest.importorskip("triton")
    matrix, half, factors, betas = (tensor.cuda() for tensor in shared(6, 150, 24, torch.float32))
    expected = factors.clone()
    wanted = shared_sweep.sweep_shared(matrix.to(dtype), half, expected, betas, shared_sweep.relax_torch)
    found = shared_sweep.sweep_shared(matrix.to(dtype), half, factors, betas, shared_sweep.relax_triton)
    torch.testing.assert_close(factors, expected, rtol=0, atol=1e-3 if dtype is torch.float32 else 0.1)
    torch.testing.assert_close(found, wanted, rtol=1e-2, atol=1e-2)


def test_kernels_are_chosen_by_name_and_device():
    cpu = torch.device("cpu")
    assert backends.choose_backend(None, cpu) == ("compiled", backends.sweep_compiled)
    assert backends.choose_backend("torch", cpu)[1] is relaxation.sweep_batch
    assert backends.choose_backend(None, torch.device("mps"))[0] == "torch"
    with pytest.raises(
        ValueError, match=r"kernel must be one of 'compiled', 'torch', 'triton'.*found 'fast'"
    ):
        backends.choose_backend("fast", cpu)
    with pytest.raises(ValueError, match="runs on the device 'cpu' alone; found cuda"):
        backends.choose_backend("compiled", torch.device("cuda"))


def test_without_numba_torch_sweeps(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setitem(sys.modules, "triton", None)
    assert backends.choose_backend(None, torch.device("cpu"))[0] == "torch"
    with pytest.raises(ImportError, match="needs numba"):
        backends.choose_backend("compiled", torch.device("cpu"))
    with pytest.raises(ImportError, match="needs triton"):
        backends.choose_backend("triton", torch.device("cuda"))
