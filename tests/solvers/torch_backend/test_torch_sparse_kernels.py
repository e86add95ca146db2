"""The sparse solver's Triton kernels do what torch does: on a GPU, and interpreted where Triton is installed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from instances import random_graph, seeded, star, torus

from solvers.torch_backend import solve_sparse, sparse_cost
from solvers.torch_backend.sparse.colouring import coloured
from solvers.torch_backend.sparse.lanczos import SparseKrylov
from solvers.torch_backend.sparse.over_relaxation import Sweeps, evaluate

ROOT = Path(__file__).resolve().parents[3]
ROUNDING = {torch.float32: 2e-5, torch.float64: 1e-12}


def compare(matrix, width, dtype, device):
    """Sweeps, look and Lanczos steps of the kernels beside those of torch, from the same factor."""
    layout = coloured(sparse_cost(matrix, dtype=dtype, device=device))
    factor = torch.randn(layout.order, width, dtype=dtype, device=device, generator=seeded(0, device))
    factor /= torch.linalg.vector_norm(factor, dim=1, keepdim=True)
    plain, fused = factor.clone(), factor.clone()
    slow, fast = Sweeps(layout, fused=False), Sweeps(layout, fused=True)
    close = {"rtol": ROUNDING[dtype], "atol": ROUNDING[dtype]}
    # the last two blocks are of one length: on a GPU the second of them is replayed
    for count in (1, 2, 2, 2):
        expected, found = slow.advance(plain, count), fast.advance(fused, count)
        scale = layout.order if dtype is torch.float32 else 1.0
        np.testing.assert_allclose(found, expected, rtol=1e-3 if scale > 1 else 1e-9, atol=1e-7 * scale)
        torch.testing.assert_close(fused, plain, **close)
    seen, also = evaluate(layout, plain, fused=False), evaluate(layout, plain, fused=True)
    torch.testing.assert_close(also.multipliers, seen.multipliers, **close)
    start = torch.randn(layout.order, dtype=dtype, device=device, generator=seeded(1, device))
    start /= torch.linalg.vector_norm(start)
    scale = seen.multipliers.abs().add(0.1).rsqrt()
    first, second = (
        SparseKrylov(layout, seen.multipliers, scale, start, fused=fused) for fused in (False, True)
    )
    # few steps: once an eigenvalue has converged, the recurrence magnifies every difference in rounding
    first.extend(3)
    second.extend(3)
    np.testing.assert_allclose(second.diagonal, first.diagonal, **close)
    np.testing.assert_allclose(second.offdiagonal, first.offdiagonal, **close)


CASES = [(random_graph(700, 5, 0), 16), (torus(20, 0), 12), (random_graph(300, 3, 1), 1), (star(1500), 8)]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("matrix", "width"), CASES, ids=["random", "torus", "narrow", "hub"])
def test_kernels_do_what_torch_does(matrix, width, dtype):
    pytest.importorskip("triton")
    compare(matrix, width, dtype, "cuda")


@pytest.mark.gpu
def test_the_device_finds_what_the_processor_finds():
    cost = random_graph(5000, 5, 0)
    ours = solve_sparse(sparse_cost(cost), tol=1e-4, generator=seeded(0))
    device, again = (
        solve_sparse(sparse_cost(cost, device="cuda"), tol=1e-4, generator=seeded(0, "cuda"))
        for _ in range(2)
    )
    assert device.certified
    assert device.value == pytest.approx(ours.value, rel=1e-4)
    assert torch.equal(device.factor, again.factor)


@pytest.mark.gpu
def test_an_order_beyond_the_device_is_refused_with_an_estimate():
    cost = sparse_cost(random_graph(200_000, 2, 0), device="cuda")
    with pytest.raises(MemoryError, match="GiB are needed"):
        solve_sparse(cost, rank=200_000, tol=1e-3)


INTERPRETED = """
import sys
import torch
from test_torch_sparse_kernels import compare, random_graph, star
from solvers.torch_backend.sparse.over_relaxation import Sweeps
Sweeps._may_replay = lambda self: False  # CUDA graphs need CUDA
for dtype in (torch.float32, torch.float64):
    compare(random_graph(60, 4, 0), 6, dtype, "cpu")
compare(star(1100), 4, torch.float64, "cpu")
"""


def test_kernels_do_what_torch_does_interpreted():
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed")
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if "only 0-dimensional arrays can be converted" in result.stderr:
        pytest.skip("this Triton's interpreter does not work with this NumPy")
    assert result.returncode == 0, result.stderr
