"""Predictions of a hardened and a packed network beside each other, and what tells of those that differ."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Agreement", "agreement"]


@dataclass(frozen=True)
class Agreement:
    """How two networks classify the same images.

    Attributes
    ----------
    images : int
        Their number.
    hardened, packed : float
        Accuracies.
    differing : int
        Images for which their predictions differ.
    exact_as_packed : int
        Of these, how often the hardened network predicts what the packed one does once it computes in float64: its
        float32 sums of rounded scales had put a value on the wrong side of a threshold.
    """

    images: int
    hardened: float
    packed: float
    differing: int
    exact_as_packed: int


@torch.no_grad()
def agreement(hardened: nn.Module, packed: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Agreement:
    """Accuracies of a hardened network and what :func:`vispa.pack` made of it, and where they differ.

    Raises
    ------
    ValueError
        If there is no image, or a label that the networks have no logit for.

    Examples
    --------
    >>> import torch, vispa
    >>> layers = [torch.nn.Linear(8, 64), vispa.SignActivation(), torch.nn.Linear(64, 64), torch.nn.Linear(64, 2)]
    >>> model = vispa.harden(vispa.binarize(torch.nn.Sequential(*layers))).eval()
    >>> inputs = torch.randn(100, 8)
    >>> agreement(model, vispa.pack(model), [(inputs, model(inputs).argmax(1))]).packed
    1.0
    """
    images = right = packed_right = differing = exact = 0
    double: nn.Module | None = None
    for inputs, labels in batches:
        logits = hardened(inputs)
        if len(labels) and int(labels.max()) >= logits.shape[1]:
            raise ValueError(
                f"labels must be below {logits.shape[1]}, the model's number of logits; found {int(labels.max())}"
            )
        first, second = logits.argmax(1), packed(inputs).argmax(1)
        other = first != second
        images, differing = images + len(labels), differing + int(other.sum())
        right, packed_right = (
            right + int((first == labels).sum()),
            packed_right + int((second == labels).sum()),
        )
        if bool(other.any()):
            double = double or deepcopy(hardened).double()
            exact += int((double(inputs[other].double()).argmax(1) == second[other]).sum())
    if not images:
        raise ValueError("batches must hold images; found none")
    return Agreement(images, right / images, packed_right / images, differing, exact)
