"""One report of the small GPT: made binary after training, and binary from the start.

    python -m examples.char_transformer TEXT --output FOLDER ...
    python -m examples.char_binary_training TEXT --output FOLDER ...
    python -m benchmarks.networks.char_transformer FOLDER --date 2026-11-28 --about "1,200 steps of 16 windows"

Reads what the two examples have kept in FOLDER, however far they have come, and writes a table beside its JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any

from benchmarks.record import heading, machine, save


def after_training(rows: list[dict[str, Any]]) -> list[str]:
    """Losses of the float network and of its binary copies, and the share of the loss that each gives away."""
    float_loss = rows[0]["loss"]
    lines = ["| blocks | group | loss | above float | perplexity | MB |", "|---|---|---|---|---|---|"]
    for row in rows:
        group = "" if row["group"] is None else row["group"]
        lines.append(
            f"| {row['method']} | {group} | {row['loss']:.3f} | {row['loss'] - float_loss:+.3f} "
            f"| {row['perplexity']:.2f} | {row['megabytes']:.2f} |"
        )
    return lines


def from_the_start(found: dict[str, dict[str, Any]]) -> list[str]:
    """Trials, and means over the seeds that every method shown has finished."""
    methods = list(dict.fromkeys(run["method"] for run in found.values()))
    lines = [
        "| method | settings | seeds | one network | perplexity | ensemble of 10 |",
        "|---|---|---|---|---|---|",
    ]
    for method in methods:
        runs = [run for name, run in found.items() if name.startswith("seed") and run["method"] == method]
        if not runs:
            continue
        losses = [run["loss"] for run in runs]
        mean, drawn = statistics.fmean(losses), [run["ensemble"] for run in runs if "ensemble" in run]
        spread = f" ± {statistics.stdev(losses):.3f}" if len(losses) > 1 else ""
        many = f"{statistics.fmean(drawn):.3f}, {math.exp(statistics.fmean(drawn)):.2f}" if drawn else ""
        one = f"{mean:.3f}{spread} | {math.exp(mean):.2f}"
        lines.append(f"| {method} | {_settings(runs[0])} | {len(runs)} | {one} | {many} |")
    trials = [run for name, run in found.items() if name.startswith("trial")]
    told = "; ".join(f"{run['method']} {_settings(run)}: {run['loss']:.3f}" for run in trials)
    steps = trials[0]["steps"] if trials else 0
    return [*lines, "", f"Trials of {steps} steps, judged by a part of the training text: {told}."]


def _settings(run: dict[str, Any]) -> str:
    options = [f"{name} {run[name]:g}" for name in ("radius", "scale") if name in run]
    return " and ".join([f"rate {run['rate']:g}", *options])


def main() -> None:
    """Write the report of a folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--date", required=True, help="for the names of the results")
    parser.add_argument("--about", default="", help="the budget, in words")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()
    after = json.loads((args.folder / "results.json").read_text())
    start: dict[str, dict[str, Any]] = json.loads((args.folder / "binary_training.json").read_text())
    runs = [run for name, run in start.items() if name.startswith("seed")]
    facts = machine(("vispa-sdp", "numpy", "torch"))
    lines = [
        *heading("A small GPT over characters, binary after training and from the start", facts, args.about),
        "Losses in nats a character on text that is held out; the weights of the blocks are binary, embeddings and "
        "head are not.  After training, on the same 64 windows of calibration:", "",
        *after_training(after), "",
        f"From the start, {runs[0]['steps'] if runs else 0} steps each, by Adam; ensemble: the mean logits of ten "
        "drawn networks:", "",
        *from_the_start(start),
    ]  # fmt: skip
    content = {"about": args.about, "facts": facts, "after training": after, "from the start": start}
    save(args.output / f"char_transformer_{args.date}.md", lines, content)


if __name__ == "__main__":
    main()
