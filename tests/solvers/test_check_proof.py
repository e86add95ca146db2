"""Written proofs hold in exact arithmetic, with the standard library alone; anything changed in them does not."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from solvers import BinaryQuadratic, MaxCut, branch_and_bound, brute_force
from solvers.branching import bounding
from solvers.check_proof import NotProved, check, positive_semidefinite

ROOT = Path(__file__).resolve().parents[2]


def graph(n, seed):
    upper = np.triu(np.random.default_rng(seed).integers(-3, 4, (n, n)), 1)
    return upper + upper.T


def write_rudy(path, weights):
    rows, columns = np.nonzero(np.triu(weights, 1))
    lines = [f"{i + 1} {j + 1} {weights[i, j]}" for i, j in zip(rows, columns, strict=True)]
    path.write_text("\n".join([f"{len(weights)} {len(lines)}", *lines]) + "\n")


def write_sparse(path, Q):
    rows, columns = np.nonzero(np.triu(Q))
    lines = [f"{i + 1} {j + 1} {Q[i, j]}" for i, j in zip(rows, columns, strict=True)]
    path.write_text("\n".join([f"{len(Q)} {len(lines)}", *lines]) + "\n")


@pytest.fixture
def proved(tmp_path, monkeypatch):
    """A proof with branches, and its problem's file."""
    monkeypatch.setattr(bounding, "MAX_ROUNDS", 2)
    weights = graph(18, 0)
    write_rudy(tmp_path / "graph", weights)
    solution = branch_and_bound(MaxCut(weights), proof=True, rng=0)
    solution.write_proof(tmp_path / "proof.json")
    assert len(solution.tree) >= 3
    return tmp_path / "proof.json", tmp_path / "graph", solution


def leaves(tree):
    if "pair" not in tree:
        yield tree
    else:
        yield from leaves(tree["equal"])
        yield from leaves(tree["opposite"])


def test_proofs_with_branches_hold(proved):
    file, problem, solution = proved
    best, count = check(json.loads(file.read_text()), problem)
    assert solution.form.objective(best) == solution.value == brute_force(solution.problem).value
    assert count == sum(node.finished for node in solution.tree)


@pytest.mark.parametrize("seed", range(4))
def test_proofs_of_zero_one_problems_hold(tmp_path, seed):
    Q = graph(10, seed) + np.diag(np.random.default_rng(seed).integers(-5, 6, 10))
    write_sparse(tmp_path / "problem.sparse", Q)
    solution = branch_and_bound(BinaryQuadratic.from_qubo(Q), proof=True, rng=0)
    solution.write_proof(tmp_path / "proof.json")
    best, _ = check(json.loads((tmp_path / "proof.json").read_text()), tmp_path / "problem.sparse")
    assert solution.form.objective(best) == brute_force(solution.problem).value


def spoiled(document):
    worse = copy.deepcopy(document)
    worse["signs"][3] *= -1
    yield "worse point", worse
    for name, change in (
        ("dual", lambda entry: entry + (1 << 42)),
        ("multipliers", lambda entry: -entry - 1),
    ):
        broken = copy.deepcopy(document)
        leaf = next(leaf for leaf in leaves(broken["tree"]) if leaf[name])
        leaf[name] = [change(entry) for entry in leaf[name]]
        yield name, broken
    cut = copy.deepcopy(document)
    leaf = next(leaf for leaf in leaves(cut["tree"]) if leaf["cuts"])
    leaf["cuts"][0] = leaf["cuts"][0][:2]
    yield "even clique", cut
    tied = copy.deepcopy(document)
    tied["tree"]["equal"] = {"pair": tied["tree"]["pair"], "equal": {}, "opposite": {}}
    yield "tied twice", tied
    other = copy.deepcopy(document)
    other["problem_sha256"] = "0" * 64
    yield "another problem", other


def test_spoiled_proofs_do_not_hold(proved):
    file, problem, _ = proved
    document = json.loads(file.read_text())
    for name, broken in spoiled(document):
        with pytest.raises(NotProved):
            pytest.fail(f"{name}: {check(broken, problem)}")


def test_another_problem_is_not_proved(proved, tmp_path):
    file, _, _ = proved
    write_rudy(tmp_path / "other", graph(18, 1))
    with pytest.raises(NotProved, match="another problem"):
        check(json.loads(file.read_text()), tmp_path / "other")


def test_the_checker_needs_the_standard_library_alone(proved):
    file, problem, _ = proved
    command = [sys.executable, "-I", "-S", str(ROOT / "solvers" / "check_proof.py"), str(file), str(problem)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout[:6]) == (0, "PROVED")


@pytest.mark.parametrize("shift", [0, 200])
def test_definiteness_is_decided_exactly(shift):
    rng = np.random.default_rng(0)
    for _ in range(20):
        factor = rng.integers(-9, 10, (6, 4))
        S = factor @ factor.T
        lifted = [[int(entry) << shift for entry in row] for row in S + np.eye(6, dtype=int)]
        assert positive_semidefinite(lifted)
        lowered = [[int(entry) << shift for entry in row] for row in S - np.eye(6, dtype=int)]
        assert not positive_semidefinite(lowered)


def test_only_kept_proofs_of_whole_numbers_are_written(tmp_path):
    solution = branch_and_bound(MaxCut(graph(8, 0)), rng=0)
    with pytest.raises(ValueError, match="proof=True"):
        solution.write_proof(tmp_path / "proof.json")
    solution = branch_and_bound(MaxCut(graph(8, 0) * np.sqrt(2)), proof=True, rng=0)
    assert solution.optimal
    if not solution.form.exact:
        with pytest.raises(ValueError, match="whole numbers"):
            solution.write_proof(tmp_path / "proof.json")
