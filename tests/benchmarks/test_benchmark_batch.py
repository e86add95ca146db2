"""The batch benchmark, run whole on tiny problems."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

TINY = """
import sys

from benchmarks.sdp import batch_ceilings
from benchmarks.sdp import sdp_batch
from pathlib import Path

batch_ceilings.REPEATS = 1
sdp_batch.GRIDS = {"cpu": {8: (5,)}}
sdp_batch.LOOPED = {8: 3}
sdp_batch.main(["--output", sys.argv[1], "--remark", "tiny"])
"""

TINY_SHARED = """
import sys

from benchmarks.sdp import sdp_shared

sdp_shared.GRIDS = {"cpu": {8: 3}}
sdp_shared.main(["--output", sys.argv[1], "--remark", "tiny"])
"""


def run(script, folder):
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def test_layers_are_measured_beside_the_loop(tmp_path):
    run(TINY_SHARED, tmp_path)
    (file,) = tmp_path.glob("sdp_shared_*_cpu.json")
    rows = json.loads(file.read_text())["rows"]
    assert [row["kind"] for row in rows] == ["regular", "singular", "decaying"]
    lines = [line for line in file.with_suffix(".md").read_text().splitlines() if line.startswith("| 8 |")]
    for row, line in zip(rows, lines, strict=True):
        assert row["certified"] == row["channels"] == 3
        assert row["worst_gap"] <= 1e-4
        assert row["difference"] <= 2e-4
        assert row["layer_error"] <= row["naive_error"]
        ratio = (row["loop_seconds"] / row["looped"]) / (row["seconds"] / 3)
        assert float(line.split("|")[9]) == pytest.approx(ratio, rel=6e-3)


def test_every_number_is_there_and_agrees_with_the_others(tmp_path):
    run(TINY, tmp_path)
    (file,) = tmp_path.glob("sdp_batch_*_cpu.json")
    report = json.loads(file.read_text())
    rows = {(row["solver"], row["dtype"]): row for row in report["rows"]}
    assert {solver for solver, _ in rows} == {
        "low_rank in a loop, processor",
        "solve_batch, compiled, cpu",
        "solve_batch, torch, cpu",
    }
    for row in rows.values():
        assert row["certified"] == row["problems"]
        assert row["worst_gap"] <= row["tol"]
        assert row["seconds"] > 0
    compiled, loop = (
        rows["solve_batch, compiled, cpu", "float64"],
        rows["low_rank in a loop, processor", "float64"],
    )
    table = file.with_suffix(".md").read_text()
    (line,) = [
        line for line in table.splitlines() if "| float64 | 1e-06 | solve_batch, compiled, cpu |" in line
    ]
    ratio = (loop["seconds"] / loop["problems"]) / (compiled["seconds"] / compiled["problems"])
    assert float(line.split("|")[9]) == pytest.approx(ratio, rel=6e-3)
    sweeps = compiled["mean_sweeps"] * compiled["problems"]
    assert compiled["flops"] % (2 * sweeps * 8**2) == 0
    assert "tiny" in table
    assert report["ceilings"]["bandwidth"] > 0
