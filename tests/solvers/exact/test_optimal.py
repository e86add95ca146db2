"""Proved optima beyond enumeration, and what searches and bounds make of the same problems."""

import json

import numpy as np
import pytest

from solvers import BinaryQuadratic, MaxCut, brute_force, low_rank, round_homogeneous, tabu_search
from solvers.testing import optimal
from vispa.cli import main


def problem(n, seed, *, whole=True):
    rng = np.random.default_rng(seed)
    A = rng.integers(-5, 6, (n, n)) if whole else rng.standard_normal((n, n))
    return BinaryQuadratic(A + A.T, rng.integers(-5, 6, n) if whole else rng.standard_normal(n))


@pytest.mark.parametrize(
    ("n", "seed", "whole"), [(40, 0, True), (48, 1, True), (60, 2, True), (40, 3, False)]
)
def test_searches_end_between_the_optimum_and_nothing(n, seed, whole):
    posed = problem(n, seed, whole=whole)
    best = optimal(posed)
    scale = abs(best.value)
    assert float(posed.evaluate(best.signs)) == pytest.approx(best.value, rel=1e-12)
    relaxed = low_rank(posed, rng=seed)
    rounded = round_homogeneous(relaxed, samples=50, rng=seed)
    found = tabu_search(posed, rounded.signs, rng=seed)
    assert relaxed.lower_bound <= best.value + 1e-9 * scale
    assert rounded.value >= best.value - 1e-6 * scale
    assert found.value == pytest.approx(best.value, rel=1e-9), "tabu search finds optima of this size"


@pytest.mark.parametrize("n", [1, 2, 12, 22])
def test_small_optima_are_those_of_enumeration(n):
    posed = problem(n, n)
    assert optimal(posed).value == brute_force(posed).value


def petersen(path):
    edges = [(i, (i + 1) % 5) for i in range(5)] + [(i, i + 5) for i in range(5)]
    edges += [(5 + i, 5 + (i + 2) % 5) for i in range(5)]
    path.write_text("10 15\n" + "".join(f"{i + 1} {j + 1} 1\n" for i, j in edges))
    return str(path)


def test_the_command_proves(tmp_path, capsys):
    assert main(["solve", petersen(tmp_path / "graph"), "--prove", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["optimal"]
    assert report["value"] == report["upper_bound"] == 12
    assert main(["solve", petersen(tmp_path / "graph"), "--prove"]) == 0
    assert "optimal" in capsys.readouterr().out


@pytest.mark.parametrize(
    "option", [["--rank", "3"], ["--rigorous"], ["--tol", "1e-3"], ["--method", "exact"]]
)
def test_options_of_the_relaxation_are_refused(tmp_path, capsys, option):
    assert main(["solve", petersen(tmp_path / "graph"), "--prove", *option]) == 2
    assert option[0] in capsys.readouterr().err


def test_cuts_are_reported_as_cuts():
    assert optimal(MaxCut(1.0 - np.eye(6))).value == -9.0
