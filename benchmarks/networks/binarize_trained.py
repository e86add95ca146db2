"""Trained layers and a trained network made binary by every method: relative error, accuracy, bits, seconds.

    python -m benchmarks.networks.binarize_trained --layers FOLDER --output benchmarks/results

FOLDER holds npz files with weights (J, n) and gram (n, n) of trained layers.  The network is a perceptron on
scikit-learn's digits, three seeds.
"""

from __future__ import annotations

import argparse
import math
import statistics
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import vispa
from benchmarks.record import heading, machine
from benchmarks.sdp.clock import once
from vispa.quantization.layer_problem import LayerProblem
from vispa.quantization.rivals import RIVALS
from vispa.quantization.scales import group_borders

METHODS = (*RIVALS, "vispa")
SEEDS = (0, 1, 2)


def layer_rows(folder: Path) -> list[str]:
    """Relative errors of each stored layer, with one scale a row and with one a group of 128 or of 32."""
    lines = [
        f"| layer | group | {' | '.join(METHODS)} | by the best rival | rows above | seconds (processor, wall) |",
        "|" + "---|" * (len(METHODS) + 5),
    ]
    ratios = []
    for path in sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_size):
        with np.load(path) as archive:
            weights, gram = archive["weights"].astype(float), archive["gram"].astype(float)
        columns = weights.shape[1]
        problem = LayerProblem.of(weights, gram)
        total = float(problem.energy.sum())
        for group in (None, 128 if columns > 128 else 32):
            errors = {
                name: rival(problem, group_borders(columns, group)).error for name, rival in RIVALS.items()
            }
            vispa.binary_layer(weights[:8], gram=gram, group=group)
            ours, timing = once(lambda w=weights, a=gram, g=group: vispa.binary_layer(w, gram=a, group=g))
            least = min(float(error.sum()) for error in errors.values())
            above = sum(
                int(np.any([row > error[i] * (1 + 1e-9) for error in errors.values()]))
                for i, row in enumerate(ours.error)
            )
            ratios.append(float(ours.error.sum()) / least)
            cells = [path.stem, group, *(f"{float(error.sum()) / total:.5f}" for error in errors.values())]
            cells += [f"{ours.relative_error:.5f}", f"{ratios[-1]:.3f}", above]
            lines.append(_line([*cells, f"{timing.processor:.1f}, {timing.wall:.1f}"]))
            print(lines[-1], flush=True)
    lines += [
        "",
        f"Geometric mean by the best rival: {math.exp(statistics.fmean(map(math.log, ratios))):.3f}.",
        "",
    ]
    return lines


def network_rows() -> list[str]:
    """Test accuracy of a perceptron on digits, float and binary, means over seeds."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for seed in SEEDS:
        model, calibration, test = _trained(seed)
        found.setdefault("float", []).append((_accuracy(model, *test), 32.0, 0.0))
        weights = sum(layer.weight.numel() for layer in (model[2], model[4]))
        for method in METHODS:
            for group in (None, 32):
                binary, report = vispa.binarize_trained(model, calibration, method=method, group=group)
                bits = sum(layer.bits for layer in report.layers) / weights
                name = f"{method}, group {group}"
                found.setdefault(name, []).append((_accuracy(binary, *test), bits, report.seconds))
    lines = ["| method | test accuracy | bits a binary weight | seconds |", "|---|---|---|---|"]
    for name, rows in found.items():
        accuracy, bits, seconds = (statistics.fmean(column) for column in zip(*rows, strict=True))
        lines.append(_line([name, f"{100 * accuracy:.2f} %", f"{bits:.3g}", f"{seconds:.2f}"]))
    return lines


def _trained(seed: int) -> tuple[nn.Sequential, list[Tensor], tuple[Tensor, Tensor]]:
    torch.manual_seed(seed)
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(images))
    x, y = torch.tensor(images[order] / 16.0).float(), torch.tensor(labels[order])
    model = nn.Sequential(
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(30):
        for rows in torch.randperm(1300).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model.eval(), [x[:1300]], (x[1300:], y[1300:])


@torch.no_grad()
def _accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    return float((model(images).argmax(dim=1) == labels).float().mean())


def _line(cells: list[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--remark", default="", help="such as what else the machine did")
    args = parser.parse_args()
    facts = machine(("vispa-sdp", "numpy", "torch")) | {"remark": args.remark}
    lines = heading("Binary after training", facts, facts["processor"], f"{facts['cores']} cores")
    lines += ["Relative errors |X v - X w|^2 / |X w|^2, summed over rows.", ""]
    lines += layer_rows(args.layers) if args.layers is not None else []
    lines += [
        "Perceptron 64-128-128-128-10 on digits, the two inner layers binary, means of three seeds:",
        "",
    ]
    lines += network_rows()
    text = "\n".join(lines) + "\n"
    print(text)
    if args.output is not None:
        (args.output / f"binarize_trained_{facts['date'][:10]}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
