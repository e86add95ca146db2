"""One tuning budget for every method: spread trials by SGD and by Adam, judged by validation alone."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from vispa.training.data.labelled_images import LabelledImages
from vispa.training.data.split import Split, split
from vispa.training.divergence import NonFiniteError
from vispa.training.execution import Execution
from vispa.training.generators import own_devices
from vispa.training.loop import Stop, fit
from vispa.training.recipes import UNIT_NOISE, UNIT_NOISE_METHODS, Recipe, recipe
from vispa.training.run import prepare

# Log-uniform; a factor of a hundred around what is usual.
RATES = {"sgd": (0.01, 1.0), "adam": (3e-4, 3e-2)}
# Of the flips of Bop, beside the rate of its other parameters.
FLIPS = (3e-3, 3e-1)
# Steps of a sequence that fills a square evenly (M. Roberts, 2018): powers of the root of x^3 = x + 1.
EVEN_STEPS = (0.7548776662466927, 0.5698402909980532)
# The first seed of trials; no run that is reported has it or a larger one.
TUNING_SEED = 1_000_003
# The published gradient of xnor is multiplied by the number of weights of a row: this many, in small networks.
XNOR_ROW = 288


def trial_settings(method: str, number: int, optimizer: str) -> dict[str, Any]:
    """Settings of one trial, to be given to `vispa.training.recipes.recipe`.

    The same number is the same quantile of the range for every method, so that none is luckier, and numbers that
    follow one another lie far apart, so that a few of them bracket the best.  Latent weights have a range in units
    of their noise, or of what a published gradient is multiplied by.

    Parameters
    ----------
    method : str
        One of `vispa.training.recipes.METHODS`.
    number : int
        Of the trial, from 0.
    optimizer : {"sgd", "adam"}

    Examples
    --------
    >>> first, second = (trial_settings(method, 0, "adam") for method in ("ste", "bernoulli"))
    >>> first["learning_rate"] == second["learning_rate"], second["latent_rate"]
    (True, 20.0)
    >>> [round(trial_settings("ste", number, "adam")["learning_rate"], 4) for number in range(4)]
    [0.0181, 0.0058, 0.0019, 0.0006]
    """
    first = np.random.default_rng([0, optimizer == "adam"]).uniform(size=2)
    of_rates, of_flips = (first + number * np.array(EVEN_STEPS)) % 1.0
    settings: dict[str, Any] = {"optimizer": optimizer, "learning_rate": _within(RATES[optimizer], of_rates)}
    if method in ("bop", "bop2nd"):
        settings["gamma"] = _within(FLIPS, of_flips)
    if method in UNIT_NOISE_METHODS:
        settings["latent_rate"] = UNIT_NOISE if optimizer == "adam" else UNIT_NOISE**2
    if method == "xnor":
        settings["latent_rate"] = 1.0 if optimizer == "adam" else 1.0 / XNOR_ROW
    return settings


def _within(limits: tuple[float, float], share: float) -> float:
    """The number at a share of the way from one limit to the other, on a scale of logarithms."""
    low, high = np.log(limits)
    return float(np.exp(low + share * (high - low)))


def run_trial(
    parts: Split,
    settings: Recipe,
    *,
    model: str,
    seed: int = TUNING_SEED,
    execution: Execution | None = None,
    deadline: float = math.inf,
) -> dict[str, Any] | None:
    """Train one trial under one seed and return its best epoch by validation; None where the deadline came first.

    The test images are not looked at.  A run that diverges has no validation, and words instead.
    """
    execution = execution or Execution()
    parts = parts.to(execution.device)
    started = time.monotonic()
    with torch.random.fork_rng(devices=own_devices(execution.device)):
        state = prepare(parts, settings, model=model, seed=seed)
        try:
            stop = fit(state, parts, settings, seed=seed, execution=execution, deadline=deadline)
        except NonFiniteError as error:
            return {"validation": None, "diverged": str(error)}
    if stop is not Stop.FINISHED:
        return None
    best = state.best
    assert best is not None
    return {
        "validation": best.validation_accuracy, "loss": best.validation_loss, "moved": best.signs_moved,
        "seconds": time.monotonic() - started,
    }  # fmt: skip


def judge(
    data: LabelledImages,
    settings: Recipe,
    *,
    model: str,
    seeds: int,
    train_size: int | None = None,
    execution: Execution | None = None,
    deadline: float = math.inf,
) -> dict[str, Any] | None:
    """Train one trial under several seeds and return the means; None where the deadline came first.

    One seed alone judges by an image or two of a few hundred, which is more than most settings differ by.
    """
    records = []
    for seed in range(TUNING_SEED, TUNING_SEED + seeds):
        parts = split(data, seed=seed, train_size=train_size)
        record = run_trial(parts, settings, model=model, seed=seed, execution=execution, deadline=deadline)
        if record is None:
            return None
        records.append(record)
    return over_seeds(records)


def over_seeds(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the seeds of one trial say together: means, and the seconds of all.

    A trial that diverged under one of them has diverged.

    Examples
    --------
    >>> over_seeds([
    ...     {"validation": 0.75, "loss": 0.5, "moved": 0.0, "seconds": 2.0},
    ...     {"validation": 0.25, "loss": 1.5, "moved": 0.5, "seconds": 3.0},
    ... ])
    {'validation': 0.5, 'loss': 1.0, 'moved': 0.25, 'seconds': 5.0}
    """
    diverged = [record for record in records if record["validation"] is None]
    if diverged:
        return dict(diverged[0])
    means = {
        name: sum(record[name] for record in records) / len(records)
        for name in ("validation", "loss", "moved")
    }
    return means | {"seconds": sum(record["seconds"] for record in records)}


def best_settings(trials: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the settings of the trial with the best validation accuracy, of equals that with the lower loss.

    None where no trial ended without diverging.

    Examples
    --------
    >>> best_settings([
    ...     {"settings": {"learning_rate": 1.0}, "validation": None},
    ...     {"settings": {"learning_rate": 0.1}, "validation": 0.9, "loss": 0.3},
    ...     {"settings": {"learning_rate": 0.2}, "validation": 0.9, "loss": 0.2},
    ... ])
    {'learning_rate': 0.2}
    """
    ended = [each for each in trials if each["validation"] is not None]
    if not ended:
        return None
    return dict(max(ended, key=lambda each: (each["validation"], -each["loss"]))["settings"])


def tuned_recipe(method: str, settings: Mapping[str, Any], *, epochs: int, samples: int) -> Recipe:
    """Return the method's recipe with settings of a trial, a tenth of its epochs to warm up."""
    return recipe(method, **settings, epochs=epochs, warmup_epochs=max(1, epochs // 10), samples=samples)
