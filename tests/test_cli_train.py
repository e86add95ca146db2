"""`vispa train`: one JSON object on standard output, words on standard error, exit statuses."""

import json

import numpy as np
import pytest

from vispa.cli import main


@pytest.fixture
def stripes(tmp_path):
    """Images 4 x 6 of horizontal and vertical stripes with a little noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2
    pattern = np.stack([np.indices((4, 6))[axis] % 2 for axis in (0, 1)]).astype(float)
    path = tmp_path / "stripes.npz"
    np.savez(path, images=pattern[labels] + 0.1 * rng.normal(size=(80, 4, 6)), labels=labels)
    return str(path)


def run_json(capsys, *arguments):
    assert main(["train", "--json", *arguments]) == 0
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


def test_json_is_one_object_with_runs_summary_and_differences(capsys, stripes):
    arguments = [
        "--dataset",
        stripes,
        "--method",
        "vispa",
        "ste",
        "--seeds",
        "2",
        "--epochs",
        "4",
        "--rank",
        "2",
    ]
    content, errors = run_json(capsys, *arguments, "--seed", "5", "--train-size", "40")
    assert errors == ""  # no progress bar where standard error is no terminal
    assert [(run["recipe"]["method"], run["seed"]) for run in content["runs"]] == [
        ("vispa", 5), ("vispa", 6), ("ste", 5), ("ste", 6),
    ]  # fmt: skip
    assert {run["recipe"]["rank"] for run in content["runs"]} == {2}
    assert {run["training_images"] for run in content["runs"]} == {40}
    ours, theirs = ([run["test"]["mean_network"] for run in content["runs"]][part] for part in np.s_[:2, 2:])
    assert content["summary"]["vispa"]["mean_network"]["mean"] == pytest.approx(np.mean(ours))
    assert content["summary"]["ste"]["ensemble"] is None
    (difference,) = content["paired_differences"]
    assert difference["mean"] == pytest.approx(np.mean(ours) - np.mean(theirs))
    assert difference["lower"] <= difference["mean"] <= difference["upper"]


def test_stripes_are_learnt(capsys, stripes):
    content, _ = run_json(capsys, "--dataset", stripes, "--method", "float", "--model", "multilayer")
    assert content["summary"]["float"]["mean_network"]["mean"] == 1.0


def test_checkpoints_are_taken_up_and_give_the_same_numbers(capsys, stripes, tmp_path):
    folder = tmp_path / "kept"
    arguments = [
        "--dataset",
        stripes,
        "--method",
        "ste",
        "bernoulli",
        "--epochs",
        "3",
        "--checkpoint",
        str(folder),
    ]
    first, _ = run_json(capsys, *arguments)
    assert sorted(entry.name for entry in folder.iterdir()) == [
        "bernoulli-all-seed0.checkpoint", "ste-all-seed0.checkpoint",
    ]  # fmt: skip
    second, _ = run_json(capsys, *arguments)
    for content in (first, second):
        for run in content["runs"]:
            run.pop("seconds")
    assert first == second


def test_table_names_every_method_and_explains_itself(capsys, stripes):
    assert main(["train", "--dataset", stripes, "--method", "bernoulli", "float", "--epochs", "2"]) == 0
    output = capsys.readouterr().out
    rows = [line.split()[0] for line in output.splitlines() if line]
    assert "bernoulli" in rows
    assert "float" in rows
    assert "Difference: sgn(mean) of bernoulli minus this row's" in output


def test_time_limit_exits_with_one_and_keeps_the_test_images(capsys, stripes):
    assert main(["train", "--dataset", stripes, "--max-seconds", "0", "--json"]) == 1
    captured = capsys.readouterr()
    (run,) = json.loads(captured.out)["runs"]
    assert run["status"] == "time_limit"
    assert run["test"] is None
    assert "1 of 1 runs did not finish: the time limit" in captured.err


def test_diverging_run_exits_with_one_and_names_the_layer(capsys, stripes, monkeypatch):
    from vispa.training import recipes

    monkeypatch.setitem(recipes.LEARNING_RATES, "float", 1e38)
    assert main(["train", "--dataset", stripes, "--method", "float"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "first not finite:" in captured.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--method", "bop"], "method"),
        (["--method", "ste", "ste"], "method"),
        (["--model", "resnet"], "model"),
        (["--rank", "0"], "rank"),
        (["--rank", "3", "--method", "ste"], "rank"),
        (["--seed", str(2**63)], "seed"),
        (["--epochs", "0"], "epochs"),
        (["--seeds", "0"], "seeds"),
        (["--seed", "-1"], "seed"),
        (["--train-size", "3"], "train_size"),
        (["--train-size", "100000"], "train_size"),
        (["--max-seconds", "-1"], "max_seconds"),
        (["--max-seconds", "nan"], "max_seconds"),
        (["--dataset", "mnist"], "dataset"),
        (["--dataset", "absent.npz"], "absent.npz"),
        (["--checkpoint", __file__], "checkpoint"),
    ],
)
def test_bad_arguments_exit_with_two_and_are_named(capsys, arguments, named):
    assert main(["train", "--epochs", "1", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert named in captured.err
    assert captured.err.count("\n") == 1


def test_damaged_checkpoint_exits_with_two_and_names_the_file(capsys, stripes, tmp_path):
    path = tmp_path / "ste-all-seed0.checkpoint"
    path.write_bytes(b"not a checkpoint")
    assert main(["train", "--dataset", stripes, "--method", "ste", "--checkpoint", str(tmp_path)]) == 2
    assert str(path) in capsys.readouterr().err
