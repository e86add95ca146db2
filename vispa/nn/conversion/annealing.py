"""`anneal` and `penalty`: what some training methods ask of a training loop beside steps."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from solvers import checks
from vispa.nn.conversion.selection import binary_layers

__all__ = ["anneal", "penalty"]


@runtime_checkable
class Annealed(Protocol):
    """A module, such as a binary activation, that changes with the share of training that is done."""

    def anneal_to(self, progress: float) -> None:
        """Set what changes."""


def anneal(model: nn.Module, progress: float) -> None:
    """Tell binary weights and activations how much of training is done, for what they change meanwhile.

    Call it before every epoch or every step. Some methods change a kernel, a temperature, a penalty or a
    rotation then; for the others this does nothing.

    Parameters
    ----------
    model : Module
        A model with binary layers; wrappers (compiled, DDP) are fine.
    progress : float
        From 0, at the start, to 1.

    Raises
    ------
    TypeError, ValueError
        If ``model`` is no module or has no binary layer, or ``progress`` is no such number.

    Examples
    --------
    >>> import torch, vispa
    >>> model = vispa.binarize(torch.nn.Linear(4, 2), keep=(), method="irnet", t_start=0.1, t_end=10.0)
    >>> vispa.anneal(model, 0.5)
    >>> model.parametrizations.weight[0].sharpness
    tensor(1.)
    """
    if checks.scalar("progress", progress, minimum=0.0) > 1:
        raise ValueError(f"progress must be a share, at most 1; found {progress}")
    with torch.no_grad():
        for found in {id(found.weight): found for found in binary_layers(model)}.values():
            found.weight.anneal(found.mean, float(progress))
    for module in model.modules():
        if isinstance(module, Annealed):
            module.anneal_to(float(progress))


def penalty(model: nn.Module) -> Tensor:
    """Return the sum of the terms that binary weights add to the loss, zero where no method has one.

    Parameters
    ----------
    model : Module
        A model with binary layers; wrappers (compiled, DDP) are fine.

    Returns
    -------
    Tensor
        A scalar with a graph, or without one where there is no term; add it to the loss.

    Raises
    ------
    TypeError, ValueError
        If ``model`` is no module or has no binary layer.

    Examples
    --------
    >>> import torch, vispa
    >>> vispa.penalty(vispa.binarize(torch.nn.Linear(4, 2), keep=()))
    tensor(0.)
    >>> bool(vispa.penalty(vispa.binarize(torch.nn.Linear(4, 2), keep=(), method="biper")) > 0)
    True
    """
    layers = {id(found.weight): found for found in binary_layers(model)}.values()
    terms = [found.weight.penalty(found.mean) for found in layers]
    total = torch.zeros((), device=next(iter(layers)).mean.device)
    for term in terms:
        if term is not None:
            total = total + term
    return total
