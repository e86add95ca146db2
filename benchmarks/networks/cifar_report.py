"""What benchmarks/networks/cifar.py found, as a table and as learning curves."""

from __future__ import annotations

import platform
import textwrap
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import machine
from vispa.training.execution import Execution

COLUMNS = {
    "mean_network": "one network, sgn(mean)",
    "best_network": "one network, best of L",
    "sampled_network": "one drawn network, average",
    "ensemble": "ensemble of L",
}
# Orecchia et al. 2024, lossless images: for context, not for comparison.
PAPER = {
    ("cifar10-resnet18-1w1a", "vispa"): "92.8 ± 0.2",
    ("cifar10-vgg-small-1w1a", "vispa"): "92.7 ± 0.1",
    ("cifar10-resnet18-1w32a", "vispa"): "95.05 ± 0.10",
}
COLOURS = {"vispa": "#0f6e84", "bernoulli": "#8a6fb0", "ste": "#d1693a", "float": "#7a808c"}
NAMES = {
    "vispa": "rank {rank}",
    "bernoulli": "rank 0, sampled",
    "ste": "rank 0, STE",
    "float": "float",
}


def environment(execution: Execution) -> dict[str, str]:
    """Where and with what it was measured."""
    about = machine(("torch",), str(execution.device))
    return {
        "date": about["date"][:10], "device": about["device"], "torch": torch.__version__,
        "python": platform.python_version(), "precision": execution.precision,
        "threads": str(torch.get_num_threads()), "processes": str(execution.processes.count),
    }  # fmt: skip


def label(run: dict[str, Any]) -> str:
    return NAMES[run["method"]].format(rank=run["settings"]["rank"])


def table(
    runs: list[dict[str, Any]], skipped: list[dict[str, str]], tuning: list[dict[str, Any]], data: str,
    where: dict[str, str],
) -> str:  # fmt: skip
    """Markdown: one row a run; what a single network reaches and what takes many stand apart."""
    lines = [
        f"# CIFAR-10 (JPEG): {data}", "", ", ".join(f"{name} {value}" for name, value in where.items()), "",
        "Test accuracy in %, one seed a row. The images are lossy JPEGs, so that no number here stands beside one",
        "on the lossless set; the paper's, for whole runs there, are context. L networks are drawn.",
        standard_error(runs), "",
        f"| recipe | method | {' | '.join(COLUMNS.values())} | L | rate | epochs | seconds | the paper, L = 40 |",
        "|---" * (len(COLUMNS) + 7) + "|",
    ]  # fmt: skip
    for run in runs:
        numbers = ["" if run["test"][name] is None else f"{100 * run['test'][name]:.2f}" for name in COLUMNS]
        settings = run["settings"]
        cells = [
            run["recipe"], label(run), *numbers, run["test"]["samples"] or "", settings["learning_rate"],
            settings["epochs"], f"{run['seconds']:.0f}", PAPER.get((run["recipe"], run["method"]), ""),
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    if tuning:
        lines += ["", "Tuning, best validation accuracy in % of a short run under another seed:", ""]
        lines += ["| recipe | method | rate | epochs | validation |", "|---|---|---|---|---|"]
        lines += [
            f"| {t['recipe']} | {t['method']} | {t['learning_rate']} | {t['epochs']} "
            f"| {100 * t['validation_accuracy']:.2f} |"
            for t in tuning
        ]
    lines += [f"\nSkipped: {entry['recipe']}/{entry['method']}, for {entry['why']}." for entry in skipped]
    return "\n".join(lines) + "\n"


def standard_error(runs: list[dict[str, Any]]) -> str:
    """What the test images alone leave open, in words."""
    if not runs:
        return ""
    share, count = max(run["test"]["mean_network"] for run in runs), runs[0]["test_images"]
    error = 100 * (share * (1 - share) / count) ** 0.5
    return (
        f"One standard error from {count} test images is about {error:.1f} points; seeds vary on top of it."
    )


def save_plot(runs: list[dict[str, Any]], path: Path, data: str) -> None:
    """Validation accuracy by epoch, one panel a recipe; dots: the test accuracy of the one network sgn(mean)."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    recipes = list(dict.fromkeys(run["recipe"] for run in runs))
    if not recipes:
        return
    figure, axes = pyplot.subplots(
        1, len(recipes), figsize=(5 * len(recipes), 4), squeeze=False, sharey=True, layout="constrained"
    )
    for axis, recipe in zip(axes[0], recipes, strict=True):
        for run in runs:
            if run["recipe"] != recipe:
                continue
            values = [100 * epoch["validation_accuracy"] for epoch in run["epochs"]]
            numbers = range(1, len(values) + 1)
            axis.plot(numbers, values, color=COLOURS[run["method"]], label=label(run))
            axis.plot(len(values), 100 * run["test"]["mean_network"], "o", color=COLOURS[run["method"]])
        axis.set(title=recipe, xlabel="epoch")
        axis.legend(frameon=False)
    axes[0][0].set_ylabel("validation accuracy of sgn(mean), %")
    title = f"CIFAR-10 (JPEG), {data}. Dots: the test images."
    figure.suptitle("\n".join(textwrap.wrap(title, 75 * len(recipes))), fontsize=9)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
