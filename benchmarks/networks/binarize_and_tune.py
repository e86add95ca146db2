"""Small convolutional networks on digits and CIFAR-10: binary after training, then two epochs of vispa from there.

    python -m benchmarks.networks.binarize_and_tune digits --date 2026-11-28
    python -m benchmarks.networks.binarize_and_tune cifar --data cifar10-jpeg.tar.xz --date 2026-11-28

First a float network, made binary by every method with the same calibration images.  Then each of `STARTS` is
loaded into a network of vispa layers (`vispa.load_float`) and trained for two epochs by AdamW, at the rate that was
best on validation images under a seed that is not reported, the same rates for each (one rate on CIFAR-10).  Test
images are looked at once a network.  What the output holds is kept, so a stopped command goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import vispa
from vispa.quantization.layer_step import METHODS
from vispa.training.data.batches import batches
from vispa.training.data.labelled_images import LabelledImages, digits
from vispa.training.data.load import load
from vispa.training.data.split import Split, split, stratified
from vispa.training.models import convolutional

BATCH, SAMPLES, CALIBRATION, FLOAT_RATE = 64, 10, 512, 2e-3
WIDTH = {"digits": 32, "cifar": 16}
IMAGES = {"digits": 1000, "cifar": 2500}
# Of the test part, the same under every seed.
TEST_IMAGES = {"digits": 10_000, "cifar": 2000}
EPOCHS = {"digits": 20, "cifar": 5}
TUNED_EPOCHS, TUNING_SEED = 2, 100
# Of the published code, and the default when this was measured.
SCALE = 100
# One rate needs no trials.
RATES = {"digits": (3e-4, 1e-3, 3e-3), "cifar": (1e-3,)}
# "float": signs and sizes of the float weights; others: a network that is binary after training; the last: its
# signs, with sizes of the float weights brought to its scales, so that small weights stay the ones in doubt.
STARTS = ("float", "sgn", "gptq-descent", "vispa", "vispa, sizes of w")


def float_network(parts: Split, data: str, seed: int) -> nn.Module:
    """A network trained by AdamW, the rate falling along a cosine."""
    torch.manual_seed(seed)
    model = convolutional(parts.train.shape, parts.train.classes, nn.ReLU, width=WIDTH[data])
    return trained(
        model, parts.train, torch.optim.AdamW(model.parameters(), lr=FLOAT_RATE), EPOCHS[data], seed
    )


def trained(
    model: nn.Module, images: LabelledImages, optimizer: torch.optim.Optimizer, epochs: int, seed: int
) -> nn.Module:
    """The model after so many epochs."""
    steps = epochs * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(1, epochs + 1):
        for batch in batches(images, BATCH, (seed, epoch)):
            optimizer.zero_grad()
            cross_entropy(model(batch.inputs), batch.labels).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def started(network: nn.Module, binary: dict[str, nn.Module], start: str) -> nn.Module:
    """The weights that vispa layers are to start from."""
    if start in binary:
        return binary[start]
    source = deepcopy(network)
    if start == "float":
        return source
    with torch.no_grad():
        for name, values in binary["vispa"].named_parameters():
            real = source.get_parameter(name)
            if values.ndim > 1 and not torch.equal(real, values):
                sizes = real.abs().flatten(1)
                scales = values.abs().flatten(1).mean(dim=1) / sizes.mean(dim=1)
                shape = (-1, *[1] * (values.ndim - 1))
                real.copy_(values.sign() * real.abs() * scales.view(shape))
            else:
                real.copy_(values)
    return source


def tuned(source: nn.Module, parts: Split, rate: float, seed: int, part: str) -> dict[str, float]:
    """Accuracies after two epochs of vispa: of sgn(mean), and of ten drawn networks together."""
    torch.manual_seed(seed)
    model = vispa.load_float(vispa.binarize(deepcopy(source), scale=SCALE), source)
    optimizer = vispa.attach(torch.optim.AdamW(model.parameters(), lr=rate), model)
    tracker = vispa.FlipTracker(model)
    trained(model.train(), parts.train, optimizer, TUNED_EPOCHS, seed)
    held_out: LabelledImages = getattr(parts, part)
    moved = statistics.fmean(1.0 - share for share in tracker.agreement().layers.values())
    drawn = torch.cat([vispa.ensemble(model, some, SAMPLES) for some in held_out.inputs().split(500)])
    return {
        "one": accuracy(vispa.harden(model), held_out),
        "ensemble": float((drawn.argmax(dim=1) == held_out.labels).float().mean()),
        "moved": moved,
    }


@torch.no_grad()
def accuracy(model: nn.Module, images: LabelledImages) -> float:
    """Share of the images that a network names."""
    named = torch.cat([model.eval()(some).argmax(dim=1) for some in images.inputs().split(500)])
    return float((named == images.labels).float().mean())


def measured(parts: Split, data: str, seed: int, found: dict[str, Any], part: str) -> dict[str, Any]:
    """The networks of one seed: accuracies after training, and after tuning."""
    network = float_network(parts, data, seed)
    held_out: LabelledImages = getattr(parts, part)
    calibration: list[Tensor] = list(parts.train.inputs()[:CALIBRATION].split(128))
    rows: dict[str, Any] = {"float": {"accuracy": accuracy(network, held_out)}}
    binary: dict[str, nn.Module] = {}
    methods = METHODS if part == "test" else [name for name in METHODS if name in STARTS]
    for method in methods:
        binary[method], report = vispa.binarize_trained(network, calibration, method=method, workers=1)
        rows[method] = {
            "accuracy": accuracy(binary[method], held_out),
            "errors": [layer.relative_error for layer in report.layers],
            "bits": sum(layer.bits for layer in report.layers)
            / sum(layer.rows * layer.columns for layer in report.layers),
            "seconds": report.seconds,
        }
    rates, after = RATES[data], {}
    for start in STARTS:
        source = started(network, binary, start)
        chosen = rates if part == "validation" or len(rates) == 1 else (best_rate(found["tuning"], start),)
        after[start] = {str(rate): tuned(source, parts, rate, seed, part) for rate in chosen}
    return {"after training": rows, "tuned": after}


def limited(images: LabelledImages, count: int) -> LabelledImages:
    """So many images, as many of each class as can be."""
    if len(images) <= count:
        return images
    labels = images.labels.numpy()
    chosen = stratified(np.arange(len(labels)), labels, count, np.random.default_rng(0))
    return images.take(chosen)


def best_rate(tuning: dict[str, Any], start: str) -> float:
    """The rate with the best validation accuracy of one network."""
    trials = tuning["tuned"][start]
    return float(max(trials, key=lambda rate: trials[rate]["one"]))


def table(found: dict[str, Any], data: str) -> str:
    """Means and deviations over seeds, as Markdown."""
    seeds = list(found["seeds"].values())
    name = {"digits": "scikit-learn's digits", "cifar": "CIFAR-10 (JPEG)"}[data]
    lines = [
        f"# Binary after training, and two epochs from there: {name}, {found['date']}", "",
        f"Convolutions of {WIDTH[data]}, {2 * WIDTH[data]}, {2 * WIDTH[data]} channels and a linear layer; the two "
        f"inner convolutions become binary.  Float: {EPOCHS[data]} epochs on {IMAGES[data]:,} images; "
        f"{CALIBRATION} calibration images, at most {TEST_IMAGES[data]:,} test images; {len(seeds)} seed(s), mean "
        "± deviation of the test accuracy (%).", "",
        "| method | test accuracy | relative errors of the layers | bits a binary weight |", "|---|---|---|---|",
    ]  # fmt: skip
    for method, first in seeds[0]["after training"].items():
        rows = [seed["after training"][method] for seed in seeds]
        errors = zip(*(row["errors"] for row in rows), strict=True) if "errors" in first else []
        means = ", ".join(f"{statistics.fmean(error):.4f}" for error in errors)
        bits = f"{first['bits']:.3g}" if "bits" in first else "32"
        lines.append(f"| {method} | {_spread([row['accuracy'] for row in rows])} | {means} | {bits} |")
    rates = RATES[data]
    how = f"by validation among {', '.join(map(str, rates))} under a seed of its own"
    how = how if len(rates) > 1 else "fixed"
    lines += [
        "", f"Then {TUNED_EPOCHS} epochs of vispa (K = 4, S = {SCALE}) by AdamW; rate {how}:", "",
        "| start | rate | one network | ensemble of 10 | signs moved |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for start in STARTS:
        rate = next(iter(seeds[0]["tuned"][start]))
        rows = [seed["tuned"][start][rate] for seed in seeds]
        one, many = (_spread([row[key] for row in rows]) for key in ("one", "ensemble"))
        moved = statistics.fmean(row["moved"] for row in rows)
        lines.append(f"| {start} | {rate} | {one} | {many} | {100 * moved:.1f} % |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.fmean(values):.2f} ± {100 * deviation:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", choices=tuple(EPOCHS))
    parser.add_argument("--data", help="of cifar: a folder or tar with train/CLASS/ and test/CLASS/")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--date", required=True, help="for the names of the results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    path = args.output / f"binarize_and_tune_{args.network}_{args.date}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"seeds": {}}
    found["date"] = args.date
    images = digits() if args.network == "digits" else load(args.data)
    trials = (TUNING_SEED,) if len(RATES[args.network]) > 1 else ()
    for seed in (*trials, *range(args.seeds)):
        part = "validation" if seed == TUNING_SEED else "test"
        if (part == "validation" and "tuning" in found) or str(seed) in found["seeds"]:
            continue
        parts = split(images, seed=seed, train_size=IMAGES[args.network])
        parts = replace(parts, test=limited(parts.test, TEST_IMAGES[args.network]))
        result = measured(parts, args.network, seed, found, part)
        if part == "validation":
            found["tuning"] = result
        else:
            found["seeds"][str(seed)] = result
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(table(found, args.network), encoding="utf-8")


if __name__ == "__main__":
    main()
