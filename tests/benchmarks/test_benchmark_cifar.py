"""The CIFAR-10 script, run whole on a tiny folder: subsets, tuning, time limit and report do what they say."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.networks import cifar

COMMON = ["--width", "2", "--batch-size", "16", "--samples", "2", "--name", "tiny"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("tiny")
    for part, count in (("train", 30), ("test", 12)):
        for name in ("a", "b", "c"):
            (folder / part / name).mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{index}.png")
    return folder


def test_one_pair_tuned_and_reported(folder, tmp_path, capsys):
    only = ["--only", "cifar10-resnet18-1w1a/vispa", "cifar10-resnet18-1w1a/ste"]
    options = ["--images", "60", "--test-images", "30", "--epochs", "2", "--tuning-rates", "0.1", "0.4"]
    arguments = [str(folder), *COMMON, *options, "--tuning-epochs", "1", "--output", str(tmp_path), *only]
    assert cifar.main(arguments) == 0
    content = json.loads((tmp_path / "tiny.json").read_text())
    assert [run["method"] for run in content["runs"]] == ["vispa", "ste"]
    for run in content["runs"]:
        trials = {
            t["learning_rate"]: t["validation_accuracy"]
            for t in content["tuning"]
            if t["method"] == run["method"]
        }
        assert set(trials) == {0.1, 0.4}
        assert trials[run["settings"]["learning_rate"]] == max(trials.values())
        assert (run["training_images"], run["test_images"], len(run["epochs"])) == (54, 30, 2)
    assert content["runs"][0]["test"]["ensemble"] is not None
    assert content["runs"][1]["test"]["ensemble"] is None
    assert "SUBSET: 60 images" in content["data"]
    assert str(folder) not in json.dumps(content)
    table = (tmp_path / "tiny.md").read_text()
    assert table == capsys.readouterr().out.removesuffix("\n")
    assert f"| {100 * content['runs'][0]['test']['mean_network']:.2f} |" in table
    assert (tmp_path / "tiny.png").read_bytes().startswith(b"\x89PNG")
    assert cifar.main(arguments) == 0  # runs that are there are kept
    assert json.loads((tmp_path / "tiny.json").read_text()) == content
    with pytest.raises(ValueError, match="is of other options"):
        cifar.main([*arguments, "--seed", "1"])


def test_what_does_not_fit_is_skipped_in_words(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "RUNS", cifar.RUNS[:2])
    monkeypatch.setitem(cifar.SECONDS_AN_EPOCH, "resnet18-1w1a:2", 3600.0)
    arguments = [str(folder), *COMMON, "--epochs", "1", "--max-minutes", "10", "--output", str(tmp_path)]
    assert cifar.main(arguments) == 0
    content = json.loads((tmp_path / "tiny.json").read_text())
    assert content["runs"] == []
    assert [entry["method"] for entry in content["skipped"]] == ["vispa", "bernoulli"]
    assert (
        "Skipped: cifar10-resnet18-1w1a/vispa, for the time that was left."
        in (tmp_path / "tiny.md").read_text()
    )


def test_minutes_become_epochs_by_a_measured_epoch(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "RUNS", cifar.RUNS[3:4])
    monkeypatch.setitem(cifar.SECONDS_AN_EPOCH, "resnet18-1w1a:2", 20.0)
    arguments = [str(folder), *COMMON, "--minutes-per-run", "1", "--output", str(tmp_path)]
    assert cifar.main(arguments) == 0
    (run,) = json.loads((tmp_path / "tiny.json").read_text())["runs"]
    assert len(run["epochs"]) == 3
    monkeypatch.setattr(cifar, "RUNS", [("cifar10-resnet18-1w1a", "ste")])
    monkeypatch.setitem(cifar.SECONDS_AN_EPOCH, "resnet18-1w1a:2", 10.0)
    assert cifar.main(arguments) == 0  # in a later call every epoch may seem to take less
    runs = json.loads((tmp_path / "tiny.json").read_text())["runs"]
    assert [len(run["epochs"]) for run in runs] == [3, 3]


@pytest.mark.parametrize(
    "arguments",
    [[], ["--epochs", "1", "--minutes-per-run", "1"], ["--epochs", "1", "--tuning-rates", "0.1"]],
)
def test_unclear_budgets_are_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        cifar.parse(["data", *arguments])
    assert "error:" in capsys.readouterr().err
