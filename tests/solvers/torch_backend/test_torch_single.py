"""`low_rank(device=...)`: the same call, the same `Solution`, on tensors."""

import json

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import BinaryQuadratic, Elliptope, Iteration, MaxCut, Status, low_rank
from solvers.testing import degenerate_problems, planted_problems
from solvers.testing.assert_certified import assert_certified
from vispa.cli import main


@settings(max_examples=25)
@given(
    problem=degenerate_problems(max_n=15, representations=("dense", "sparse")),
    seed=st.integers(0, 2**32 - 1),
    certificate=st.sampled_from(["estimate", "rigorous"]),
)
def test_agrees_with_the_compiled_solver(problem, seed, certificate):
    there = low_rank(problem, device="cpu", certificate=certificate, rng=seed)
    assert_certified(there)
    assert there.certificate == certificate
    here = low_rank(problem, rng=seed)
    scale = max(
        abs(here.value), np.linalg.norm(here.problem.relaxation().cost @ np.eye(here.factor.shape[0]))
    )
    assert abs(there.value - here.value) <= 2e-6 * scale


@settings(max_examples=20)
@given(planted=planted_problems(max_n=20, exact=True), seed=st.integers(0, 2**32 - 1))
def test_a_rigorous_bound_never_exceeds_an_exactly_planted_optimum(planted, seed):
    solution = low_rank(planted.problem, device=torch.device("cpu"), certificate="rigorous", rng=seed)
    assert solution.certified
    assert solution.lower_bound <= planted.value


def test_constants_and_fixed_diagonals_are_the_problem_s_own():
    matrix = np.random.default_rng(0).standard_normal((9, 9))
    problem = Elliptope(matrix + matrix.T, constant=7.0, diagonal=np.linspace(0.5, 4.0, 9))
    there, here = (low_rank(problem, device=device, rng=0) for device in ("cpu", None))
    assert_certified(there)
    assert there.value == pytest.approx(here.value, rel=1e-5)
    np.testing.assert_allclose(np.sum(there.factor**2, axis=1), problem.diagonal)


def test_moments_are_seen_and_can_end_the_solve():
    graph = np.random.default_rng(1).integers(2, size=(60, 60))
    problem = MaxCut(np.triu(graph, 1) + np.triu(graph, 1).T)
    seen = []
    solution = low_rank(problem, device="cpu", rng=0, callback=seen.append)
    assert isinstance(seen[0], Iteration)
    assert solution.history == tuple(seen)
    assert all(np.isfinite(moment.value) for moment in seen)
    assert seen[-1].value == pytest.approx(solution.value)

    def stop(moment):
        raise StopIteration

    ended = low_rank(problem, device="cpu", rng=0, callback=stop)
    assert ended.status is Status.INTERRUPTED
    resumed = low_rank(problem, device="cpu", start=ended.factor)
    assert resumed.certified
    assert low_rank(problem, device="cpu", rng=0, max_iterations=1).status is Status.ITERATION_LIMIT


def test_what_a_device_cannot_do_is_refused_in_words():
    dense = Elliptope(np.eye(3))
    with pytest.raises(ValueError, match=r"device must be one that torch can use here.*found 'warp'"):
        low_rank(dense, device="warp")
    with pytest.raises(ValueError, match="device must be one that torch can use here"):
        low_rank(dense, device=3.5)
    operator = sp.linalg.aslinearoperator(np.eye(3))
    with pytest.raises(TypeError, match="device takes a dense or sparse cost; found an operator"):
        low_rank(BinaryQuadratic(operator), device="cpu")


def test_the_command_takes_a_device(tmp_path, capsys):
    file = tmp_path / "cycle"
    file.write_text("5 5\n" + "".join(f"{i + 1} {(i + 1) % 5 + 1} 1\n" for i in range(5)))
    assert main(["solve", str(file), "--device", "cpu", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["certified"]
    assert report["upper_bound"] == pytest.approx(4.5225, abs=1e-3)
    assert report["rounded_value"] == 4.0


@pytest.mark.gpu
def test_a_gpu_agrees_with_the_processor():
    graph = np.random.default_rng(1).integers(2, size=(60, 60))
    problem = MaxCut(np.triu(graph, 1) + np.triu(graph, 1).T)
    there = low_rank(problem, device="cuda", rng=0)
    assert_certified(there)
    assert there.value == pytest.approx(low_rank(problem, rng=0).value, rel=3e-6)
