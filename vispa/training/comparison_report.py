"""A comparison as tables with corrected intervals, and as a picture of learning curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from solvers.optional import require
from vispa.training.comparison import Comparison
from vispa.training.statistics import paired_difference, summarise

CONFIDENCE = 0.95
COLUMNS = (
    "method", "optimizer, rate", "one network", "ensemble", "nll", "nll, ensemble", "ece", "ece, ensemble", "auroc",
    "auroc, ensemble", "signs moved", "seeds", "difference",
)  # fmt: skip


def comparison_tables(comparison: Comparison, reference: str) -> str:
    """Return one table in Markdown a budget, methods by mean test accuracy.

    Parameters
    ----------
    comparison : Comparison
    reference : str
        The method from which differences are taken, seed by seed, of the fixed networks' test accuracies.  Their
        Student intervals hold together with probability 95 %, by Bonferroni's correction.
    """
    tables = [_table(comparison, reference, epochs) for epochs in comparison.plan.epochs]
    return "\n\n".join(tables) + "\n"


def _table(comparison: Comparison, reference: str, epochs: int) -> str:
    plan = comparison.plan
    ended = {name: _ended(comparison, name, epochs) for name in plan.methods}
    finished = sorted((name for name in ended if ended[name]), key=lambda name: -_mean_accuracy(ended[name]))
    comparisons = max(1, sum(name != reference for name in finished))
    confidence = 1 - (1 - CONFIDENCE) / comparisons
    size = "all" if plan.train_size is None else str(plan.train_size)
    lines = [
        f"## {epochs} epochs, {size} training images", "",
        f"Test accuracy of the fixed network in %, mean ± deviation over seeds. Settings won {plan.trials} spread "
        f"trials by SGD and {plan.trials} by Adam, judged by validation under {plan.tuning_seeds} seeds. "
        f"Difference: method minus {reference}, seed by seed, Student's interval at {100 * confidence:.2f} % "
        f"(Bonferroni's correction of {100 * CONFIDENCE:.0f} % for {comparisons} comparisons). Of "
        f"probabilities: negative log-likelihood, calibration error in %, area in % under the curve that tells "
        "test images from collages of them.", "",
        "| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS),
    ]  # fmt: skip
    for name in finished:
        cells = _cells(ended[name])
        gap = "-" if name == reference else _difference(ended[name], ended.get(reference, []), confidence)
        lines.append("| " + " | ".join([name, *cells, gap]) + " |")
    notes = [
        f"{name}: {_unfinished(comparison, name, epochs)}." for name in plan.methods if name not in finished
    ]
    diverged = {name: len(comparison.runs(name, epochs)) - len(ended[name]) for name in finished}
    notes += [f"{name}: {count} more runs diverged." for name, count in diverged.items() if count]
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _ended(comparison: Comparison, method: str, epochs: int) -> list[dict[str, Any]]:
    return [run for run in comparison.runs(method, epochs) if "test" in run]


def _unfinished(comparison: Comparison, method: str, epochs: int) -> str:
    if comparison.chosen(method, epochs) is not None:
        return "no run has ended"
    waiting = any(task[:2] == (method, epochs) for task, _ in comparison.missing_trials())
    return "trials are missing" if waiting else "it diverged in every trial"


def _mean_accuracy(runs: Sequence[dict[str, Any]]) -> float:
    return float(np.mean([run["test"]["mean_network"] for run in runs]))


def _cells(runs: Sequence[dict[str, Any]]) -> list[str]:
    settings = runs[0]["settings"]
    quality = [
        _number([run["probabilities"][which] for run in runs], measure, factor, digits)
        for measure, factor, digits in (("nll", 1, 3), ("ece", 100, 1), ("auroc", 100, 1))
        for which in ("mean_network", "ensemble")
    ]
    tests = [run["test"] for run in runs]
    return [
        f"{settings['optimizer']}, {settings['learning_rate']:.2g}",
        _number(tests, "mean_network", 100, 2, deviation=True),
        _number(tests, "ensemble", 100, 2, deviation=True), *quality,
        _number([run["best"] for run in runs], "signs_moved", 100, 1), str(len(runs)),
    ]  # fmt: skip


def _number(
    records: Sequence[dict[str, Any] | None],
    measure: str,
    factor: float,
    digits: int,
    *,
    deviation: bool = False,
) -> str:
    values = [factor * each[measure] for each in records if each is not None and each[measure] is not None]
    if not values:
        return "-"
    found = summarise(values)
    return found.text(digits) if deviation else f"{found.mean:.{digits}f}"


def _difference(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]], confidence: float) -> str:
    first, second = (
        {run["number"]: 100 * run["test"]["mean_network"] for run in runs} for runs in (ours, theirs)
    )
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return "-"
    gap = paired_difference([first[s] for s in seeds], [second[s] for s in seeds], confidence=confidence)
    return gap.text(2)


def save_curves(comparison: Comparison, reference: str, path: str | Path) -> None:
    """Draw validation accuracy by epoch, a panel a method and budget: seeds thin, their mean bold.

    The mean of the reference is grey in every panel.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If no run has ended.
    """
    require("matplotlib", "plots", "the picture of learning curves")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [
        (name, epochs, curves)
        for epochs in comparison.plan.epochs
        for name in comparison.plan.methods
        if (curves := _curves(comparison, name, epochs))
    ]
    if not panels:
        raise ValueError("comparison must hold a run that has ended; run it for longer")
    across = min(5, len(panels))
    down = math.ceil(len(panels) / across)
    figure = Figure(figsize=(2.4 * across, max(2.6, 1.9 * down)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
    for axis, (name, epochs, curves) in zip(axes, panels, strict=False):
        numbers = np.arange(1, epochs + 1)
        base = _curves(comparison, reference, epochs)
        if base and name != reference:
            axis.plot(numbers, np.mean(base, axis=0), color="0.6", linewidth=1.5, label=reference)
        axis.plot(numbers, np.transpose(curves), color="tab:blue", linewidth=0.6, alpha=0.5)
        axis.plot(numbers, np.mean(curves, axis=0), color="tab:blue", linewidth=1.8, label=name)
        axis.set_title(f"{name}, {epochs} epochs" if len(comparison.plan.epochs) > 1 else name, fontsize=9)
        axis.grid(visible=True, linewidth=0.3)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    floor = min(float(np.median(curves)) for _, _, curves in panels)
    axes[0].set_ylim(max(0.0, 100 - 2 * (100 - floor)), 100)
    figure.supxlabel(f"epoch (grey: {reference})", fontsize=9)
    figure.supylabel("validation accuracy (%)", fontsize=9)
    figure.savefig(path, dpi=150)


def _curves(comparison: Comparison, method: str, epochs: int) -> list[list[float]]:
    return [[100 * accuracy for _, accuracy in run["curve"]] for run in _ended(comparison, method, epochs)]
