"""The benchmark of growth, run whole on small graphs."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_row_is_certified_and_plotted(tmp_path):
    command = [
        sys.executable,
        "-m",
        "benchmarks.sdp.sdp_scale",
        "--output",
        str(tmp_path),
        "--largest",
        "1000",
    ]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    table = Path(done.stdout.strip())
    rows = json.loads(table.with_suffix(".json").read_text())["rows"]
    assert [(row["order"], row["workers"]) for row in rows] == [(1000, 1), (1000, 2)]
    for row in rows:
        assert row["status"] == "CERTIFIED"
        assert 0.0 <= row["gap"] <= 1e-4
        assert row["peak_megabytes"] > 0
    assert table.read_text().count("| certified |") == 2
    assert table.with_suffix(".png").stat().st_size > 1000
