"""Two silent accidents made visible: writes to a weight that is computed anew, and training without projection."""

from __future__ import annotations

import warnings
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

__all__ = ["DriftWatch", "HandedOut"]

# Looks at rows whose parameter changed without a projection after it: enough to see that somebody projects.
LOOKS = 4


class HandedOut(NamedTuple):
    """A weight that was read outside any forward, with two sums by which a write to it shows."""

    weight: Tensor
    total: Tensor
    length: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> HandedOut | None:
        """Remember a weight; None for tensors whose entries are not plainly there."""
        weight = weight.detach()
        if (
            type(weight) is not Tensor
            or weight.is_meta
            or torch._C._functorch.is_functorch_wrapped_tensor(weight)
        ):
            return None
        return cls(weight, *_sums(weight))

    def warn_if_written(self) -> None:
        """Warn where the weight is not what was handed out: nothing else ever sees such a write."""
        total, length = _sums(self.weight)
        if not (torch.equal(total, self.total) and torch.equal(length, self.length)):
            warnings.warn(
                f"a binary weight of shape {tuple(self.weight.shape)} was written in place, by nn.init, copy_ or "
                "indexing, which has no effect: it is computed from its posterior at every read. Assign it "
                "(layer.weight = values), call layer.reset_parameters(), or vispa.load_float",
                stacklevel=5,
            )


def _sums(weight: Tensor) -> tuple[Tensor, Tensor]:
    return weight.sum(), torch.linalg.vector_norm(weight)


class Projected(Protocol):
    """A weight, as far as its drift is concerned."""

    def strays(self, mean: Tensor) -> str | None:
        """Return in words where the posterior is and should not be."""


class DriftWatch:
    """Whether the projection follows the steps of whatever trains a weight; warns once where it does not."""

    def __init__(self) -> None:
        self.seen = -1
        self.looks = LOOKS
        self.strayed = 0

    def projected(self, mean: Tensor) -> None:
        """Note that the weight has just been projected."""
        if _has_version(mean):
            self.seen = mean._version

    def look(self, weight: Projected, mean: Tensor) -> None:
        """Look at a mean that changed since it was projected last, in a forward of training."""
        if self.looks == 0 or not _has_version(mean) or mean._version == self.seen:
            return
        self.seen = mean._version
        self.looks -= 1
        stray = weight.strays(mean)
        self.strayed += stray is not None
        if self.strayed == 2:
            self.looks = 0
            warnings.warn(
                f"a binary weight of shape {tuple(mean.shape)} is trained without its projection: {stray}. Call "
                "vispa.attach(optimizer, model) on the optimizer that steps (a copied one has lost it), or "
                "vispa.project(model) after every step",
                stacklevel=5,
            )


def _has_version(mean: Tensor) -> bool:
    return type(mean) in (Tensor, nn.Parameter) and not mean.is_inference()
