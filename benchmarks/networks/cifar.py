"""CIFAR-10: one binary network, the best of L, and ensembles, against our own float and straight-through runs.

On one GPU, within half an hour, with four minutes a run, in the order of `RUNS` as time remains; from the root of
a checkout, where torch, SciPy, Pillow, tqdm and matplotlib are, this library need not be installed:

    python -m benchmarks.networks.cifar cifar10-jpeg.tar.xz --device cuda --precision bfloat16 \
        --minutes-per-run 4 --tuning-rates 0.1 0.5 --tuning-minutes 0.4 --max-minutes 29 --output output

(With --compile every run compiles anew, which pays in longer ones.)  Runs that the output holds already are kept:
where a machine is there for ten minutes at a time, the same command with --max-minutes 9.5, three times, does as
well: what is asked first comes first, and every method of a network gets as many epochs as its first one.

On one core of a CPU, a subset and narrow networks, to see that only the budget is missing:

    python -m benchmarks.networks.cifar cifar10-jpeg.tar.xz --images 1500 --test-images 1000 --width 8 \
        --batch-size 50 --samples 5 --epochs 10 --tuning-rates 0.1 0.5 --tuning-epochs 3 \
        --max-minutes 25 --output output

The data: a folder or tar with train/CLASS/ and test/CLASS/.  Every method has the same budget, the same tuning (a
run a rate, under a seed of its own, the best on validation wins), the same batches and, if binary, starts from the
same binary network.  The best epoch is chosen on validation; the test images are looked at once a run.  Writes JSON
after every run, then a table and learning curves.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.networks.cifar_report import environment, save_plot, table
from vispa.training.data.labelled_images import LabelledImages
from vispa.training.data.load import load
from vispa.training.data.split import Split, split, stratified
from vispa.training.execution import Execution
from vispa.training.processes import from_environment
from vispa.training.published import published
from vispa.training.recipes import Recipe
from vispa.training.run import Result, train

# What is asked first comes first: rank 4 against rank 0, then the reference points, then other networks.
RUNS = (
    ("cifar10-resnet18-1w1a", "vispa"),
    ("cifar10-resnet18-1w1a", "bernoulli"),
    ("cifar10-resnet18-1w1a", "ste"),
    ("cifar10-resnet18-1w1a", "float"),
    ("cifar10-vgg-small-1w1a", "vispa"),
    ("cifar10-vgg-small-1w1a", "ste"),
    ("cifar10-resnet18-1w32a", "vispa"),
    ("cifar10-resnet18-1w32a", "ste"),
)
TUNING_SEED = 100
SUBSET_SEED = 0


@dataclass
class Session:
    """Options, data, and what has been found so far."""

    options: argparse.Namespace
    data: LabelledImages
    execution: Execution
    began: float = field(default_factory=time.monotonic)
    runs: list[dict[str, Any]] = field(default_factory=list)
    tuning: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)

    def seconds_left(self) -> float:
        limit = self.options.max_minutes
        return math.inf if limit is None else 60 * limit - (time.monotonic() - self.began)

    def parts(self, seed: int) -> Split:
        return split(self.data, seed=seed)

    def model(self, name: str) -> str:
        return name if self.options.width is None else f"{name}:{self.options.width}"

    @property
    def path(self) -> Path:
        return self.options.output / f"{self.options.name}.json"

    def settings(self) -> dict[str, Any]:
        """The options that decide what is run."""
        return {
            name: value
            for name, value in vars(self.options).items()
            if value is not None and name not in ("data", "output", "max_minutes", "only")
        }

    def resume(self) -> None:
        """Keep the runs of an earlier call with the same options."""
        if not self.path.exists():
            return
        found = json.loads(self.path.read_text())
        if found["options"] != self.settings():
            raise ValueError(f"{self.path} is of other options; choose another --name or --output")
        self.runs, self.tuning = found["runs"], found["tuning"]

    def save(self) -> None:
        if self.execution.processes.rank > 0:
            return
        content = {
            "data": f"CIFAR-10 (JPEG), {description(self)}",
            "environment": environment(self.execution),
            "options": self.settings(),
            "tuning": self.tuning,
            "runs": self.runs,
            "skipped": self.skipped,
        }
        self.path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    execution = Execution(from_environment(options.device), options.precision, options.compile)
    session = Session(options, subset(load(options.data, progress=True), options), execution)
    session.resume()
    done = {(run["recipe"], run["method"]) for run in session.runs}
    wanted = [pair for pair in RUNS if not options.only or "/".join(pair) in options.only]
    for name, method in (pair for pair in wanted if pair not in done):
        run(session, name, method)
        session.save()
    if execution.processes.rank > 0:
        return 0
    text = table(session.runs, session.skipped, session.tuning, description(session), environment(execution))
    (options.output / f"{options.name}.md").write_text(text)
    save_plot(session.runs, options.output / f"{options.name}.png", description(session))
    print(text)
    return 0


def run(session: Session, name: str, method: str) -> None:
    """Tune, then train and evaluate one method, if the time allows it."""
    model, settings = published(name, method)
    options = session.options
    known = [each["settings"]["epochs"] for each in session.runs if each["recipe"] == name]
    epochs = (
        options.epochs or (known or [epochs_within(session, model, settings, options.minutes_per_run)])[0]
    )
    tuning_epochs = options.tuning_epochs or 0
    if options.tuning_minutes is not None:
        tuning_epochs = max(1, round(epochs * options.tuning_minutes / options.minutes_per_run))
    needed = estimate(session, model, epochs + len(options.tuning_rates) * tuning_epochs)
    if needed > session.seconds_left():
        session.skipped.append({"recipe": name, "method": method, "why": "the time that was left"})
        return
    rate = best_rate(session, name, method, tuning_epochs) if options.tuning_rates else settings.learning_rate
    model, settings = published(name, method, epochs=epochs, learning_rate=rate, samples=options.samples)
    result = trained(session, model, settings, options.seed)
    images = len(session.data) - (session.data.test_from or 0)
    session.runs.append({"recipe": name, "method": method, "test_images": images, **record(result)})


def best_rate(session: Session, name: str, method: str, epochs: int) -> float:
    """The rate whose short run has the best validation accuracy; the test images play no part."""
    scores = {}
    for rate in session.options.tuning_rates:
        model, settings = published(name, method, epochs=epochs, learning_rate=rate)
        result = trained(session, model, replace(settings, samples=1), TUNING_SEED)
        assert result.best is not None
        scores[rate] = result.best.validation_accuracy
        session.tuning.append(
            {
                "recipe": name, "method": method, "learning_rate": rate, "epochs": epochs,
                "validation_accuracy": scores[rate], "seconds": result.seconds,
            }
        )  # fmt: skip
    return max(scores, key=lambda rate: scores[rate])


def trained(session: Session, model: str, settings: Recipe, seed: int) -> Result:
    if session.options.batch_size is not None:
        settings = replace(settings, batch_size=session.options.batch_size)
    return train(
        session.parts(seed), settings, model=session.model(model), seed=seed, execution=session.execution,
        progress=True,
    ).result  # fmt: skip


def epochs_within(session: Session, model: str, settings: Recipe, minutes: float) -> int:
    """Epochs of rank 4, the dearest method, that fit; every method of the network gets as many."""
    key = session.model(model)
    if key not in SECONDS_AN_EPOCH:
        stamps: list[float] = []
        timed = replace(settings, method="vispa", epochs=3, warmup_epochs=0, samples=1)
        train(
            session.parts(TUNING_SEED), timed, model=key, seed=TUNING_SEED, execution=session.execution,
            callback=lambda _: stamps.append(time.monotonic()),
        )  # fmt: skip
        SECONDS_AN_EPOCH[key] = stamps[-1] - stamps[-2]
    return max(1, int(60 * minutes / SECONDS_AN_EPOCH[key]))


# By model, once measured; the first epoch, which compiles, does not count.
SECONDS_AN_EPOCH: dict[str, float] = {}


def estimate(session: Session, model: str, epochs: int) -> float:
    """Seconds that so many epochs take, by the runs before; zero where nothing is known yet."""
    known = [r["seconds"] / len(r["epochs"]) for r in session.runs if r["model"] == session.model(model)]
    return epochs * max([*known, SECONDS_AN_EPOCH.get(session.model(model), 0.0)])


def record(result: Result) -> dict[str, Any]:
    assert result.evaluation is not None
    numbers = {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in asdict(result.evaluation).items()
    }
    return {
        "model": result.model, "settings": asdict(result.recipe), "seed": result.seed,
        "training_images": result.training_images, "seconds": result.seconds, "test": numbers,
        "epochs": [epoch._asdict() for epoch in result.history],
    }  # fmt: skip


def subset(data: LabelledImages, options: argparse.Namespace) -> LabelledImages:
    """So many images of the training and of the test part, stratified, the same ones every time."""
    start, labels = data.test_from, data.labels.numpy()
    if start is None:
        raise ValueError(f"{options.data} has no test part of its own")
    rng = np.random.default_rng(SUBSET_SEED)
    parts = (np.arange(start), options.images), (np.arange(start, len(data)), options.test_images)
    chosen = [
        indices if count is None else stratified(indices, labels, count, rng) for indices, count in parts
    ]
    return replace(data.take(np.concatenate(chosen)), test_from=len(chosen[0]))


def description(session: Session) -> str:
    images, width = session.options.images, session.options.width
    part = "all images" if images is None else f"SUBSET: {images} images for training and validation"
    tests = len(session.data) - (session.data.test_from or 0)
    networks = "networks of full width" if width is None else f"NARROW networks: width {width}"
    return f"{part}, {tests} for the test, {networks}"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, help="training and validation images (default: all)")
    parser.add_argument("--test-images", type=int)
    parser.add_argument("--width", type=int, help="channels of the first stage (default: the network's)")
    parser.add_argument("--epochs", type=int, help="of every run; or --minutes-per-run")
    parser.add_argument("--minutes-per-run", type=float)
    parser.add_argument("--tuning-rates", type=float, nargs="*", default=[], help="none: the paper's rate")
    parser.add_argument("--tuning-epochs", type=int)
    parser.add_argument("--tuning-minutes", type=float, help="beside --minutes-per-run")
    parser.add_argument(
        "--max-minutes", type=float, help="of everything; runs that would not fit are skipped"
    )
    parser.add_argument("--only", nargs="*", help="RECIPE/METHOD, of " + ", ".join(map("/".join, RUNS)))
    parser.add_argument("--batch-size", type=int, help="(default: the recipe's)")
    parser.add_argument("--samples", type=int, default=40, help="L, networks drawn in an evaluation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("output"))
    parser.add_argument("--name", default="cifar")
    options = parser.parse_args(arguments)
    if (options.epochs is None) == (options.minutes_per_run is None):
        parser.error("give one of --epochs and --minutes-per-run")
    if options.tuning_rates and (options.tuning_epochs is None) == (options.tuning_minutes is None):
        parser.error("--tuning-rates needs one of --tuning-epochs and --tuning-minutes")
    if options.tuning_minutes is not None and options.minutes_per_run is None:
        parser.error("--tuning-minutes stands beside --minutes-per-run")
    return options


if __name__ == "__main__":
    sys.exit(main())
