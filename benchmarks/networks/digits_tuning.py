"""Choose the optimizer and the rates of every method on digits: as many trials for each, SGD and Adam alike.

    python -m benchmarks.networks.digits_tuning --date 2026-11-28

Every trial is trained with 200 and with 1,000 images under two seeds that no report uses; the best mean of the four
validation accuracies wins.  Only validation images are looked at.  Trials that the output holds are kept.  Writes
JSON after every trial, then a table; `vispa.training.recipes.TUNED` holds the winners.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from vispa.training.compare import Job, run_job
from vispa.training.data.labelled_images import digits
from vispa.training.recipes import METHODS, recipe

SEEDS, SIZES = (100, 101), (200, 1000)
# Each rate about three times the one before.
RATES = {"sgd": (0.01, 0.03, 0.1, 0.3, 1.0), "adam": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)}


def trials(method: str) -> list[dict[str, Any]]:
    """Five rates of SGD and six of Adam, or what decides about flips beside two rates of Adam."""
    flips = {
        "bop": [{"gamma": gamma, "threshold": 1e-8} for gamma in (3e-3, 1e-2, 3e-2, 1e-1, 3e-1)],
        "bop2nd": [{"gamma": 1e-1, "threshold": tau} for tau in (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)],
    }
    if method in flips:
        rates = ({"optimizer": "adam", "learning_rate": 3e-3}, {"optimizer": "adam", "learning_rate": 1e-2})
        return [{**rule, **rate} for rule in flips[method] for rate in rates]
    return [{"optimizer": name, "learning_rate": rate} for name, rates in RATES.items() for rate in rates]


def measure(method: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Validation accuracy of sgn(mean), and the share of signs moved, of each of the four runs."""
    accuracies, moved = [], []
    for size in SIZES:
        for seed in SEEDS:
            job = Job(recipe(method, samples=1, **settings), seed, size)
            best = run_job(digits(), job, model="convolutional").best
            assert best is not None
            accuracies.append(best.validation_accuracy)
            moved.append(best.signs_moved)
    return {"validation": accuracies, "moved": moved}


def table(results: dict[str, Any]) -> str:
    """One row a trial, the winner of each method marked."""
    lines = [
        "# Trials on digits: validation accuracy of one network (%), mean over 200 and 1,000 images and two seeds",
        "", "| method | settings | validation | signs moved (%) | |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for method in METHODS:
        rows = {key: found for key, found in results.items() if key.startswith(f"{method} ")}
        best = max(rows, key=lambda key: sum(rows[key]["validation"]), default=None)
        for key, found in rows.items():
            means = [100 * sum(found[name]) / len(found[name]) for name in ("validation", "moved")]
            mark = "best" if key == best else ""
            lines.append(
                f"| {method} | {key[len(method) + 1 :]} | {means[0]:.2f} | {means[1]:.1f} | {mark} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--date", required=True, help="for the names of the results")
    parser.add_argument("--method", nargs="+", default=list(METHODS), help="some methods alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    path = arguments.output / f"digits_tuning_{arguments.date}.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for method, settings in tqdm([(name, each) for name in arguments.method for each in trials(name)]):
        key = f"{method} " + ", ".join(f"{name} {value}" for name, value in settings.items())
        if key not in results:
            results[key] = measure(method, settings)
            path.write_text(json.dumps(results, indent=0) + "\n")
    path.with_suffix(".md").write_text(table(results))


if __name__ == "__main__":
    main()
