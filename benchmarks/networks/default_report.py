"""What benchmarks/networks/default_start.py found, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vispa.training.statistics import paired_difference

TEXT = {
    "sweep": "Validation images of 1,000 digits, the last of 15 epochs: what the default was chosen by.",
    "report": "Paired seeds, test images; the last of 15 epochs on 1,000 digits.",
    "scale": "Paired seeds that no other table has, test images; the last of 15 epochs on 1,000 digits.",
    "cifar": "Paired seeds, test images of CIFAR-10 (JPEG); the last of 4 epochs on 10,000 images, three "
    "convolutions of 16, 32 and 32 channels, and BatchNorm after the real last layer.",
}
KINDS = ("one network", "own BatchNorm", "ensemble", "ensemble, own BatchNorm")
HEAD = (
    "| method (seeds) | signs moved (%), by layer | one network: accuracy (%) | NLL | ECE (%) | "
    "own BatchNorm: accuracy | ensemble of 10: accuracy | NLL | ECE | each with own BatchNorm: accuracy | "
    "one network against {default} (95 %) |"
)


def save_table(path: Path, results: dict[str, Any], mode: str, default: str) -> None:
    """Write one table a network and optimizer."""
    groups: dict[tuple[str, str], dict[str, list[Any]]] = {}
    for key, found in results.items():
        network, steps, method, _ = key.split(" | ")
        groups.setdefault((network, steps), {}).setdefault(method, []).append(found)
    lines = [f"# Does the default train its signs? ({mode})", "", TEXT[mode], ""]
    for (network, steps), methods in groups.items():
        lines += [f"## {network}, {steps}", "", HEAD.format(default=default), "|---|" + "---|" * 10]
        lines += [_row(name, found, methods.get(default, [])) for name, found in methods.items()]
        lines.append("")
    path.write_text("\n".join(lines))


def _row(name: str, found: list[Any], reference: list[Any]) -> str:
    moved = np.array([each["moved"] for each in found])
    cells = [
        f"{name} ({len(found)})",
        " ".join(f"{100 * share:.2f}" for share in moved.mean(0)) if moved.size else "",
    ]
    cells += [
        _cell(found, KINDS[0], "accuracy", 100),
        _cell(found, KINDS[0], "nll", 1),
        _cell(found, KINDS[0], "ece", 100),
    ]
    cells += [_cell(found, KINDS[1], "accuracy", 100)]
    cells += [
        _cell(found, KINDS[2], "accuracy", 100),
        _cell(found, KINDS[2], "nll", 1),
        _cell(found, KINDS[2], "ece", 100),
    ]
    cells += [_cell(found, KINDS[3], "accuracy", 100)]
    difference = ""
    if len(found) == len(reference) > 1 and found is not reference:
        first, second = ([100 * each[KINDS[0]]["accuracy"] for each in group] for group in (found, reference))
        paired = paired_difference(first, second)
        difference = f"{paired.mean:+.2f} ({paired.lower:+.2f} to {paired.upper:+.2f})"
    return "| " + " | ".join([*cells, difference]) + " |"


def _cell(found: list[Any], kind: str, measure: str, times: float) -> str:
    if kind not in found[0]:
        return ""
    values = times * np.array([each[kind][measure] for each in found])
    deviation = f" ± {values.std(ddof=1):.2f}" if values.size > 1 else ""
    return f"{values.mean():.2f}{deviation}"
