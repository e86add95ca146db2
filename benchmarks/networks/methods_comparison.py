"""Every training method on digits: the same number of trials by SGD and by Adam, then paired seeds.

    python -m benchmarks.networks.methods_comparison --date 2026-11-28 --minutes 20

Learning rates are drawn at random, log-uniformly from ranges stated below, the same quantiles for every method; a
trial is judged by validation under a seed that no report uses. The better of the two optimizers' winners is then
trained under the paired seeds, and the test images are looked at once. Everything found is kept: run it again to go
on. The flips of bop have rates of their own, drawn beside Adam's alone.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vispa.training.compare import Job, run_job
from vispa.training.data.labelled_images import digits
from vispa.training.divergence import NonFiniteError
from vispa.training.recipes import METHODS, recipe
from vispa.training.statistics import paired_difference, summarise

# Log-uniform; a factor of a hundred around what is usual.
RANGES = {"sgd": (0.01, 1.0), "adam": (3e-4, 3e-2)}
TUNING_SEED, IMAGES, REFERENCE = 100, 1000, "ste"


def settings_of(method: str, trial: int, optimizer: str, epochs: int) -> dict[str, Any]:
    """Settings of one trial: a quantile is the same for all methods."""
    rng = np.random.default_rng([trial, optimizer == "adam"])
    low, high = np.log(RANGES[optimizer])
    settings: dict[str, Any] = {
        "optimizer": optimizer, "learning_rate": float(np.exp(rng.uniform(low, high))), "epochs": epochs,
        "warmup_epochs": 1, "samples": 10,
    }  # fmt: skip
    if method in ("bop", "bop2nd"):
        settings["gamma"] = float(np.exp(rng.uniform(np.log(3e-3), np.log(3e-1))))
    if method == "xnor" and optimizer == "sgd":
        # Its published gradient is multiplied by the number of weights of a row, 288 and more.
        settings["learning_rate"] /= 288
    return settings


def measure(method: str, settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """One run: validation of its best epoch, share of signs moved, test accuracies."""
    job = Job(recipe(method, **settings), seed, IMAGES)
    try:
        result = run_job(digits(), job, model="convolutional")
    except NonFiniteError as error:
        return {"validation": 0.0, "diverged": str(error)}
    assert result.best is not None
    assert result.evaluation is not None
    return {
        "validation": result.best.validation_accuracy, "loss": result.best.validation_loss,
        "moved": result.best.signs_moved, "test": result.evaluation.mean_network,
        "ensemble": None if result.evaluation.samples == 0 else result.evaluation.ensemble,
        "seconds": result.seconds,
    }  # fmt: skip


def best_trial(found: dict[str, Any], method: str) -> dict[str, Any] | None:
    """Settings of the trial with the best validation accuracy, the lower loss among equals."""
    trials = [each for each in found["trials"].values() if each["method"] == method]
    if not trials:
        return None
    best = max(trials, key=lambda each: (each["validation"], -each.get("loss", np.inf)))
    return dict(best["settings"])


def report(found: dict[str, Any], methods: list[str]) -> str:
    """Return the table: mean and deviation over seeds, and the paired difference from the reference."""
    by_method = {
        name: {run["seed"]: run for run in found["runs"].values() if run["method"] == name and "test" in run}
        for name in methods
    }
    finished = [name for name in methods if by_method[name]]
    confidence = 1 - 0.05 / max(1, len(finished) - 1)
    lines = [
        f"# Training methods on digits, {found['epochs']} epochs, {IMAGES} images, one network (%)", "",
        f"Settings by {found['count']} random trials with SGD and as many with Adam, validation alone. Difference: "
        f"method minus {REFERENCE}, seed by seed, Student's interval at {100 * confidence:.2f} %, Bonferroni's "
        f"correction of 95 % for {len(finished) - 1} comparisons.", "",
        "| method | optimizer, rate | test | ensemble | signs moved | seeds | difference |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name in sorted(finished, key=lambda each: -np.mean([r["test"] for r in by_method[each].values()])):
        runs = by_method[name]
        chosen = next(iter(runs.values()))["settings"]
        test = summarise([100 * run["test"] for run in runs.values()])
        drawn = [100 * run["ensemble"] for run in runs.values() if run["ensemble"] is not None]
        moved = 100 * float(np.mean([run["moved"] for run in runs.values()]))
        shared = sorted(runs.keys() & by_method[REFERENCE].keys())
        difference = "-"
        if name != REFERENCE and len(shared) > 1:
            ours, theirs = ([100 * by_method[n][s]["test"] for s in shared] for n in (name, REFERENCE))
            gap = paired_difference(ours, theirs, confidence=confidence)
            difference = f"{gap.mean:+.2f} [{gap.lower:+.2f}, {gap.upper:+.2f}]"
        rate = f"{chosen['optimizer']}, {chosen['learning_rate']:.2g}"
        many = f"{np.mean(drawn):.2f}" if drawn else "-"
        lines.append(
            f"| {name} | {rate} | {test.mean:.2f} ± {test.deviation:.2f} | {many} | {moved:.1f} | {len(runs)} "
            f"| {difference} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is missing until the time is over, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--date", required=True, help="for the names of the results")
    parser.add_argument("--method", nargs="+", default=list(METHODS), help="some methods alone")
    parser.add_argument("--trials", type=int, default=4, help="with either optimizer")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=np.inf, help="then write what there is")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    path = arguments.output / f"methods_digits_{arguments.date}.json"
    found: dict[str, Any] = {"trials": {}, "runs": {}}
    if path.exists():
        found = json.loads(path.read_text())
    found |= {"epochs": arguments.epochs, "count": arguments.trials}
    deadline = time.monotonic() + 60 * arguments.minutes
    optimizers = list(RANGES)
    work = [
        ("trials", method, optimizer, number)
        for number in range(arguments.trials) for optimizer in optimizers for method in arguments.method
    ]  # fmt: skip
    work += [("runs", method, "", seed) for seed in range(arguments.seeds) for method in arguments.method]
    for kind, method, optimizer, number in work:
        key = f"{method} {optimizer} {number}".replace("  ", " ")
        if key in found[kind] or time.monotonic() > deadline:
            continue
        if kind == "trials":
            settings, seed = settings_of(method, number, optimizer, arguments.epochs), TUNING_SEED
        else:
            chosen, seed = best_trial(found, method), number
            if chosen is None:
                continue
            settings = chosen
        measured = measure(method, settings, seed)
        if kind == "trials":
            # Trials are judged by validation: what they say of test images is not kept.
            measured = {name: value for name, value in measured.items() if name not in ("test", "ensemble")}
        found[kind][key] = {"method": method, "seed": seed, "settings": settings, **measured}
        path.write_text(json.dumps(found, indent=0) + "\n")
    path.with_suffix(".md").write_text(report(found, arguments.method))


if __name__ == "__main__":
    main()
