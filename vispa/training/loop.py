"""The training loop: epochs of SGD steps, selection on validation, everything needed to go on later."""

from __future__ import annotations

import copy
import enum
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vispa.nn import anneal
from vispa.nn.calibration import evaluating
from vispa.nn.conversion.selection import find_binary_layers
from vispa.optim.flip_tracker import FlipTracker
from vispa.optim.groups import OptimizerGroup
from vispa.training import generators
from vispa.training.data.batches import Batch, batches
from vispa.training.data.split import Split
from vispa.training.divergence import NonFiniteError, first_faulty_tensor, locate
from vispa.training.evaluation import accuracy_and_loss
from vispa.training.execution import Execution
from vispa.training.recipes import Recipe

_log = logging.getLogger(__name__)


class Stop(enum.Enum):
    """Why a run stopped, and what the user can do about it."""

    FINISHED = "every epoch was run"
    TIME_LIMIT = (
        "the time limit came first, and the test images were kept for a finished run: run again with the "
        "same checkpoint to go on, or raise max_seconds"
    )
    CALLBACK = "the callback raised StopIteration; the test images were kept for a finished run"

    @property
    def message(self) -> str:
        """The reason and its remedy, in words."""
        return self.value


class Epoch(NamedTuple):
    """One finished epoch; validation is that of the fixed network sgn(mean).

    ``signs_turned`` is the share of its signs that differ from those of the epoch before, ``signs_moved`` from
    those at the start; of float networks, the signs of all Linear and convolutional weights.
    """

    epoch: int
    training_loss: float
    validation_accuracy: float
    validation_loss: float
    signs_turned: float
    signs_moved: float


@dataclass
class TrainingState:
    """All that a run carries from one epoch to the next, the default generators' states included."""

    model: nn.Module
    optimizer: Optimizer | OptimizerGroup
    scheduler: LambdaLR | OptimizerGroup
    signs: FlipTracker
    history: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    best_model: dict[str, Tensor] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return len(self.history)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def record(self, epoch: Epoch) -> None:
        """Append an epoch and keep its network if it is the best so far on validation."""
        self.history.append(epoch)
        _log.info(
            "epoch %d: training loss %.4g, validation accuracy %.4f, signs turned %.4f", epoch.epoch,
            epoch.training_loss, epoch.validation_accuracy, epoch.signs_turned,
        )  # fmt: skip
        if self.best is None or _merit(epoch) > _merit(self.best):
            self.best = epoch
            self.best_model = copy.deepcopy(self.model.state_dict())

    def snapshot(self) -> dict[str, Any]:
        """Everything as tensors, numbers and containers of them."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "signs": self.signs.state_dict(),
            "history": [tuple(epoch) for epoch in self.history],
            "best": None if self.best is None else tuple(self.best),
            "best_model": self.best_model,
            "generators": generators.capture(self.device),
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Become the state that `snapshot` described, the default generators included."""
        self.model.load_state_dict(snapshot["model"])
        self.optimizer.load_state_dict(snapshot["optimizer"])
        self.scheduler.load_state_dict(snapshot["scheduler"])
        self.signs.load_state_dict(snapshot["signs"])
        self.history = [Epoch(*epoch) for epoch in snapshot["history"]]
        self.best = None if snapshot["best"] is None else Epoch(*snapshot["best"])
        self.best_model = dict(snapshot["best_model"])
        generators.restore(snapshot["generators"], self.device)


def _merit(epoch: Epoch) -> tuple[float, float]:
    """Accuracy decides; the lower loss breaks ties, which are common on a few hundred images."""
    return epoch.validation_accuracy, -epoch.validation_loss


def fit(
    state: TrainingState,
    parts: Split,
    settings: Recipe,
    *,
    seed: int,
    execution: Execution | None = None,
    deadline: float = math.inf,
    after_epoch: Callable[[Epoch], None] | None = None,
    teacher: nn.Module | None = None,
) -> Stop:
    """Run the epochs that ``state`` has not had yet; noise comes from torch's default generators.

    Parameters
    ----------
    state : TrainingState
        Changed in place.
    parts : Split
        Where the model is.  Its test part is not touched.
    seed : int
        Of the batch order and the augmentation, which it fixes together with the epoch's number.
    execution : Execution, optional
        One process on the CPU by default.
    deadline : float
        On the clock of `time.monotonic`.  Where it passes within an epoch, that epoch does not count.
    after_epoch : callable
        Called once an epoch is recorded; StopIteration ends the run.
    teacher : Module, optional
        Where the model is.  Its probabilities take the place of the labels in training.

    Raises
    ------
    NonFiniteError
        Naming the layer, when a loss, or after an epoch the network, is NaN or infinite.
    """
    execution = execution or Execution()
    processes, limited = execution.processes, deadline < math.inf
    forward = execution.training_forward(state.model)
    steps = math.ceil(len(parts.train) / settings.batch_size)
    while state.epoch < settings.epochs:
        number = state.epoch + 1
        losses = []
        for step, batch in enumerate(batches(
            parts.train, settings.batch_size, (seed, number),
            crop_padding=settings.crop_padding, flip=settings.flip, resized_crops=settings.resized_crops,
            processes=processes,
        )):  # fmt: skip
            # All processes must stop at the same step, whatever their clocks say.
            if limited and processes.any(time.monotonic() >= deadline):
                return Stop.TIME_LIMIT
            if settings.is_binary:
                anneal(state.model, min(1.0, (number - 1 + step / steps) / settings.epochs))
            if teacher is not None:
                batch = batch._replace(labels=soft_labels(teacher, batch.inputs, parts.train.classes))
            losses.append(_step(state, forward, batch, number, execution))
        processes.share_buffers(state.model)
        _check_network(state.model, number)
        validation_accuracy, validation_loss = accuracy_and_loss(state.model, parts.validation, processes)
        if not math.isfinite(validation_loss):
            with evaluating(state.model):
                where = locate(state.model, parts.validation.inputs(slice(0, settings.batch_size)))
            raise NonFiniteError(_message("validation loss", validation_loss, number, where))
        turned, moved = state.signs.update().total, 1.0 - state.signs.agreement().total
        loss = sum(losses) / len(losses)
        state.record(Epoch(number, loss, validation_accuracy, validation_loss, turned, moved))
        if after_epoch is not None:
            try:
                after_epoch(state.history[-1])
            except StopIteration:
                return Stop.FINISHED if number == settings.epochs else Stop.CALLBACK
    return Stop.FINISHED


def soft_labels(teacher: nn.Module, inputs: Tensor, classes: int | None = None) -> Tensor:
    """Return a network's probabilities in evaluation mode: cross-entropy with them is the loss of distillation.

    Raises
    ------
    ValueError
        If it does not put out one number a class, of so many where that is said.
    """
    with evaluating(teacher):
        scores = teacher(inputs)
        if (
            not isinstance(scores, Tensor)
            or scores.ndim != 2
            or scores.shape[1] != (classes or scores.shape[1])
        ):
            found = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ValueError(f"teacher must put out a number for each of {classes} classes; found {found}")
        return scores.softmax(1)


@torch.enable_grad()
def _step(state: TrainingState, forward: nn.Module, batch: Batch, epoch: int, execution: Execution) -> float:
    state.model.train()
    before = generators.capture(state.device)
    with execution.autocast():
        loss = batch.weight * cross_entropy(forward(batch.inputs), batch.labels)
    value = execution.mean(loss)
    loss = _with_penalty(loss, state.model, batch)
    if not math.isfinite(value):
        where = "something in another process, whose message names it"
        if not bool(torch.isfinite(loss)):
            generators.restore(before, state.device)  # the same noise again, to see the same fault
            with execution.autocast():
                where = locate(state.model, batch.inputs)
        raise NonFiniteError(_message("loss", value, epoch, where))
    state.optimizer.zero_grad()
    execution.processes.backward(loss)
    state.optimizer.step()
    state.scheduler.step()
    return value


def _message(loss: str, value: float, epoch: int, where: str) -> str:
    return (
        f"the {loss} became {value} in epoch {epoch}; first not finite: {where}. "
        "Lower the learning rate, or look at the data"
    )


def _with_penalty(loss: Tensor, model: nn.Module, batch: Batch) -> Tensor:
    layers = {id(found.weight): found for found in find_binary_layers(model)}.values()
    terms = [term for found in layers if (term := found.weight.penalty(found.mean)) is not None]
    return loss if not terms else loss + batch.weight * torch.stack(terms).sum()


def _check_network(model: nn.Module, epoch: int) -> None:
    """A sign hides a NaN from the loss, so the network is looked at too."""
    faulty = first_faulty_tensor(model)
    if faulty is not None:
        raise NonFiniteError(
            f"the network is not finite after epoch {epoch}; first not finite: {faulty!r}. "
            "Lower the learning rate, or look at the data"
        )
