"""One run: one method, one seed, from initialisation to the single look at the test images."""

from __future__ import annotations

import logging
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
from vispa.nn import Accuracies, binarize
from vispa.optim.flip_tracker import FlipTracker
from vispa.training import checkpoint as checkpoints
from vispa.training.data.labelled_images import fingerprint
from vispa.training.data.split import Split
from vispa.training.evaluation import Probabilities, evaluate, probabilities
from vispa.training.execution import Execution, single_precision
from vispa.training.generators import own_devices
from vispa.training.logs import Log
from vispa.training.loop import Epoch, Stop, TrainingState, fit
from vispa.training.models import build, kept_real
from vispa.training.optimizers import make_optimizer
from vispa.training.processes import Processes
from vispa.training.recipes import Recipe, apply_method

_log = logging.getLogger(__name__)

# The custom of 256 pixels for 224: random parts show things larger than they are, and centres are to show them so.
ZOOM_BESIDE_RESIZED_CROPS = 8 / 7


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
    evaluation : vispa.nn.Accuracies or None
        On the test images; None unless the run finished.
    probabilities : vispa.training.evaluation.Probabilities or None
        How good probabilities are on the test images; None as above.
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
    evaluation: Accuracies | None
    probabilities: Probabilities | None
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
    checkpoint_every: int = 1,
    max_seconds: float | None = None,
    callback: Callable[[Epoch], None] | None = None,
    log: Log | None = None,
    execution: Execution | None = None,
    progress: bool = False,
    start: nn.Module | None = None,
    teacher: nn.Module | None = None,
) -> Run:
    """Train one network; select its epoch on validation; evaluate it on the test images, once.

    One seed fixes initialisation, batch order and noise.  Methods under the same seed start from the same
    float weights and see the same batches.  torch's default generator is forked: the caller's is left alone.

    In several processes, every one calls this with the same arguments and gets the same result; the first
    alone writes the checkpoint and the log.

    Parameters
    ----------
    parts : Split
        From `vispa.training.data.split.split`.
    recipe : Recipe
        From `vispa.training.recipes.recipe`.
    model : str, optional
        A name in `vispa.training.models.MODELS`.
    seed : int, optional
        At least 0.
    checkpoint : path, optional
        Written atomically.  Where it exists, the run goes on from it and ends, on the CPU with the same number
        of threads and processes, bit for bit where an uninterrupted one would.
    checkpoint_every : int, optional
        Epochs between checkpoints; the last epoch always writes one.
    max_seconds : float, optional
        Time limit; a run that meets it is not evaluated on the test images.
    callback : callable, optional
        Called with each finished `Epoch`, after the checkpoint is written; StopIteration ends the run.
    log : callable, optional
        Called after each epoch with all epochs so far: `vispa.training.logs.CsvLog` or ``TensorBoardLog``.
    execution : Execution, optional
        Device, processes, precision, compilation; by default one process on the CPU in float32.
    progress : bool, optional
        Show a bar on standard error, if that is a terminal.
    start : Module, optional
        A network of the same model with real weights, from which the latent weights and all else start.
    teacher : Module, optional
        A network whose probabilities take the place of the labels in training; it is moved to the device.

    Raises
    ------
    ValueError, TypeError
        For an argument out of range, or a checkpoint that is damaged or belongs to another run.
    NonFiniteError
        When a loss is NaN or infinite.

    Examples
    --------
    >>> from vispa.training.data.labelled_images import digits
    >>> from vispa.training.data.split import split
    >>> from vispa.training.recipes import recipe
    >>> run = train(split(digits(), seed=0, train_size=200), recipe("float", epochs=2))
    >>> run.result.stop.name, len(run.result.history)
    ('FINISHED', 2)
    """
    started = time.monotonic()
    seed = checks.integer("seed", seed, minimum=0)
    limit = math.inf if max_seconds is None else checks.scalar("max_seconds", max_seconds, minimum=0.0)
    every = checks.integer("checkpoint_every", checkpoint_every, minimum=1)
    execution = execution or Execution()
    processes = execution.processes
    checks.integer("batch_size", recipe.batch_size, minimum=2 * processes.count)
    path = None if checkpoint is None else checks.file_to_write("checkpoint", Path(checkpoint))
    stamp = _stamp(parts, recipe, model, seed, execution, start=start, teacher=teacher) if path else {}
    teacher = None if teacher is None else teacher.to(execution.device)
    parts = parts.to(execution.device)
    if recipe.resized_crops:
        parts = parts.zoomed(ZOOM_BESIDE_RESIZED_CROPS)
    with torch.random.fork_rng(devices=own_devices(execution.device)):
        state = prepare(parts, recipe, model=model, seed=seed, start=start)
        _resume(state, path, stamp, processes)
        with _bar(recipe, seed, state.epoch, shown=progress and processes.rank == 0) as bar:

            def after_epoch(epoch: Epoch) -> None:
                bar.set_postfix(validation=f"{epoch.validation_accuracy:.3f}", refresh=False)
                bar.update()
                due = epoch.epoch % every == 0 or epoch.epoch == recipe.epochs
                if processes.rank == 0 and path is not None and due:
                    checkpoints.save(path, stamp, state.snapshot())
                if processes.rank == 0 and log is not None:
                    log(state.history)
                if callback is not None:
                    callback(epoch)

            stop = fit(
                state, parts, recipe, seed=seed, execution=execution, deadline=started + limit,
                after_epoch=after_epoch, teacher=teacher,
            )  # fmt: skip
    return _conclude(state, parts, recipe, model, seed, stop, started, processes)


def _bar(recipe: Recipe, seed: int, done: int, *, shown: bool) -> tqdm[Any]:
    return tqdm(
        desc=f"{recipe.method}, seed {seed}", total=recipe.epochs, initial=done, unit="epoch", file=sys.stderr,
        leave=False, disable=None if shown else True,
    )  # fmt: skip


def prepare(
    parts: Split,
    recipe: Recipe,
    *,
    model: str = "convolutional",
    seed: int = 0,
    start: nn.Module | None = None,
) -> TrainingState:
    """Build the state before the first epoch; seeds torch's default generator, for the noise that follows."""
    torch.manual_seed(seed)
    with single_precision():
        network = build(
            model, parts.train.shape, parts.train.classes, binary_activations=recipe.method != "float"
        )
    if start is None:
        apply_method(network, recipe, keep=kept_real(model))
    else:
        try:
            network.load_state_dict(start.state_dict())
        except RuntimeError as error:
            raise ValueError(
                f"start must be a network of the model {model!r} with real weights; found another: {error}"
            ) from error
        if recipe.is_binary:
            binarize(
                network,
                keep=kept_real(model),
                method=recipe.layer_method,
                start="weights",
                **recipe.method_options,
            )
    # A fifth faster on small images; torch's annotations do not know of it.
    network.to(parts.train.labels.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer, scheduler = make_optimizer(network, recipe, len(parts.train))
    return TrainingState(network, optimizer, scheduler, FlipTracker(network))


def _conclude(
    state: TrainingState, parts: Split, recipe: Recipe, model: str, seed: int, stop: Stop, started: float,
    processes: Processes,
) -> Run:  # fmt: skip
    if state.best is not None:
        state.model.load_state_dict(state.best_model)
    state.model.eval()
    evaluation = quality = None
    if stop is Stop.FINISHED:
        samples = recipe.samples if recipe.sampled else 0
        evaluation = evaluate(
            state.model, parts.validation, parts.test, samples=samples, seed=seed, processes=processes
        )
        quality = probabilities(state.model, parts.test, samples=samples, seed=seed, processes=processes)
    _log.info("%s, seed %d, %s after %d epochs", recipe.method, seed, stop.name.lower(), state.epoch)
    result = Result(
        recipe, model, seed, len(parts.train), stop, tuple(state.history), state.best, evaluation, quality,
        time.monotonic() - started,
    )  # fmt: skip
    return Run(result, state.model)


def _resume(state: TrainingState, path: Path | None, stamp: dict[str, Any], processes: Processes) -> None:
    """Go on from the checkpoint, if there is one; the first process reads it for all."""
    if path is None:
        return
    found = checkpoints.load(path, stamp) if processes.rank == 0 and path.exists() else None
    snapshot = processes.from_first(found)
    if snapshot is None:
        return
    try:
        state.restore(snapshot)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not fit this version of the library: {error}") from error
    _log.info("goes on after epoch %d of %s", state.epoch, path)


def _stamp(
    parts: Split, recipe: Recipe, model: str, seed: int, execution: Execution, **networks: nn.Module | None
) -> dict[str, Any]:  # fmt: skip
    """Describe what makes two runs the same run; where they are computed does not."""
    return {
        **asdict(recipe), "model": model, "seed": seed, "precision": execution.precision,
        "data": fingerprint(parts.train, parts.validation),
        **{name: checkpoints.digest(network) for name, network in networks.items() if network is not None},
    }  # fmt: skip
