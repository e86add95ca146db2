"""What is refused before the work, and in whose words: files of comparisons, data, starts, teachers, tables."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from vispa.cli import main
from vispa.training.compare import compare, paired_jobs
from vispa.training.comparison import Comparison, Plan
from vispa.training.data.labelled_images import fingerprint, labelled_images
from vispa.training.data.split import split
from vispa.training.divergence import NonFiniteError
from vispa.training.recipes import recipe
from vispa.training.report import as_json, table
from vispa.training.run import train


def stripes(classes=3, shift=0.0):
    labels = np.arange(60) % classes
    images = np.random.default_rng(0).random((60, 8, 8)) + labels[:, None, None] + shift
    return labelled_images(images, labels)


def plan(**changes):
    small = {"epochs": (1,), "seeds": 1, "trials": 1, "model": "multilayer", "samples": 1, "tuning_seeds": 1}
    return Plan(("ste",), **{**small, **changes})


@pytest.fixture(scope="module")
def parts():
    return split(stripes(), seed=0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished comparison's file."""
    path = tmp_path_factory.mktemp("comparison") / "found.json"
    assert Comparison(plan(), path).run(stripes())
    return path


def test_a_comparison_goes_on_with_its_own_data_alone(whole):
    for data in (stripes(classes=2), stripes(shift=0.5)):
        assert fingerprint(data) != fingerprint(stripes())
        with pytest.raises(ValueError, match=r"data must be those of .*found\.json"):
            Comparison(plan(), whole).run(data)
    assert Comparison(plan(), whole).run(stripes(), max_seconds=0.0)


def test_a_file_without_a_note_of_its_data_is_taken_up(whole, tmp_path):
    found = json.loads(whole.read_text())
    del found["data"]
    path = tmp_path / "older.json"
    path.write_text(json.dumps(found))
    assert Comparison(plan(), path).run(stripes(), max_seconds=0.0)


@pytest.mark.parametrize("kind", ["trials", "runs"])
@pytest.mark.parametrize("record", [{}, None, {"settings": {}}, "lost"])
def test_incomplete_records_are_named(whole, tmp_path, kind, record):
    found = json.loads(whole.read_text())
    name = next(iter(found[kind]))
    found[kind][name] = record
    path = tmp_path / "damaged.json"
    path.write_text(json.dumps(found))
    with pytest.raises(ValueError, match=rf"damaged\.json is damaged: its '{name}' is incomplete"):
        Comparison(plan(), path)
    found[kind] = []
    path.write_text(json.dumps(found))
    with pytest.raises(ValueError, match=f"its '{kind}' is incomplete"):
        Comparison(plan(), path)


WORDS = [
    "compare",
    "--model",
    "multilayer",
    "--train-size",
    "30",
    "--epochs",
    "1",
    "--seeds",
    "1",
    "--trials",
    "1",
]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--output", "missing/found.json"], "output must lie in a folder that exists"),
        (["--output", "."], "output must be a file"),
        (["--output", "found.md"], "output must not end in .md"),
        (["--output", "found.json", "--curves", "missing/curves.png"], "curves must be a file in a folder"),
        (["--output", "found.json", "--reference", "bop"], "reference must be one of 'vispa'"),
    ],
)
def test_what_could_not_be_written_is_refused_before_the_work(capsys, tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Comparison, "run", lambda *_, **__: pytest.fail("worked"))
    if "--curves" in words:
        pytest.importorskip("matplotlib")
    assert main([*WORDS, "--method", "vispa", *words]) == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_one_method_is_its_own_reference(capsys, tmp_path):
    pytest.importorskip("sklearn")
    words = [*WORDS, "--method", "frozen", "--output", str(tmp_path / "found.json"), "--max-seconds", "0"]
    assert main(words) == 1
    assert "frozen: trials are missing" in capsys.readouterr().out
    assert "minus frozen" in (tmp_path / "found.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("seeds", [[0, 0], [0]])
def test_tables_never_mix_two_recipes_of_a_method(seeds):
    recipes = [
        recipe("vispa", rank=rank, epochs=1, samples=1) for rank in ((1,) if len(seeds) > 1 else (1, 2))
    ]
    results = compare(stripes(), paired_jobs(recipes, seeds), model="multilayer")
    assert len(results) == 2
    for laid_out in (table, as_json):
        with pytest.raises(ValueError, match="found 'vispa' twice under seed 0"):
            laid_out(results)


def test_a_start_that_does_not_fit_is_named(parts):
    trained = train(parts, recipe("ste", epochs=1), model="multilayer").network
    for start in (nn.Linear(2, 2), trained):
        with pytest.raises(
            ValueError, match="start must be a network of the model 'multilayer' with real weights"
        ):
            train(parts, recipe("ste", epochs=1), model="multilayer", start=start)


@pytest.mark.parametrize(
    "teacher",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),
        nn.Flatten(0),
        nn.Sequential(nn.Flatten(), nn.LSTM(64, 3)),
        nn.Conv2d(1, 3, 1),
    ],
)
def test_a_teacher_of_other_classes_is_named(parts, teacher):
    with pytest.raises(ValueError, match="teacher must put out a number for each of 3 classes"):
        train(parts, recipe("ste", epochs=1), model="multilayer", teacher=teacher)


def test_training_has_gradients_wherever_it_is_called(parts):
    one = train(parts, recipe("ste", epochs=1), model="multilayer").result
    with torch.no_grad():
        two = train(parts, recipe("ste", epochs=1), model="multilayer").result
    assert one.history == two.history


def test_a_validation_loss_that_is_not_finite_ends_a_run_in_words(parts, monkeypatch):
    monkeypatch.setattr("vispa.training.loop.accuracy_and_loss", lambda *_: (0.5, float("inf")))
    with pytest.raises(NonFiniteError, match="the validation loss became inf in epoch 1"):
        train(parts, recipe("ste", epochs=1), model="multilayer")


@pytest.mark.parametrize("error", [NonFiniteError("it diverged"), KeyboardInterrupt()])
def test_what_was_finished_is_printed_when_a_later_run_ends_badly(capsys, tmp_path, monkeypatch, error):
    path = tmp_path / "stripes.npz"
    data = stripes()
    np.savez(path, images=data.images.numpy(), labels=data.labels.numpy())

    def failing(parts, settings, **options):
        if settings.method == "float":
            raise error
        return train(parts, settings, **options)

    monkeypatch.setattr("vispa.training.compare.train", failing)
    words = ["train", "--dataset", str(path), "--model", "multilayer", "--epochs", "1", "--method"]
    status = 130 if isinstance(error, KeyboardInterrupt) else 1
    assert main([*words, "ste", "float", "--json"]) == status
    captured = capsys.readouterr()
    assert [run["recipe"]["method"] for run in json.loads(captured.out)["runs"]] == ["ste"]
    assert ("interrupted" if status == 130 else "it diverged") in captured.err
    assert main([*words, "float", "ste"]) == status
    assert capsys.readouterr().out == ""


def test_two_processes_add_to_one_file(tmp_path):
    path = tmp_path / "found.json"
    first, second = Comparison(plan(), path), Comparison(replace(plan(), methods=("frozen",)), path)
    assert first.run(stripes())
    assert second.run(stripes())
    assert first.found["trials"].items() <= second.found["trials"].items()
    both = Comparison(replace(plan(), methods=("ste", "frozen")), path)
    assert both.count_missing() == 0
    first.save()
    assert Comparison(both.plan, path).found == both.found


@pytest.mark.parametrize("method", ["vispa", "bop", "float"])
def test_training_is_the_same_under_another_default_dtype(parts, method):
    one = train(parts, recipe(method, epochs=1, samples=1), model="multilayer").result
    torch.set_default_dtype(torch.float64)
    try:
        two = train(parts, recipe(method, epochs=1, samples=1), model="multilayer").result
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert one.history == two.history
    assert one.evaluation == two.evaluation
