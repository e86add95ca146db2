"""One run: one method, one seed, from initialisation to the single look at the test images."""

from __future__ import annotations

import hashlib
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from solvers import checks
from vispa.training import checkpoint as checkpoints
from vispa.training.evaluation import Evaluation, evaluate
from vispa.training.loop import Epoch, Stop, TrainingState, fit, make_optimizer
from vispa.training.models import build
from vispa.training.recipes import Recipe, apply_method
from vispa.training.split import Split


@dataclass(frozen=True)
class Result:
    """What a run reports.

    Attributes
    ----------
    recipe, model, seed, training_images
        What was run.
    stop : Stop
        Why it stopped.
    history : tuple of Epoch
        Every finished epoch, those before a resumption included.
    best : Epoch or None
        The epoch chosen on validation.
    evaluation : Evaluation or None
        On the test images; None unless the run finished.
    seconds : float
        Wall-clock time of this call.
    """

    recipe: Recipe
    model: str
    seed: int
    training_images: int
    stop: Stop
    history: tuple[Epoch, ...]
    best: Epoch | None
    evaluation: Evaluation | None
    seconds: float


@dataclass(frozen=True, eq=False)
class Run:
    """A result with the network of its best epoch, in evaluation mode."""

    result: Result
    network: nn.Module


def train(
    parts: Split,
    recipe: Recipe,
    *,
    model: str = "convolutional",
    seed: int = 0,
    checkpoint: str | Path | None = None,
    max_seconds: float | None = None,
    callback: Callable[[Epoch], None] | None = None,
    progress: bool = False,
) -> Run:
    """Train one network; select its epoch on validation; evaluate it on the test images, once.

    One seed fixes initialisation, batch order and noise.  Methods under the same seed start from the same
    float weights and see the same batches.  torch's default generator is forked: the caller's is left alone.

    Parameters
    ----------
    parts : Split
        From `vispa.training.split.split`.
    recipe : Recipe
        From `vispa.training.recipes.recipe`.
    model : str, optional
        A name in `vispa.training.models.MODELS`.
    seed : int, optional
        At least 0.
    checkpoint : path, optional
        Written after every epoch, atomically.  Where it exists, the run goes on from it and ends, on the CPU
        with the same number of threads, bit for bit where an uninterrupted one would.
    max_seconds : float, optional
        Time limit; a run that meets it is not evaluated on the test images.
    callback : callable, optional
        Called with each finished `Epoch`, after the checkpoint is written; StopIteration ends the run.
    progress : bool, optional
        Show a bar on standard error, if that is a terminal.

    Raises
    ------
    ValueError, TypeError
        For an argument out of range, or a checkpoint that is damaged or belongs to another run.
    NonFiniteError
        When a loss is NaN or infinite.

    Examples
    --------
    >>> from vispa.training.data import digits
    >>> from vispa.training.split import split
    >>> from vispa.training.recipes import recipe
    >>> run = train(split(digits(), seed=0, train_size=200), recipe("float", epochs=2))
    >>> run.result.stop.name, len(run.result.history)
    ('FINISHED', 2)
    """
    started = time.monotonic()
    seed = checks.integer("seed", seed, minimum=0)
    limit = math.inf if max_seconds is None else checks.scalar("max_seconds", max_seconds, minimum=0.0)
    path = None if checkpoint is None else _checkpoint_path(checkpoint)
    with torch.random.fork_rng(devices=[]):
        state = prepare(parts, recipe, model=model, seed=seed)
        stamp = _stamp(parts, recipe, model, seed) if path is not None else {}
        if path is not None and path.exists():
            _resume(state, path, stamp)
        with tqdm(
            desc=f"{recipe.method}, seed {seed}", total=recipe.epochs, initial=state.epoch, unit="epoch",
            file=sys.stderr, leave=False, disable=None if progress else True,
        ) as bar:  # fmt: skip

            def after_epoch(epoch: Epoch) -> None:
                bar.set_postfix(validation=f"{epoch.validation_accuracy:.3f}", refresh=False)
                bar.update()
                if path is not None:
                    checkpoints.save(path, stamp, state.snapshot())
                if callback is not None:
                    callback(epoch)

            stop = fit(state, parts, recipe, seed=seed, deadline=started + limit, after_epoch=after_epoch)
    return _conclude(state, parts, recipe, model, seed, stop, started)


def prepare(parts: Split, recipe: Recipe, *, model: str = "convolutional", seed: int = 0) -> TrainingState:
    """Build the state before the first epoch; seeds torch's default generator, for the noise that follows."""
    torch.manual_seed(seed)
    shape = parts.train.images.shape[1:]
    network = build(
        model,
        (int(shape[0]), int(shape[1]), int(shape[2])),
        parts.train.classes,
        binary_activations=recipe.method != "float",
    )
    apply_method(network, recipe)
    # A fifth faster on small images; torch's annotations do not know of it.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer, scheduler = make_optimizer(network, recipe, len(parts.train))
    return TrainingState(network, optimizer, scheduler)


def _conclude(
    state: TrainingState, parts: Split, recipe: Recipe, model: str, seed: int, stop: Stop, started: float
) -> Run:
    if state.best is not None:
        state.model.load_state_dict(state.best_model)
    state.model.eval()
    evaluation = None
    if stop is Stop.FINISHED:
        samples = recipe.samples if recipe.sampled else 0
        evaluation = evaluate(state.model, parts.validation, parts.test, samples=samples, seed=seed)
    result = Result(
        recipe, model, seed, len(parts.train), stop, tuple(state.history), state.best, evaluation,
        time.monotonic() - started,
    )  # fmt: skip
    return Run(result, state.model)


def _checkpoint_path(checkpoint: str | Path) -> Path:
    path = Path(checkpoint)
    if path.is_dir():
        raise ValueError(f"checkpoint must be a file; {path} is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"checkpoint must lie in a folder that exists; {path.parent} does not")
    return path


def _resume(state: TrainingState, path: Path, stamp: dict[str, Any]) -> None:
    snapshot = checkpoints.load(path, stamp)
    try:
        state.restore(snapshot)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not fit this version of the library: {error}") from error


def _stamp(parts: Split, recipe: Recipe, model: str, seed: int) -> dict[str, Any]:
    """Describe what makes two runs the same run."""
    digest = hashlib.sha256()
    for part in (parts.train, parts.validation):
        digest.update(part.images.contiguous().numpy().tobytes())
        digest.update(part.labels.numpy().tobytes())
    return {**asdict(recipe), "model": model, "seed": seed, "data": digest.hexdigest()}
