"""Sampled networks in evaluation: the context manager, the ensemble, and accuracies kept apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from solvers import checks
from vispa.nn.calibration import Batches, check_batches, evaluating, pairs
from vispa.nn.scopes import Noise
from vispa.nn.selection import binary_layers
from vispa.nn.weights import BinaryWeight

__all__ = ["Accuracies", "accuracies", "ensemble", "sampling"]


@contextmanager
def sampling(model: nn.Module) -> Iterator[nn.Module]:
    """Let the binary layers of a model sample their weights in evaluation mode too, within the block.

    Parameters
    ----------
    model : Module
        A model with binary layers; wrappers (compiled, DDP) are fine.

    Raises
    ------
    TypeError, ValueError
        If ``model`` is not a module or has no binary layer.

    Examples
    --------
    >>> import torch, vispa
    >>> model = vispa.binarize(torch.nn.Linear(64, 64), keep=(), method="bernoulli").eval()
    >>> with vispa.sampling(model):
    ...     first, second = model(torch.ones(1, 64)), model(torch.ones(1, 64))
    >>> torch.equal(first, second), torch.equal(model(torch.ones(1, 64)), model(torch.ones(1, 64)))
    (False, True)
    """
    before: dict[BinaryWeight, bool] = {
        found.weight: found.weight.sample_in_evaluation for found in binary_layers(model)
    }
    try:
        for weight in before:
            weight.sample_in_evaluation = True
        yield model
    finally:
        for weight, state in before.items():
            weight.sample_in_evaluation = state


def ensemble(model: nn.Module, inputs: Any, samples: int = 40) -> Tensor:
    """Average the outputs of sampled binary networks: the evaluation of the published code.

    This is the accuracy of ``samples`` networks together, not of one binary network; report it apart from
    that of ``vispa.harden(model)``.

    Parameters
    ----------
    model : Module
        A model with binary layers that returns one tensor. It is evaluated in evaluation mode, without
        gradients, and left in the mode it was in.
    inputs : object
        Passed to the model as its only argument.
    samples : int, default 40
        L >= 1, the number of networks, drawn from torch's default generator.

    Returns
    -------
    Tensor
        The mean output, in single precision at least.

    Raises
    ------
    TypeError
        If the model does not return a tensor.
    ValueError
        If ``samples`` is below 1 or the model has no binary layer.

    Examples
    --------
    >>> import torch, vispa
    >>> model = vispa.binarize(torch.nn.Linear(4, 2), keep=())
    >>> vispa.ensemble(model, torch.ones(3, 4), samples=5).shape
    torch.Size([3, 2])
    """
    samples = checks.integer("samples", samples, minimum=1)
    with sampling(model), evaluating(model):
        return _mean_output(model, inputs, samples)


def _mean_output(model: nn.Module, inputs: Any, samples: int) -> Tensor:
    total: Tensor | None = None
    for _ in range(samples):
        output = model(inputs)
        if not isinstance(output, Tensor):
            raise TypeError(f"model must return one tensor; found {type(output).__name__}")
        output = output.to(torch.promote_types(output.dtype, torch.float32))
        total = output if total is None else total + output
    assert total is not None
    return total / samples


@dataclass(frozen=True)
class Accuracies:
    """Shares of examples that are classified right; one binary network and many together are different things.

    Attributes
    ----------
    mean_network : float
        Of the one network ``sgn(mean)``, the network of ``vispa.harden(model)``.
    sampled_network : float
        Of one drawn network, on average over the networks drawn.
    ensemble : float
        Of the outputs averaged over all networks drawn: ``samples`` networks are kept, not one.
    samples : int
        Networks drawn.
    examples : int
        Examples classified.
    """

    mean_network: float
    sampled_network: float
    ensemble: float
    samples: int
    examples: int


def accuracies(model: nn.Module, batches: Batches, *, samples: int = 40) -> Accuracies:
    """Return the accuracy of one binary network, apart from that of an ensemble.

    Every network is drawn once and classifies all batches. The best of several networks, chosen on other
    data, is :func:`vispa.harden` with ``how="best_of"``.

    Parameters
    ----------
    model : Module
        A model with binary layers that returns logits of shape (batch, classes). It is evaluated in
        evaluation mode, without gradients, and left in the mode it was in.
    batches : iterable of pairs
        (inputs, labels), labels of shape (batch,); moved to the model's device.
    samples : int, default 40
        Networks to draw, at least 1, from torch's default generator.

    Returns
    -------
    Accuracies

    Raises
    ------
    TypeError
        If ``batches`` is no iterable, or the model does not return a tensor.
    ValueError
        If the model has no binary layer, ``samples`` is below 1, there is no batch, a batch is no pair, or
        shapes are not those above.

    Notes
    -----
    Time: ``samples + 1`` forwards a batch. Memory: the noise of all networks, ``samples * K`` numbers a
    layer where one r is drawn for it, ``samples`` times the weights with ``residual`` or ``"bernoulli"``.

    Examples
    --------
    >>> import torch, vispa
    >>> model = vispa.binarize(torch.nn.Linear(8, 3), keep=(), rank=2)
    >>> batches = [(torch.randn(5, 8), torch.tensor([0, 1, 2, 0, 1]))]
    >>> found = vispa.accuracies(model, batches, samples=10)
    >>> found.examples, 0 <= found.ensemble <= 1
    (5, True)
    """
    samples = checks.integer("samples", samples, minimum=1)
    weights = list({id(found.weight): found.weight for found in binary_layers(model)}.values())
    check_batches(batches, needed_by="accuracies", name="batches", repeatable=False)
    draws: list[dict[BinaryWeight, Noise | None]] = [
        {weight: weight.draw() for weight in weights} for _ in range(samples)
    ]
    right = torch.zeros(3, dtype=torch.float64)
    examples = 0
    with evaluating(model):
        for inputs, labels in pairs(batches, model, name="batches"):
            mean = _right(_logits(model, inputs, labels, dict.fromkeys(weights)), labels)
            drawn = [_logits(model, inputs, labels, noises) for noises in draws]
            each = sum(_right(logits, labels) for logits in drawn) / samples
            right += torch.tensor([mean, each, _right(sum(drawn), labels)], dtype=torch.float64)
            examples += len(labels)
    if examples == 0:
        raise ValueError("batches must hold at least one example; found none")
    shares = (right / examples).tolist()
    return Accuracies(shares[0], shares[1], shares[2], samples, examples)


def _logits(
    model: nn.Module, inputs: Any, labels: Tensor, noises: dict[BinaryWeight, Noise | None]
) -> Tensor:
    with ExitStack() as stack:
        for weight, noise in noises.items():
            stack.enter_context(weight.hold(noise))
        logits = model(inputs)
    if not isinstance(logits, Tensor):
        raise TypeError(f"model must return one tensor; found {type(logits).__name__}")
    if not isinstance(labels, Tensor):
        raise TypeError(f"batches must hold labels as tensors; found {type(labels).__name__}")
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            "model must return logits of shape (batch, classes) for labels of shape (batch,); found "
            f"{tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _right(logits: Any, labels: Tensor) -> float:
    return float((logits.argmax(dim=1) == labels).sum())
