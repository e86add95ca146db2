"""What a plain network is chosen and corrected by: mean loss and BatchNorm statistics on calibration batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vispa.nn.calling import Forward, answer_of, first_argument, inputs_of, moved, split_batch

__all__ = ["Batches", "check_batches", "evaluating", "mean_loss", "pairs", "reestimate_batch_norm"]

_log = logging.getLogger(__name__)

Batches: TypeAlias = Iterable[Any]
LossFunction: TypeAlias = Callable[[Any, Any], Tensor]


def check_batches(
    batches: object, *, needed_by: str, name: str = "calibration", repeatable: bool = True
) -> None:
    """Refuse what cannot be iterated, only once where it must be repeatable, or is a batch itself."""
    if batches is None:
        raise ValueError(f"{name} must be given for {needed_by}: a loader of batches")
    if isinstance(batches, (Tensor, np.ndarray, Mapping, str)):
        raise TypeError(
            f"{name} must be a loader or a list of batches; found a {type(batches).__name__}: put a single batch "
            "in a list"
        )
    if not isinstance(batches, Iterable):
        raise TypeError(f"{name} must be a loader of batches; found {type(batches).__name__}")
    if repeatable and isinstance(batches, Iterator):
        raise TypeError(
            f"{name} must be iterable more than once, such as a DataLoader or a list of batches; found "
            f"the iterator {type(batches).__name__}"
        )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode without gradients, and every module back into its mode."""
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad():
            model.eval()
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def mean_loss(
    network: nn.Module, calibration: Batches, loss: LossFunction, forward: Forward | None = None
) -> float:
    """Return the mean over examples of a loss that averages over a batch of (inputs, targets).

    Raises
    ------
    ValueError
        If there is no batch, a batch is no pair, or the loss is more than one number.
    """
    total, count = 0.0, 0
    with evaluating(network):
        for inputs, targets in pairs(calibration, network):
            size = len(targets) if isinstance(targets, Tensor) and targets.ndim else 1
            total += size * _number(loss(answer_of(network, inputs, forward), targets))
            count += size
    if count == 0:
        raise ValueError("calibration must hold at least one batch; found none")
    return total / count


def _number(value: Any) -> float:
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ValueError(
            f"loss must return one number, averaged over the batch; found a tensor of shape {tuple(value.shape)}"
        )
    return float(value)


def reestimate_batch_norm(network: nn.Module, calibration: Batches, forward: Forward | None = None) -> None:
    """Replace the running statistics of BatchNorm, in place, by averages over the calibration batches.

    A batch counts by its size.  Everything else, dropout for one, stays in evaluation mode, and so does a BatchNorm
    for a batch that gives it one value a channel, which has no variance.  One that no batch reaches keeps its
    statistics, and so do all after an error.

    Raises
    ------
    ValueError
        If the network has no BatchNorm with running statistics, or there is no batch.
    """
    norms = [
        module
        for module in network.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    ]
    if not norms:
        raise ValueError("batch_norm must be False for a model without BatchNorm running statistics")
    before = [{name: values.clone() for name, values in norm.named_buffers()} for norm in norms]
    device, count = _device(network), 0
    try:
        with evaluating(network), _averaging(norms) as seen:
            for batch in calibration:
                answer_of(network, moved(inputs_of(batch), device), forward)
                count += 1
        if count == 0:
            raise ValueError("calibration must hold at least one batch; found none")
    except BaseException:
        for norm, values in zip(norms, before, strict=True):
            norm.load_state_dict({**norm.state_dict(), **values})
        raise
    if len(seen) < len(norms):
        _log.info("%d of %d BatchNorm layers keep their statistics", len(norms) - len(seen), len(norms))


@contextmanager
def _averaging(norms: list[_BatchNorm]) -> Iterator[dict[_BatchNorm, int]]:
    """Let calls of these layers average their statistics, weighted by the values a channel that each has seen."""
    seen: dict[_BatchNorm, int] = {}

    def weigh(norm: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        assert isinstance(norm, _BatchNorm)
        values = first_argument(arguments, keywords)
        size = values.numel() // max(norm.num_features, 1)
        norm.training = size > 1
        if norm.training:
            if norm not in seen:
                norm.reset_running_stats()
            seen[norm] = seen.get(norm, 0) + size
            norm.momentum = size / seen[norm]

    momenta = [norm.momentum for norm in norms]
    handles = [norm.register_forward_pre_hook(weigh, with_kwargs=True) for norm in norms]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def pairs(batches: Batches, model: nn.Module, *, name: str = "calibration") -> Iterator[tuple[Any, Any]]:
    """Yield (inputs, targets), tensors among them on the model's device; refuse batches that are no pairs."""
    device = _device(model)
    for batch in batches:
        inputs, targets = split_batch(batch, name=name)
        yield moved(inputs, device), moved(targets, device)


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
