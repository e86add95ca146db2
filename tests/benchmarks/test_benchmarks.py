"""The benchmark of the low-rank solver, run whole on tiny graphs: every number it reports must be right."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from solvers import MaxCut, exact

ROOT = Path(__file__).resolve().parents[2]

# Stands in for the mixing method: announces a value that approaches -9 geometrically, and writes unit rows.
STAND_IN = """#!{python}
import sys
path, limit = sys.argv[-1], int(sys.argv[sys.argv.index("-t") + 1])
order = int(open(path).readline().split()[0])
for iteration in range(min(limit, 60) + 1):
    print("iter", iteration, "time", 0.5 * iteration, "fval", -9 + 0.5**iteration, "delta", 0)
open(path + ".sol", "w").write("\\n".join("1 0" for _ in range(order)))
"""


def run_benchmark(output: Path, *arguments: str) -> dict[str, Any]:
    """Run the program as a user does, and return its JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sdp.sdp", "--output", str(output), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    table = Path(done.stdout.strip())
    assert table.read_text().startswith("# Unit-diagonal SDPs")
    return json.loads(table.with_suffix(".json").read_text())


def bipartite_file(folder: Path) -> Path:
    """K_{3,3}: nine edges, all of which the best cut and the relaxation count."""
    path = folder / "bipartite"
    edges = [f"{i} {j} 1\n" for i in (1, 2, 3) for j in (4, 5, 6)]
    path.write_text("6 9\n" + "".join(edges))
    return path


def test_every_solver_reaches_the_known_optimum(tmp_path: Path) -> None:
    report = run_benchmark(tmp_path / "output", str(bipartite_file(tmp_path)), "--limit", "20")
    (instance,) = report["instances"]
    assert (instance["name"], instance["order"], instance["edges"]) == ("bipartite", 6, 9)
    outcomes = {outcome["solver"]: outcome for outcome in instance["outcomes"]}
    assert {"vispa", "vispa, rigorous", "clarabel", "scs", "pymanopt TrustRegions"} <= set(outcomes)
    for name, outcome in outcomes.items():
        if outcome["note"] == "pymanopt is not installed":
            assert outcome["seconds"] is None
            continue
        assert outcome["value"] == pytest.approx(-9.0, rel=2e-6), name
        assert outcome["gap"] <= 1e-5, name
        assert outcome["dense_gap"] == pytest.approx(outcome["gap"], abs=1e-7), name
    for name in ("vispa", "vispa, rigorous", "clarabel", "scs"):
        assert outcomes[name]["seconds"] > 0, name
    assert set(report["first_call"]) == {"cold", "warm"}
    assert report["threads"] == 1
    assert report["versions"]["numpy"] == np.__version__


def test_mixing_stops_at_the_first_value_within_the_tolerance(tmp_path: Path) -> None:
    from benchmarks.sdp.instances import from_file
    from benchmarks.sdp.mixing import run_mixing

    program = tmp_path / "stand-in"
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    instance = from_file(bipartite_file(tmp_path))
    for outcome in run_mixing(program, instance, optimum=-9.0, tol=1e-3, limit=100.0):
        # 2^-6 > 9e-3 >= 2^-7, each iteration half a second
        assert outcome.note == "7 iterations"
        assert outcome.wall == 3.5
        # all rows equal: nothing is cut, and no certificate is near
        assert outcome.value == pytest.approx(0.0, abs=1e-12)
        assert outcome.gap is not None
        assert outcome.gap > 0.1
    for outcome in run_mixing(program, instance, optimum=-9.0, tol=1e-3, limit=2.0):
        assert outcome.note == "7 iterations" or outcome.seconds is None
    for outcome in run_mixing(program, instance, optimum=-9.1, tol=1e-6, limit=100.0):
        assert outcome.seconds is None


def test_rudy_file_of_any_cost_has_the_same_optimum(tmp_path: Path) -> None:
    from benchmarks.sdp.instances import write_rudy
    from solvers import Elliptope, read_rudy

    generator = np.random.default_rng(0)
    half = sp.triu(sp.random_array((12, 12), density=0.4, rng=generator, data_sampler=generator.normal))
    cost = sp.csr_array(half + half.T)
    offset = write_rudy(cost, tmp_path / "graph")
    written = exact(read_rudy(tmp_path / "graph"))
    assert written.value + offset == pytest.approx(exact(Elliptope(cost)).value, rel=1e-6)


def test_generated_graphs_are_what_their_names_say() -> None:
    from benchmarks.sdp.instances import generated

    sparse, dense, torus = generated(100)
    assert [sparse.name, dense.name, torus.name] == ["sparse-100", "dense-100", "torus-100"]
    assert torus.edges == 200
    assert np.array_equal(np.diff(torus.cost.indptr) - (torus.cost.diagonal() != 0), np.full(100, 4))
    assert dense.edges == round(0.2 * 100 * 99 / 2)
    for instance in (sparse, dense, torus):
        assert np.abs(instance.cost.sum(axis=1)).max() < 1e-12
        assert abs(instance.cost - instance.cost.T).max() == 0


def test_accuracy_agrees_with_the_definition() -> None:
    from benchmarks.sdp.accuracy import measure
    from benchmarks.sdp.instances import Instance

    graph = np.ones((5, 5)) - np.eye(5)
    cost = sp.csr_array(MaxCut(graph).relaxation().cost)
    factor = np.random.default_rng(0).standard_normal((5, 3))
    reached = measure(Instance("complete", cost), factor)
    rows = factor / np.linalg.norm(factor, axis=1, keepdims=True)
    dense = cost.toarray()
    value = float(np.sum(dense * (rows @ rows.T)))
    dual = np.sum((dense @ rows) * rows, axis=1)
    bound = dual.sum() + 5 * min(np.linalg.eigvalsh(dense - np.diag(dual))[0], 0.0)
    assert reached.value == pytest.approx(value)
    expected = (value - bound) / max(abs(value), np.linalg.norm(dense))
    assert reached.gap == pytest.approx(expected)
    assert reached.dense_gap == pytest.approx(expected)


def test_ratios_take_the_fastest_setting_of_a_peer() -> None:
    from benchmarks.sdp.outcome import Outcome
    from benchmarks.sdp.report import Row, ratios

    def row(name: str, ours: float, *peers: float | None) -> Any:
        settings = zip(("default", "/2"), peers, strict=True)
        outcomes = [Outcome(f"mixing, rank {rank}", seconds) for rank, seconds in settings]
        return Row(name, 1, 0, 0.0, 0.0, (Outcome("vispa", ours), Outcome("vispa, rigorous", 9.0), *outcomes))

    found = ratios([row("a", 1.0, 4.0, 2.0), row("b", 4.0, 2.0, None)])
    assert found["mixing"] == pytest.approx(
        {"geometric_mean": 1.0, "worst": 2.0, "instances": 2} | {"worst_on": "b"}
    )
    assert found["mixing, rank /2"]["instances"] == 1
