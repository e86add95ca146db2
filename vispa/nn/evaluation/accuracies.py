"""Accuracies of a posterior over networks: one binary network, the best of many, and the many together."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from solvers import checks
from vispa.nn.calibration import Batches, check_batches, evaluating, pairs
from vispa.nn.calling import Forward, outputs_of
from vispa.nn.conversion.selection import binary_layers
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.noise_scope import Noise

__all__ = ["Accuracies", "accuracies", "classify"]

Draw: TypeAlias = dict[BinaryWeight, Noise | None]


@dataclass(frozen=True)
class Accuracies:
    """Shares of examples that are classified right; one binary network and many together are different things.

    Attributes
    ----------
    mean_network : float
        Of the one network ``sgn(mean)``, the network of ``vispa.harden(model)``.
    best_network : float
        Of the one drawn network that classifies the validation batches best, the first of equals; nan where
        none were given.
    sampled_network : float
        Of one drawn network, on average over the networks drawn; nan where nothing is drawn.
    ensemble : float
        Of the outputs averaged over all networks drawn: ``samples`` networks are kept, not one. As above, nan.
    samples : int
        Networks drawn.
    examples : int
        Examples classified.
    """

    mean_network: float
    best_network: float
    sampled_network: float
    ensemble: float
    samples: int
    examples: int


def accuracies(
    model: nn.Module,
    batches: Batches,
    *,
    samples: int = 40,
    validation: Batches | None = None,
    forward: Forward | None = None,
) -> Accuracies:
    """Return the accuracies of one binary network, mean or drawn, apart from that of an ensemble.

    Every network is drawn once and classifies all batches. To take the best network out, see
    :func:`vispa.harden` with ``how="best_of"``.

    Parameters
    ----------
    model : Module
        A model with binary layers that returns logits of shape (batch, classes), or an output that has them
        as its ``logits``. It is evaluated in evaluation mode, without gradients, and left in the mode it was
        in.
    batches : iterable of pairs
        (inputs, labels), labels of shape (batch,); moved to the model's device. Inputs that are a mapping
        become keyword arguments; a batch may be one mapping with an entry ``labels``.
    samples : int, default 40
        Networks to draw, at least 1, from torch's default generator.
    validation : iterable of pairs, optional
        Other examples, by which the best of the networks is chosen.
    forward : callable, optional
        ``forward(model, inputs)`` returns the logits, for models that are called otherwise.

    Returns
    -------
    Accuracies

    Raises
    ------
    TypeError
        If ``batches`` or ``validation`` is no iterable, or the model does not return a tensor.
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
    >>> found.examples, 0 <= found.ensemble <= 1, found.best_network
    (5, True, nan)
    """
    samples = checks.integer("samples", samples, minimum=1)
    binary_layers(model)
    check_batches(batches, needed_by="accuracies", name="batches", repeatable=False)
    if validation is not None:
        check_batches(validation, needed_by="accuracies", name="validation", repeatable=False)
    checks.function("forward", forward)
    return classify(model, batches, samples=samples, validation=validation, forward=forward)


def classify(
    model: nn.Module,
    batches: Batches,
    *,
    samples: int,
    validation: Batches | None = None,
    forward: Forward | None = None,
    total: Callable[[Tensor], Tensor] = lambda counts: counts,
) -> Accuracies:
    """Do the work of `accuracies` for any model, without binary layers too where ``samples`` is 0.

    ``total`` adds up the counts of several processes, each with batches of its own and the same draws.
    """
    layers = binary_layers(model) if samples else []
    weights = list({id(found.weight): found.weight for found in layers}.values())
    draws: list[Draw] = [{weight: weight.draw() for weight in weights} for _ in range(samples)]
    # The mean network comes first.
    networks: list[Draw] = [dict.fromkeys(weights), *draws]
    best = math.nan
    chosen = -1
    if validation is not None and draws:
        right, _ = _shares(
            total(_right_answers(model, validation, networks, "validation", forward)), "validation"
        )
        chosen = max(range(1, samples + 1), key=lambda number: right[number])
    right, examples = _shares(total(_right_answers(model, batches, networks, "batches", forward)), "batches")
    if chosen > 0:
        best = right[chosen]
    drawn = sum(right[1:-1]) / samples if draws else math.nan
    return Accuracies(right[0], best, drawn, right[-1] if draws else math.nan, samples, examples)


def _right_answers(
    model: nn.Module, batches: Batches, networks: list[Draw], name: str, forward: Forward | None
) -> Tensor:
    """Count the right answers of every network, of all but the first together, and the examples."""
    device = next(model.parameters()).device
    counts = torch.zeros(len(networks) + 2, dtype=torch.int64, device=device)
    with evaluating(model):
        for inputs, labels in pairs(batches, model, name=name):
            logits = [_logits(model, inputs, labels, noises, name, forward) for noises in networks]
            together = torch.stack(logits[1:]).mean(0) if len(logits) > 1 else logits[0]
            right = [(each.argmax(1) == labels).sum() for each in (*logits, together)]
            counts += torch.stack([*right, torch.tensor(len(labels), device=device)])
    return counts


def _shares(counts: Tensor, name: str) -> tuple[list[float], int]:
    *right, examples = counts.tolist()
    if examples == 0:
        raise ValueError(f"{name} must hold at least one example; found none")
    return [count / examples for count in right], examples


def _logits(
    model: nn.Module, inputs: Any, labels: Tensor, noises: Draw, name: str, forward: Forward | None
) -> Tensor:
    with ExitStack() as stack:
        for weight, noise in noises.items():
            stack.enter_context(weight.hold(noise))
        logits = outputs_of(model, inputs, forward)
    if not isinstance(labels, Tensor):
        raise TypeError(f"{name} must hold labels as tensors; found {type(labels).__name__}")
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            "model must return logits of shape (batch, classes) for labels of shape (batch,); found "
            f"{tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
