"""What correlation buys on digits: rank, covariance, projection, temperature, and the size of an ensemble.

    python -m benchmarks.networks.rank_study --date 2026-11-28 --minutes 20

One setting changes at a time, all else fixed: 1,000 images, 8 epochs, Adam at 0.003, noise of 0.28 times the mean
at the start, projection "channel", S = 100. Rank 0 is independent noise (bernoulli, its latent weights at a
hundred times the rate, the best of four ratios on validation) and no noise at all (ste). The epoch is the last.
Everything found is kept: run it again to go on.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import vispa
from vispa.nn import binary_layers
from vispa.nn.calibration import evaluating
from vispa.optim.flip_tracker import FlipTracker
from vispa.training.data.batches import batches
from vispa.training.data.labelled_images import digits
from vispa.training.data.split import Split, split
from vispa.training.models import convolutional
from vispa.training.statistics import paired_difference, summarise

IMAGES, EPOCHS, BATCH, RATE, NOISE = 1000, 8, 64, 0.003, 0.28
BERNOULLI_RATE = 100.0
# Of the published code, and the default when this was measured.
SCALE = 100
SIZES = (1, 2, 4, 8, 16, 40)
REFERENCE = "rank 4"
VARIANTS: dict[str, dict[str, Any]] = {
    "ste": {"method": "ste"},
    "bernoulli": {"method": "bernoulli"},
    **{f"rank {rank}": {"rank": rank} for rank in (1, 2, 4, 8, 16)},
    **{
        f"rank {rank}, a draw a channel": {"rank": rank, "covariance": "channel"} for rank in (1, 2, 4, 8, 16)
    },
    "rank 4, projection paper": {"projection": "paper"},
    "rank 4, projection published": {"projection": "published"},
    "rank 4, residual": {"residual": True},
    "rank 4, residual, T = 0.001": {"residual": True, "temperature": 0.001},
    "rank 4, residual, T = 0.01": {"residual": True, "temperature": 0.01},
    "rank 4, residual, T = 0.1": {"residual": True, "temperature": 0.1},
}


def latent_entropy(model: nn.Module) -> Tensor:
    """Entropy of the signs given the shared noise, in nats a weight: a lower bound of the entropy (claim V4)."""
    total, count = torch.zeros(()), 0
    for found in binary_layers(model):
        weight, rows = found.weight, found.weight.layout.rows(found.mean)
        shared, _ = weight.draw()
        mean = rows + torch.einsum("k,okn->on", shared, weight.factor).view(rows.shape)
        root = weight.layout.rows(weight.root_residual).abs() / math.sqrt(weight.scale)
        share = torch.special.ndtr(mean / root.clamp_min(1e-12)).clamp(1e-6, 1 - 1e-6)
        total = total - (share * share.log() + (1 - share) * (1 - share).log()).sum()
        count += rows.numel()
    return total / count


def build(parts: Split, options: dict[str, Any]) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Network and optimizer of one variant."""
    model = convolutional(parts.train.shape, parts.train.classes, vispa.SignActivation)
    options = {"method": "vispa", **options}
    if options["method"] == "vispa":
        options = {"rank": 4, "scale": SCALE, "noise_ratio": NOISE, **options}
    vispa.binarize(model, **options)
    means = {id(found.mean) for found in binary_layers(model)}
    rate = RATE * (BERNOULLI_RATE if options["method"] == "bernoulli" else 1.0)
    groups: list[dict[str, Any]] = [
        {"params": [values for values in model.parameters() if id(values) not in means]},
        {"params": [values for values in model.parameters() if id(values) in means], "lr": rate},
    ]
    return model, vispa.attach(torch.optim.Adam(groups, lr=RATE), model)


def run(parts: Split, options: dict[str, Any], seed: int) -> dict[str, Any]:
    """Train one variant, and evaluate the fixed network and ensembles of growing size on the test images."""
    torch.manual_seed(seed)
    options = dict(options)
    temperature = options.pop("temperature", 0.0)
    model, optimizer = build(parts, options)
    tracker = FlipTracker(model)
    steps = EPOCHS * math.ceil(len(parts.train) / BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    for epoch in range(EPOCHS):
        for batch in batches(parts.train, BATCH, (seed, epoch)):
            loss = cross_entropy(model(batch.inputs), batch.labels)
            if temperature:
                loss = loss - temperature * latent_entropy(model)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    found: dict[str, Any] = {"moved": 1.0 - tracker.agreement().total}
    inputs, labels = parts.test.inputs(), parts.test.labels
    with evaluating(model):
        found["one network"] = _measured([model(inputs)], labels)
        if options.get("method") == "ste":
            return found
        with vispa.sampling(model):
            drawn = [model(inputs) for _ in range(max(SIZES))]
    found["drawn network"] = float(np.mean([vispa.quality(each, labels).accuracy for each in drawn]))
    found |= {f"ensemble of {size}": _measured(drawn[:size], labels) for size in SIZES}
    return found


def _measured(logits: list[Tensor], labels: Tensor) -> dict[str, float]:
    found = vispa.quality(logits, labels)
    return {"accuracy": found.accuracy, "nll": found.nll, "ece": found.ece}


def report(results: dict[str, Any]) -> str:
    """Return the table: means over seeds, and differences from the reference, seed by seed."""
    by_name = {name: _runs(results, name) for name in VARIANTS}
    finished = [name for name in VARIANTS if by_name[name]]
    confidence = 1 - 0.05 / max(1, len(finished) - 1)
    lines = [
        f"# What correlation buys on digits: {IMAGES} images, {EPOCHS} epochs, Adam {RATE}, S = {SCALE}", "",
        f"Test accuracy in %, mean over seeds (± deviation); negative log-likelihood and calibration error of the "
        f"one network and of 40 drawn. Difference of one network from {REFERENCE}, seed by seed, Student's "
        f"interval at {100 * confidence:.2f} % (Bonferroni's correction of 95 % for {len(finished) - 1}).", "",
        "| | one network | " + " | ".join(f"{size} drawn" for size in SIZES) + " | nll, one | nll, 40 | ece, one | "
        "ece, 40 | signs moved | seeds | difference |", "|---|" + "---|" * (8 + len(SIZES)),
    ]  # fmt: skip
    for name in finished:
        runs = by_name[name]
        cells = [_accuracy(runs, "one network"), *(_accuracy(runs, f"ensemble of {size}") for size in SIZES)]
        for measure, factor, places in (("nll", 1, 3), ("ece", 100, 1)):
            for kind in ("one network", f"ensemble of {max(SIZES)}"):
                values = [factor * each[kind][measure] for each in runs.values() if kind in each]
                cells.append(f"{np.mean(values):.{places}f}" if values else "-")
        cells += [f"{100 * np.mean([each['moved'] for each in runs.values()]):.1f}", str(len(runs))]
        cells.append(_difference(runs, by_name[REFERENCE], confidence) if name != REFERENCE else "-")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _runs(results: dict[str, Any], name: str) -> dict[int, dict[str, Any]]:
    return {found["seed"]: found for found in results.values() if found["variant"] == name}


def _accuracy(runs: dict[int, dict[str, Any]], kind: str) -> str:
    values = [100 * each[kind]["accuracy"] for each in runs.values() if kind in each]
    if not values:
        return "-"
    return summarise(values).text()


def _difference(ours: dict[int, Any], theirs: dict[int, Any], confidence: float) -> str:
    seeds = sorted(ours.keys() & theirs.keys())
    first, second = ([100 * runs[s]["one network"]["accuracy"] for s in seeds] for runs in (ours, theirs))
    if not seeds:
        return "-"
    return paired_difference(first, second, confidence=confidence).text()


def main() -> None:
    """Run what is missing until the time is over, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--date", required=True, help="for the names of the results")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=np.inf, help="then write what there is")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    path = arguments.output / f"rank_study_{arguments.date}.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    deadline = time.monotonic() + 60 * arguments.minutes
    for seed in range(arguments.seeds):
        for name, options in VARIANTS.items():
            key = f"{name} | {seed}"
            if key in results or time.monotonic() > deadline:
                continue
            parts = split(digits(), seed=seed, train_size=IMAGES)
            results[key] = {"variant": name, "seed": seed, **run(parts, options, seed)}
            path.write_text(json.dumps(results, indent=0) + "\n")
    path.with_suffix(".md").write_text(report(results))


if __name__ == "__main__":
    main()
