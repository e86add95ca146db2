"""Do signs train under optimizers that people leave untouched? The start and the projection that are the default.

    python -m benchmarks.networks.default_start sweep --date 2026-11-28    # validation images, to choose by
    python -m benchmarks.networks.default_start report --date 2026-11-28   # test images, the default beside others
    python -m benchmarks.networks.default_start cifar --data cifar10-jpeg.tar.xz --date 2026-11-28
    python -m benchmarks.networks.default_start scale --date 2026-11-28    # S = 1e4 and 100, twenty seeds more

Every run is a network, an optimizer at a constant rate (AdamW at its own 1e-3, SGD 0.1 with momentum 0.9), a
method and a seed; the last epoch counts.  Batches, split and initial network follow the seed.  `frozen` is `ste`
whose signs stay what was drawn, while BatchNorm, alpha and the real ends train: what does not beat it has not
trained its signs.  `vispa, noise off` is straight-through training on vispa's sphere, with a factor of zero: what
does not beat it owes nothing to the noise.  `vispa, S = 100` has the published S and the same start.  Runs that
the output holds are kept, so a stopped command goes on.  Writes JSON after every run, then a table.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, AdamW, Optimizer
from tqdm import tqdm

import vispa
from benchmarks.networks.default_report import save_table
from vispa.nn import binary_layers
from vispa.nn.calibration import reestimate_batch_norm
from vispa.nn.methods.vispa import RADIUS_RATIO
from vispa.nn.weights.binary_weight import latent_scale
from vispa.training.data.batches import batches
from vispa.training.data.labelled_images import LabelledImages, digits
from vispa.training.data.load import load
from vispa.training.data.split import Split, split
from vispa.training.models import convolutional

BATCH, SAMPLES = 64, 10
OPTIMIZERS: dict[str, Callable[[list[Tensor]], Optimizer]] = {
    "AdamW 1e-3": lambda values: AdamW(values, lr=1e-3),
    "SGD 0.1": lambda values: SGD(values, lr=0.1, momentum=0.9),
}
DEFAULT, PUBLISHED = "vispa", "vispa, S = 100"
METHODS: dict[str, dict[str, Any]] = {
    "float": {"method": "float"},
    "frozen": {"method": "frozen"},
    "ste": {"method": "ste"},
    DEFAULT: {},
    PUBLISHED: {"scale": 100},
    "vispa, noise off": {"noise": False},
}
PROJECTIONS: dict[str, dict[str, Any]] = {
    "vispa, paper": {"projection": "paper"},
    "vispa, published": {"projection": "published"},
}
# Of the sweep alone, from when S was 100 by default; "radius" is in units of the default one.
AT_PUBLISHED_SCALE: dict[str, dict[str, Any]] = {
    **{f"radius x {ratio:g}": {"radius": ratio} for ratio in (4, 2, 0.4)},
    **{f"noise {ratio:g}": {"noise_ratio": ratio} for ratio in (0.1, 0.2, 0.4, 1)},
    **{f"noise 0.2, S = {scale:g}": {"noise_ratio": 0.2, "scale": scale} for scale in (1, 10, 1000)},
    "noise 0.2, rank 16": {"noise_ratio": 0.2, "rank": 16},
    "noise 0.2, a draw a channel": {"noise_ratio": 0.2, "covariance": "channel"},
    "rows on a sphere, noise 0.5": {"projection": "paper", "radius": 1, "noise_ratio": 0.5},
}
VARIANTS = {name: {"scale": 100, **options} for name, options in AT_PUBLISHED_SCALE.items()}
EPOCHS = {"mlp": 15, "convolutional": 15, "cifar": 4}
IMAGES = {"mlp": 1000, "convolutional": 1000, "cifar": 10_000}


def multilayer(shape: tuple[int, int, int], classes: int, activation: Callable[[], nn.Module]) -> nn.Module:
    """Three hidden layers of 128, the two between them binary."""
    channels, height, width = shape
    layers: list[nn.Module] = [nn.Flatten()]
    for size in (channels * height * width, 128, 128):
        layers += [nn.Linear(size, 128, bias=False), nn.BatchNorm1d(128), activation()]
    return nn.Sequential(*layers, nn.Linear(128, classes))


def build(network: str, data: LabelledImages, options: dict[str, Any]) -> nn.Module:
    """Build and binarize a network; the options are those of `binarize`, or a method of this script."""
    options = dict(options)
    method, ratio = options.pop("method", "vispa"), options.pop("radius", None)
    noise = options.pop("noise", True)
    activation = nn.Hardtanh if method == "float" else vispa.SignActivation
    if network == "mlp":
        model = multilayer(data.shape, data.classes, activation)
    else:
        width = 16 if network == "cifar" else 32
        model = convolutional(data.shape, data.classes, activation, width=width)
    if network == "cifar":
        # Without it the real last layer diverges at a rate of 0.1, whatever trains the signs.
        model = nn.Sequential(*model, nn.BatchNorm1d(data.classes))
    if method == "float":
        return model
    vispa.binarize(model, method="ste" if method == "frozen" else method, **options)
    for found in binary_layers(model):
        if method == "frozen":
            found.mean.requires_grad_(False)
        elif not noise:
            found.weight.factor.requires_grad_(False).zero_()
        elif ratio is not None:
            found.weight.radius = ratio * RADIUS_RATIO * latent_scale(found.weight.layout)
    vispa.nn.project(model)
    return model


def run(
    parts: Split, network: str, optimizer: str, options: dict[str, Any], seed: int, part: str
) -> dict[str, Any]:
    """Train one network and evaluate its last epoch on ``part``."""
    torch.manual_seed(seed)
    model = build(network, parts.train, options)
    layers = [] if options.get("method") == "float" else binary_layers(model)
    tracker = vispa.FlipTracker(model)
    steps = OPTIMIZERS[optimizer]([values for values in model.parameters() if values.requires_grad])
    if options.get("method") not in ("float", "frozen"):
        vispa.attach(steps, model)
    for epoch in range(1, EPOCHS[network] + 1):
        for batch in batches(parts.train, BATCH, (seed, epoch)):
            steps.zero_grad()
            cross_entropy(model(batch.inputs), batch.labels).backward()
            steps.step()
    held_out: LabelledImages = getattr(parts, part)
    inputs, labels = held_out.inputs(), held_out.labels
    model.eval()
    found: dict[str, Any] = {"one network": _measured([_outputs(model, inputs)], labels)}
    moved = tracker.agreement().layers
    found["moved"] = [1.0 - moved[f"{layer.name}.weight"] for layer in layers]
    if options.get("method", "vispa") == "vispa" and options.get("noise", True):
        calibration = parts.train.inputs().split(250)
        plain = vispa.harden(model)
        reestimate_batch_norm(plain, calibration)
        found["own BatchNorm"] = _measured([_outputs(plain, inputs)], labels)
        for name in ("ensemble", "ensemble, own BatchNorm"):
            outputs = []
            for _ in range(SAMPLES):
                drawn = vispa.harden(model, how="sample")
                if name != "ensemble":
                    reestimate_batch_norm(drawn, calibration)
                outputs.append(_outputs(drawn, inputs))
            found[name] = _measured(outputs, labels)
    return found


@torch.no_grad()
def _outputs(model: nn.Module, inputs: Tensor) -> Tensor:
    return torch.cat([model(chunk) for chunk in inputs.split(250)])


def _measured(outputs: Sequence[Tensor], labels: Tensor) -> dict[str, float]:
    found = vispa.quality(outputs, labels, bins=10)
    return {"accuracy": found.accuracy, "nll": found.nll, "ece": found.ece}


def jobs(mode: str) -> tuple[list[tuple[int, str, str, str]], dict[str, dict[str, Any]]]:
    """Seed, network, optimizer and method of every run, seeds outermost, and the methods' options."""
    methods = METHODS
    seeds, networks = range(10), ["mlp", "convolutional"]
    if mode == "sweep":
        methods, seeds = METHODS | PROJECTIONS | VARIANTS, range(100, 102)
    if mode == "cifar":
        seeds, networks = range(5), ["cifar"]
    if mode == "scale":
        methods = {name: METHODS[name] for name in (DEFAULT, PUBLISHED)}
        seeds, networks = range(10, 30), ["convolutional"]
    listed = [
        (seed, network, steps, name)
        for seed in seeds
        for network in networks
        for steps in OPTIMIZERS
        for name in methods
    ]
    return listed, methods


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mode", choices=("sweep", "report", "cifar", "scale"))
    parser.add_argument(
        "--data", type=Path, help="of cifar: a folder or tar with train/CLASS/ and test/CLASS/"
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--date", required=True, help="for the names of the results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    path = arguments.output / f"default_start_{arguments.mode}_{arguments.date}.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    listed, methods = jobs(arguments.mode)
    data = load(str(arguments.data)) if arguments.mode == "cifar" else digits()
    for seed, network, steps, name in tqdm(listed):
        key = f"{network} | {steps} | {name} | {seed}"
        if key not in results:
            parts = split(data, seed=seed, train_size=IMAGES[network])
            part = "validation" if arguments.mode == "sweep" else "test"
            results[key] = run(parts, network, steps, methods[name], seed, part)
            path.write_text(json.dumps(results, indent=0) + "\n")
    save_table(path.with_suffix(".md"), results, arguments.mode, DEFAULT)


if __name__ == "__main__":
    main()
