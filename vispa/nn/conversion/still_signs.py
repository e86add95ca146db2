"""A warning, once, where an optimizer trains everything of a layer but its signs."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from vispa.nn.conversion.selection import BinaryLayer

__all__ = ["STEPS", "StillSigns"]

# Steps after which it is looked at, once.
STEPS = 400
# Of a layer's signs: fewer that have turned by then are none to speak of; 1 to 10 % are usual.
SHARE = 1e-3
# Relative change of a layer's alphas by which one can tell that it trains.
TRAINS = 0.01


class _Start(NamedTuple):
    """The state of one layer after the first step: which signs are positive, and a copy of its alphas."""

    positive: Tensor
    alpha: Tensor | None


class StillSigns:
    """Compares signs after `STEPS` steps of one optimizer with those after the first, and warns once.

    The loss is not seen here.  A layer is said to train where the gradient of its mean is not zero, its learning
    rate is not, and, where it has alphas that are trained, these have moved; a frozen one is left alone.  Costs one
    byte a weight until it has looked.
    """

    def __init__(self) -> None:
        self.step = 0
        self.starts: dict[int, _Start] = {}

    @torch.no_grad()
    def after_step(self, optimizer: Optimizer, layers: Iterable[BinaryLayer]) -> None:
        """Take note of a step that was made."""
        self.step += 1
        if self.step == 1:
            self.starts = {id(found.weight): _start(found) for found in layers}
        elif self.step == STEPS:
            still = [found for found in layers if self._is_still(found)]
            self.starts = {}
            rates = {id(v): float(g["lr"]) for g in optimizer.param_groups if "lr" in g for v in g["params"]}
            still = [found for found in still if rates.get(id(found.mean), 1.0) > 0]
            if still:
                warnings.warn(_advice(still, rates.get(id(still[0].mean))), stacklevel=4)

    def _is_still(self, found: BinaryLayer) -> bool:
        start = self.starts.get(id(found.weight))
        if start is None or found.mean.grad is None or start.positive.device != found.mean.device:
            return False
        if int((found.weight.positive(found.mean) != start.positive).sum()) >= SHARE * found.mean.numel():
            return False
        return bool(found.mean.grad.any()) and _moved(start.alpha, found.weight.alpha)


def _start(found: BinaryLayer) -> _Start:
    alpha = found.weight.alpha
    trained = alpha is not None and alpha.requires_grad
    return _Start(
        found.weight.positive(found.mean), alpha.detach().clone() if trained and alpha is not None else None
    )


def _moved(before: Tensor | None, now: Tensor | None) -> bool:
    if before is None or now is None:
        return True
    return bool((now - before).norm() > TRAINS * before.norm())


def _advice(still: list[BinaryLayer], rate: float | None) -> str:
    names = ", ".join(repr(found.name) for found in still[:3]) + (", ..." if len(still) > 3 else "")
    first = still[0]
    size = float(first.mean.detach().float().square().mean().sqrt())
    now = "" if rate is None else f", now {rate:g} beside latent weights of size {size:.2g},"
    radius = ", or binarize with a smaller radius" if hasattr(first.weight, "radius") else ""
    return (
        f"fewer than one sign in {1 / SHARE:.0f} has turned in {STEPS} steps in {len(still)} binary layer(s) whose "
        f"other parameters train: {names}. Raise the learning rate of their means{now} by a factor of ten or "
        f"more{radius}; vispa.FlipTracker counts the signs that turn"
    )
