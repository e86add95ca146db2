"""Sampled networks in evaluation: the context manager and the ensemble."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from solvers import checks
from vispa.nn.calibration import evaluating
from vispa.nn.calling import Forward, outputs_of
from vispa.nn.conversion.selection import binary_layers
from vispa.nn.weights.binary_weight import BinaryWeight

__all__ = ["ensemble", "sampling"]


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


def ensemble(model: nn.Module, inputs: Any, samples: int = 40, *, forward: Forward | None = None) -> Tensor:
    """Average the outputs of sampled binary networks: the evaluation of the published code.

    This is the accuracy of ``samples`` networks together, not of one binary network; report it apart from
    that of ``vispa.harden(model)``.

    Parameters
    ----------
    model : Module
        A model with binary layers that returns one tensor, or an output whose ``logits`` is one. It is
        evaluated in evaluation mode, without gradients, and left in the mode it was in.
    inputs : object
        Passed to the model as its only argument, or as keyword arguments where it is a mapping.
    samples : int, default 40
        L >= 1, the number of networks, drawn from torch's default generator.
    forward : callable, optional
        ``forward(model, inputs)`` returns the tensor, for models that are called otherwise.

    Returns
    -------
    Tensor
        The mean output, in single precision at least.

    Raises
    ------
    TypeError
        If the model does not return a tensor, or ``forward`` is no function.
    ValueError
        If ``samples`` is below 1 or the model has no binary layer.

    Notes
    -----
    All networks share the running statistics of BatchNorm, averages over the networks drawn in training.
    Statistics of its own for every network gained 0.07 +- 0.07 points over 112 runs on digits, no more than
    chance, at a pass over the training data each; for those draw networks by ``vispa.harden(model,
    how="sample", calibration=loader, batch_norm=True)``.

    Examples
    --------
    >>> import torch, vispa
    >>> model = vispa.binarize(torch.nn.Linear(4, 2), keep=())
    >>> vispa.ensemble(model, torch.ones(3, 4), samples=5).shape
    torch.Size([3, 2])
    """
    samples = checks.integer("samples", samples, minimum=1)
    checks.function("forward", forward)
    with sampling(model), evaluating(model):
        return _mean_output(model, inputs, samples, forward)


def _mean_output(model: nn.Module, inputs: Any, samples: int, forward: Forward | None) -> Tensor:
    total: Tensor | None = None
    for _ in range(samples):
        output = outputs_of(model, inputs, forward)
        output = output.to(torch.promote_types(output.dtype, torch.float32))
        total = output if total is None else total + output
    assert total is not None
    return total / samples
