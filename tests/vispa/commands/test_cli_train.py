"""`vispa train`: one JSON object on standard output, words on standard error, exit statuses."""

import json
import sys
import types
import typing

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


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of 8 x 8 images: reddish or bluish noise, with a test part of its own."""
    from PIL import Image

    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("pictures")
    for part, count in (("train", 20), ("test", 6)):
        for channel, name in ((0, "red"), (2, "blue")):
            (folder / part / name).mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 100, (8, 8, 3), dtype=np.uint8)
                pixels[..., channel] += 100
                Image.fromarray(pixels).save(folder / part / name / f"{index:02}.png")
    return str(folder)


def test_a_published_recipe_trains_a_narrow_network_on_a_folder_of_images(
    capsys, pictures, tmp_path, monkeypatch
):
    from vispa.training import published

    name, settings = "cifar10-resnet18-1w1a", published.PUBLISHED["cifar10-resnet18-1w1a"].recipe
    assert settings.samples == 40
    fewer = settings.__class__(
        **{**vars(settings), "samples": 2}
    )  # hundreds of passes are not what is tested
    monkeypatch.setitem(published.PUBLISHED, name, published.Published("resnet18-1w1a", fewer))
    content, _ = run_json(
        capsys, "--dataset", pictures, "--recipe", name, "--model", "resnet18-1w1a:4",
        "--epochs", "3", "--precision", "bfloat16", "--log-folder", str(tmp_path / "logs"),
    )  # fmt: skip
    (run,) = content["runs"]
    assert run["model"] == "resnet18-1w1a:4"
    assert run["training_images"] == 36
    settings = run["recipe"]
    assert (settings["rank"], settings["learning_rate"], settings["weight_decay"]) == (4, 0.5, 1e-5)
    assert (settings["crop_padding"], settings["flip"]) == (4, True)
    lines = (tmp_path / "logs" / "vispa-all-seed0.csv").read_text().splitlines()
    assert lines[0] == "epoch,training_loss,validation_accuracy,validation_loss,signs_turned,signs_moved"
    assert 0 < run["epochs"][2]["signs_moved"] < 1
    assert [float(value) for value in lines[3].split(",")] == list(run["epochs"][2].values())


def test_colours_are_learnt_under_augmentation(capsys, pictures):
    content, _ = run_json(
        capsys, "--dataset", pictures, "--recipe", "cifar10-resnet18-1w1a", "--model", "convolutional:8",
        "--method", "ste", "--epochs", "12",
    )  # fmt: skip
    assert content["summary"]["ste"]["mean_network"]["mean"] == 1.0


def test_tensorboard_is_asked_for_by_name(capsys, stripes, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    arguments = ["train", "--dataset", stripes, "--log-folder", str(tmp_path), "--log-format", "tensorboard"]
    assert main(arguments) == 2
    assert "install tensorboard, or log as csv" in capsys.readouterr().err

    class Writer:
        scalars: typing.ClassVar[list] = []

        def __init__(self, folder):
            self.folder = folder

        def add_scalar(self, name, value, step):
            self.scalars.append((self.folder, name, step))

        def flush(self):
            pass

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer))
    assert main([*arguments, "--method", "ste", "--epochs", "2"]) == 0
    folder = str(tmp_path / "ste-all-seed0")
    names = ("training_loss", "validation_accuracy", "validation_loss", "signs_turned", "signs_moved")
    assert Writer.scalars == [(folder, name, step) for step in (1, 2) for name in names]


def test_table_names_every_method_and_explains_itself(capsys, stripes):
    assert main(["train", "--dataset", stripes, "--method", "bernoulli", "float", "--epochs", "2"]) == 0
    output = capsys.readouterr().out
    rows = [line.split()[0] for line in output.splitlines() if line]
    assert "bernoulli" in rows
    assert "float" in rows
    assert "Difference: sgn(mean) of bernoulli minus this row's" in " ".join(output.split())


def test_time_limit_exits_with_one_and_keeps_the_test_images(capsys, stripes):
    assert main(["train", "--dataset", stripes, "--max-seconds", "0", "--json"]) == 1
    captured = capsys.readouterr()
    (run,) = json.loads(captured.out)["runs"]
    assert run["status"] == "time_limit"
    assert run["test"] is None
    assert "1 of 1 runs did not finish: the time limit" in captured.err


def test_diverging_run_exits_with_one_and_names_the_layer(capsys, stripes, monkeypatch):
    from vispa.training import recipes

    monkeypatch.setitem(recipes.TUNED, "float", {"learning_rate": 1e38})
    assert main(["train", "--dataset", stripes, "--method", "float"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "first not finite:" in captured.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--method", "sgd"], "method"),
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
        (["--checkpoint-every", "0"], "checkpoint_every"),
        (["--log-folder", __file__], "log_folder"),
        (["--log-folder", "logs", "--log-format", "xml"], "log_format"),
        (["--recipe", "cifar10"], "recipe"),
        (["--recipe", "cifar10-resnet18-1w1a", "--model", "resnet18-1w1a:0"], "colon"),
        (["--recipe", "cifar10-vgg16-1w32a"], "shape"),  # digits are too small
        (["--image-size", "8"], "image_size"),
        (["--device", "tpu"], "device"),
        (["--device", "cuda:99"], "device 'cuda:99' is not here"),
        (["--precision", "int8"], "precision"),
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
