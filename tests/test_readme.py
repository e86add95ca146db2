"""The Python in the README runs as it stands."""

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


@pytest.fixture
def seeded():
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def test_there_is_python_to_run():
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("block", BLOCKS, ids=[block.splitlines()[-1][:40] for block in BLOCKS])
def test_block_runs(block, seeded, capsys, tmp_path, monkeypatch):
    if "save_packed" in block:
        pytest.importorskip("safetensors")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(block, str(README), "exec"), names)
    if "solution" in names:
        assert names["solution"].certified
    if "plain" in names:
        weight = names["plain"][2].weight
        per_channel = weight.abs().flatten(1)
        assert (per_channel == per_channel[:, :1]).all()
