"""Comparisons: tuning alike and blind to the test images, paired runs, resumption, growth, corrected intervals."""

import json

import numpy as np
import pytest
import torch

from vispa.nn import binary_layers
from vispa.training import comparison as module
from vispa.training.compare import run_job
from vispa.training.comparison import Comparison, Plan, Task
from vispa.training.comparison_report import comparison_tables, save_curves
from vispa.training.data.labelled_images import digits
from vispa.training.data.split import split
from vispa.training.optimizers import make_optimizer
from vispa.training.recipes import METHODS, recipe
from vispa.training.run import prepare
from vispa.training.statistics import paired_difference
from vispa.training.tuning import (
    TUNING_SEED,
    judge,
    over_seeds,
    run_trial,
    trial_settings,
    tuned_recipe,
)


def small(**changes):
    settings = {
        "epochs": (1,),
        "seeds": 2,
        "trials": 1,
        "train_size": 60,
        "model": "multilayer",
        "samples": 2,
        "tuning_seeds": 1,
    }
    return Plan(("ste", "bernoulli"), **{**settings, **changes})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_every_method_draws_the_same_rates_and_its_recipe_takes_them(method, optimizer):
    for number in range(3):
        settings = trial_settings(method, number, optimizer)
        assert settings["learning_rate"] == trial_settings("ste", number, optimizer)["learning_rate"]
        made = tuned_recipe(method, settings, epochs=3, samples=2)
        assert (made.optimizer, made.epochs, made.samples) == (optimizer, 3, 2)


def test_latent_weights_beside_noise_of_unit_size_have_a_rate_of_their_own():
    parts = split(digits(), seed=0, train_size=60)
    with torch.random.fork_rng():
        for optimizer, ratio in (("adam", 20.0), ("sgd", 400.0)):
            settings = tuned_recipe(
                "bernoulli", trial_settings("bernoulli", 0, optimizer), epochs=1, samples=2
            )
            state = prepare(parts, settings, model="multilayer")
            others, latent = state.optimizer.param_groups
            assert latent["initial_lr"] == pytest.approx(ratio * others["initial_lr"])
            shares = [group["initial_lr"] * group["weight_decay"] for group in (latent, others)]
            assert shares[0] == pytest.approx(shares[1])
            held = {id(values) for group in (others, latent) for values in group["params"]}
            assert held == {id(values) for values in state.model.parameters()}
            means = {id(layer.mean) for layer in binary_layers(state.model)}
            assert means <= {id(values) for values in latent["params"]}
        plain = prepare(parts, recipe("ste"), model="multilayer")
        assert len(make_optimizer(plain.model, recipe("ste"), 60)[0].param_groups) == 1


class Blind:
    """A split without test images."""

    def __init__(self, parts):
        self.train, self.validation = parts.train, parts.validation

    def to(self, device):
        return self


def test_trials_never_look_at_the_test_images():
    parts = split(digits(), seed=TUNING_SEED, train_size=60)
    settings = tuned_recipe("ste", trial_settings("ste", 0, "adam"), epochs=2, samples=2)
    found = run_trial(Blind(parts), settings, model="multilayer")
    assert found == run_trial(parts, settings, model="multilayer") | {"seconds": found["seconds"]}
    assert 0 < found["validation"] <= 1


def test_a_trial_is_judged_by_the_mean_of_its_seeds():
    settings = tuned_recipe("ste", trial_settings("ste", 0, "adam"), epochs=1, samples=2)
    alone = []
    for seed in (TUNING_SEED, TUNING_SEED + 1):
        parts = split(digits(), seed=seed, train_size=60)
        alone.append(run_trial(parts, settings, model="multilayer", seed=seed))
    found = judge(digits(), settings, model="multilayer", seeds=2, train_size=60)
    assert alone[0]["loss"] != alone[1]["loss"]
    for name in ("validation", "loss", "moved"):
        assert found[name] == pytest.approx((alone[0][name] + alone[1][name]) / 2)
    assert judge(digits(), settings, model="multilayer", seeds=2, deadline=0.0) is None


def test_a_trial_that_diverged_under_one_seed_has_diverged():
    ended = {"validation": 0.5, "loss": 1.0, "moved": 0.1, "seconds": 1.0}
    assert over_seeds([ended, {"validation": None, "diverged": "why"}])["validation"] is None


def test_a_stopped_comparison_goes_on_and_repeats_nothing(tmp_path, monkeypatch):
    path = tmp_path / "found.json"
    done = []
    real = module.perform

    def counted(data, task, **options):
        done.append(task[0].key)
        if len(done) == 3:
            return None  # as where the deadline comes within a trial
        return real(data, task, **options)

    monkeypatch.setattr(module, "perform", counted)
    first = Comparison(small(), path)
    assert not first.run(digits())
    assert first.count_missing() == 3  # a trial, and the runs that wait for it
    second = Comparison(small(), path)
    assert second.run(digits())
    assert len(done) == len(set(done)) + 1 == 9
    assert Comparison(small(), path).run(digits(), max_seconds=0)
    whole = Comparison(small())
    whole.run(digits())
    assert without_seconds(whole.found) == without_seconds(second.found)


def without_seconds(found):
    if isinstance(found, dict):
        return {name: without_seconds(value) for name, value in found.items() if name != "seconds"}
    return found


def test_runs_are_those_of_train_under_the_winning_settings():
    comparison = Comparison(small(seeds=1))
    comparison.run(digits())
    chosen = comparison.chosen("bernoulli", 1)
    trials = [each for each in comparison.found["trials"].values() if each["method"] == "bernoulli"]
    assert chosen == max(trials, key=lambda each: (each["validation"], -each["loss"]))["settings"]
    job = module.Job(tuned_recipe("bernoulli", chosen, epochs=1, samples=2), 0, 60)
    result = run_job(digits(), job, model="multilayer")
    (record,) = comparison.runs("bernoulli", 1)
    assert record["test"]["mean_network"] == result.evaluation.mean_network
    assert record["probabilities"]["ensemble"]["nll"] == result.probabilities.ensemble.nll
    assert record["curve"] == [[result.history[0].training_loss, result.history[0].validation_accuracy]]


def test_further_trials_that_win_make_their_runs_again(tmp_path):
    path = tmp_path / "found.json"
    comparison = Comparison(small(seeds=1), path)
    comparison.run(digits())
    grown = Comparison(small(seeds=1, trials=2), path)
    assert grown.runs("ste", 1) == []
    better = Task("ste", 1, "sgd", 1)
    record = {"method": "ste", "epochs": 1, "number": 1, "validation": 2.0, "loss": 0.0}
    grown.found["trials"][better.key] = record | {"settings": trial_settings("ste", 1, "sgd")}
    assert grown.run(digits())
    assert [run["settings"] for run in grown.runs("ste", 1)] == [trial_settings("ste", 1, "sgd")]


def test_workers_change_nothing():
    plan = Plan(("ste",), (1,), 1, 1, 60, "multilayer")
    alone, together = Comparison(plan), Comparison(plan)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone.run(digits())
    finally:
        torch.set_num_threads(threads)
    together.run(digits(), workers=2)
    assert without_seconds(alone.found) == without_seconds(together.found)


def invented(accuracies, trials=1):
    """A comparison with the given test accuracies by method and seed, None where a run diverged."""
    count = max(len(values) for values in accuracies.values())
    comparison = Comparison(Plan(tuple(accuracies), (2,), count, trials))
    quality = {"nll": 0.5, "ece": 0.05, "auroc": 0.8}
    for method, values in accuracies.items():
        for optimizer in ("sgd", "adam"):
            settings = trial_settings(method, 0, optimizer)
            record = {"method": method, "settings": settings, "validation": 0.5, "loss": 0.5}
            comparison.found["trials"][Task(method, 2, optimizer, 0).key] = record
        for seed, value in enumerate(values):
            record = {"method": method, "number": seed, "settings": comparison.chosen(method, 2)}
            if value is not None:
                record |= {
                    "best": {"signs_moved": 0.25}, "test": {"mean_network": value, "ensemble": None},
                    "probabilities": {"mean_network": quality, "ensemble": None},
                    "curve": [[1.0, 0.5], [0.5, value]],
                }  # fmt: skip
            comparison.found["runs"][Task(method, 2, None, seed).key] = record
    return comparison


def test_intervals_are_corrected_for_the_number_of_comparisons():
    accuracies = {"ste": [0.9, 0.92, 0.94], "bop": [0.95, 0.96, 0.99], "float": [0.91, 0.93, None]}
    lines = comparison_tables(invented(accuracies), "ste").splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith(("| ste", "| bop", "| float"))]
    assert [row[0] for row in rows] == ["| bop", "| ste", "| float"] or [row[0] for row in rows] == [
        "| bop", "| float", "| ste",
    ]  # fmt: skip
    gap = paired_difference([95, 96, 99], [90, 92, 94], confidence=0.975)
    (bop,) = (row for row in rows if row[0] == "| bop")
    assert bop[-1] == f"{gap.mean:+.2f} [{gap.lower:+.2f}, {gap.upper:+.2f}] |"
    assert bop[2].startswith(f"{np.mean(accuracies['bop']) * 100:.2f} ± ")
    assert "97.50 %" in "\n".join(lines)
    assert "float: 1 more runs diverged." in lines


def test_a_method_without_runs_says_why():
    comparison = invented({"ste": [0.9], "bop": [0.8]})
    for key in [key for key in comparison.found["runs"] if key.startswith("bop")]:
        del comparison.found["runs"][key]
    assert "bop: no run has ended." in comparison_tables(comparison, "ste")
    for key, record in comparison.found["trials"].items():
        if key.startswith("bop"):
            record["validation"] = None
    assert "bop: it diverged in every trial." in comparison_tables(comparison, "ste")
    del comparison.found["trials"][Task("bop", 2, "sgd", 0).key]
    assert "bop: trials are missing." in comparison_tables(comparison, "ste")


def test_curves_are_drawn_a_panel_a_method(tmp_path):
    pytest.importorskip("matplotlib")
    save_curves(invented({"ste": [0.9, 0.8], "bop": [0.8, 0.85]}), "ste", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="a run that has ended"):
        save_curves(Comparison(small()), "ste", tmp_path / "none.png")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "no comparison"),
        ("[]", "no comparison"),
        (json.dumps({"trials": {}, "runs": {}}), "no comparison"),
    ],
)
def test_other_files_are_not_taken_up(tmp_path, content, words):
    path = tmp_path / "found.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=words):
        Comparison(small(), path)
    assert path.read_text() == content


def test_a_file_of_another_size_is_refused_and_plans_are_checked(tmp_path):
    path = tmp_path / "found.json"
    Comparison(small(), path).save()
    with pytest.raises(ValueError, match="name another file"):
        Comparison(small(train_size=80), path)
    for changes in ({"epochs": ()}, {"epochs": (1, 1)}, {"epochs": (0,)}, {"seeds": 0}, {"trials": 0}):
        with pytest.raises(ValueError, match=next(iter(changes))):
            small(**changes)
    with pytest.raises(ValueError, match="methods"):
        Plan(("ste", "no such"))
