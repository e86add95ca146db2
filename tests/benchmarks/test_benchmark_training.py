"""The benchmark of a training step, run whole on a tiny network: its ratios and floors must be right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Stands for the published layer: the same class name, the same arguments, a call of .cuda() in its forward.
LAYER = """
import torch
from torch import nn
from utils import binarize


class BinarizeConv2dSDP(nn.Module):
    def __init__(self, K, scale, inputs, outputs, kernel_size, stride, padding, binarize_a):
        super().__init__()
        assert not binarize_a and scale == 100.0
        self.M = nn.Parameter(torch.randn(outputs, inputs, kernel_size, kernel_size))
        self.Z = nn.Parameter(torch.randn(K, *self.M.shape))
        self.options = {"stride": stride, "padding": padding}

    def forward(self, inputs):
        latent = self.M + torch.tensordot(torch.randn(self.Z.shape[0]).cuda(), self.Z, 1)
        return torch.nn.functional.conv2d(inputs, latent.tanh(), **self.options)
"""


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("training")
    (folder / "layer.py").write_text(LAYER)
    command = [sys.executable, "-m", "benchmarks.networks.training", "--output", str(folder)]
    sizes = ["--width", "2", "--batch", "2", "4", "--rank", "1", "3", "--rounds", "3"]
    options = ["--network", "resnet18-1w1a", *sizes, "--remark", "Busy."]
    done = subprocess.run(
        [*command, *options, "--published", str(folder / "layer.py")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    table = Path(done.stdout.strip())
    assert "Busy." in table.read_text()
    return json.loads(table.with_suffix(".json").read_text())


def test_every_variant_is_measured_at_every_batch_size(content):
    names = [row["variant"] for row in content["rows"] if row["batch"] == 4]
    assert names == [row["variant"] for row in content["rows"] if row["batch"] == 2]
    assert names == [
        "STE weight",
        "float weight",
        "vispa.binarize, method ste",
        *("vispa K = 1", "vispa K = 1, default SGD", "published K = 1, default SGD"),
        *("vispa K = 3", "vispa K = 3, default SGD", "published K = 3, default SGD"),
    ]
    # 3 x 3 convolutions of 2, 4, 8 and 16 channels.
    assert content["binary_weights"] == 9 * (4 * 4 + (8 + 3 * 16) + (32 + 3 * 64) + (128 + 3 * 256))


def test_ratios_and_floors_follow_from_the_seconds(content):
    for row in content["rows"]:
        ste = next(r for r in content["rows"] if (r["batch"], r["variant"]) == (row["batch"], "STE weight"))
        rounds = sorted(
            mine / other for mine, other in zip(row["all_seconds"], ste["all_seconds"], strict=True)
        )
        assert len(rounds) == 3
        assert row["ratio"] == pytest.approx(rounds[1])
        assert row["fastest_ratio"] == pytest.approx(min(row["all_seconds"]) / min(ste["all_seconds"]))
        assert min(row["all_seconds"]) > 0
        if row["rank"] == 0:
            assert row["floor_ratio"] is None
        else:
            # Between 0.1 and 1000 GB a second.
            moved = 9 * 4 * row["rank"] * content["binary_weights"]
            assert 1e8 < moved / row["floor_seconds"] < 1e12
