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


def test_nothing_is_said_unless_asked_for():
    code = (
        "import numpy as np\nfrom solvers import MaxCut, low_rank\n"
        "low_rank(MaxCut(np.ones((30, 30))), rank=1, rng=0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
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
