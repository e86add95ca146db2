"""What is missing is named with its extra; what a run decides is logged, and silent by default."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from solvers import BinaryQuadratic, MaxCut, exact, low_rank

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("package", ["cvxpy", "scs", "clarabel"])
def test_a_missing_conic_solver_is_named_with_its_extra(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    solver = "scs" if package == "scs" else "clarabel"
    with pytest.raises(ImportError, match=rf"needs {package}: pip install 'vispa-sdp\[exact\]'"):
        exact(MaxCut(np.ones((3, 3))), solver=solver)


def test_a_missing_scikit_learn_is_named_with_its_extra(monkeypatch):
    from vispa.training.data.labelled_images import digits

    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"needs sklearn: pip install 'vispa-sdp\[digits\]'"):
        digits()


def spin_glass(n):
    matrix = np.random.default_rng(0).standard_normal((n, n))
    return BinaryQuadratic(matrix + matrix.T)


def test_decisions_are_logged_under_the_name_of_the_package(caplog):
    with caplog.at_level(logging.DEBUG, logger="solvers"):
        solution = low_rank(spin_glass(60), rank=1, rng=0)
    assert solution.certified
    texts = [record.getMessage() for record in caplog.records if record.name.startswith("solvers.")]
    assert any("escapes" in text or "interior point" in text or "turns from" in text for text in texts)
    assert any(text.startswith("certified: gap") for text in texts)


def messages(caplog, name):
    return "\n".join(each.getMessage() for each in caplog.records if each.name.split(".")[0] == name)


def test_a_tree_and_problems_on_tensors_log_what_they_decide(caplog):
    import torch

    from solvers import branch_and_bound
    from solvers.torch_backend import solve_batch

    weights = np.triu(np.random.default_rng(3).integers(-3, 4, (14, 14)), 1)
    with caplog.at_level(logging.DEBUG, logger="solvers"):
        found = branch_and_bound(MaxCut(weights + weights.T), rng=0)
        costs = torch.from_numpy((weights + weights.T)[None].astype(float)).expand(3, -1, -1)
        solve_batch(costs.contiguous(), generator=torch.Generator().manual_seed(0))
    said = messages(caplog, "solvers")
    assert f"{found.nodes} nodes bounded, 0 open: value {found.value:.9g}" in said
    assert f"optimal: value {found.value:.9g}, gap 0, {found.nodes} nodes, 0 open" in said
    assert "3 of 3 problems certified" in said


def test_training_logs_its_epochs_where_it_goes_on_and_why_it_ends(caplog, tmp_path):
    from vispa.training.data.labelled_images import digits
    from vispa.training.data.split import split
    from vispa.training.recipes import recipe
    from vispa.training.run import train

    def end_early(epoch):
        raise StopIteration

    parts = split(digits(), seed=0, train_size=30)
    settings, checkpoint = recipe("vispa", epochs=2), tmp_path / "run.checkpoint"
    with caplog.at_level(logging.INFO, logger="vispa"):
        train(parts, settings, checkpoint=checkpoint, callback=end_early)
        done = train(parts, settings, checkpoint=checkpoint).result
    said = messages(caplog, "vispa")
    assert "Adam trains the posteriors of 2 layers" in said
    assert said.count("epoch 1: training loss") == 1
    assert f"epoch 2: training loss {done.history[1].training_loss:.4g}" in said
    assert "vispa, seed 0, callback after 1 epochs" in said
    assert f"goes on after epoch 1 of {checkpoint}" in said
    assert "vispa, seed 0, finished after 2 epochs" in said


def test_inference_and_layers_made_binary_are_logged(caplog):
    import torch

    import vispa

    with caplog.at_level(logging.INFO, logger="vispa"):
        found = vispa.minimize(lambda w: w.sum(dim=-1) ** 2, 4, max_iterations=3, generator=torch.Generator())
        report = vispa.binarize_trained(
            torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2)),
            [torch.ones(8, 4)],
            layers=["0"],
        ).report
    said = messages(caplog, "vispa")
    assert f"completed after 3 iterations: value {found.value:.9g}" in said
    assert f"layer 0 is binary: relative error {report.layers[0].relative_error:.3g}" in said


NOTHING_SAID = """
import numpy as np, torch, vispa
vispa.low_rank(vispa.MaxCut(np.ones((30, 30))), rank=1, rng=0)
model = vispa.binarize(torch.nn.Linear(4, 4), keep=())
vispa.attach(torch.optim.SGD(model.parameters(), lr=0.1), model)
vispa.minimize(lambda w: w.sum(dim=-1) ** 2, 4, max_iterations=3)
"""


def test_nothing_is_said_unless_asked_for():
    done = subprocess.run(
        [sys.executable, "-c", NOTHING_SAID], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_cvxpy_shows_decisions_and_starts_warm(capfd):
    cp = pytest.importorskip("cvxpy")
    from vispa import LowRankSolver

    cost = cp.Parameter((40, 40), symmetric=True)
    matrix = np.random.default_rng(1).standard_normal((40, 40))
    cost.value = matrix + matrix.T
    Y = cp.Variable((40, 40), PSD=True)
    problem = cp.Problem(cp.Minimize(cp.trace(cost @ Y)), [cp.diag(Y) == 1])
    logger = logging.getLogger("solvers")
    before = (logger.level, list(logger.handlers))
    solver = LowRankSolver()
    first = problem.solve(solver=solver, rng=0, verbose=True)
    assert "certified: gap" in capfd.readouterr().err
    assert (logger.level, list(logger.handlers)) == before
    cold = problem.solver_stats.num_iters
    again = problem.solve(solver=solver, rng=0, warm_start=True)
    assert again == pytest.approx(first, rel=1e-5)
    assert problem.solver_stats.num_iters < cold
    assert capfd.readouterr().err == ""
