"""ProxQuant: real weights, moved towards their nearest sign by a proximal step after every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from solvers import checks
from vispa.nn.methods.base import Method, TransformedWeight, checked_share
from vispa.nn.methods.surrogate import signs, straight_through
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.layout import Layout
from vispa.nn.weights.noise_scope import Noise

__all__ = ["ProxQuant", "ProxQuantWeight", "lazy_weight", "prox"]


def prox(weights: Tensor, strength: Tensor | float) -> Tensor:
    r"""Return weights moved by up to ``strength`` towards the nearer of -1 and +1; zero stays zero.

    The proximal map of ``strength`` times the distance to {-1, 1}.

    Examples
    --------
    >>> import torch
    >>> prox(torch.tensor([0.5, -0.75, 1.5, 0.0]), 0.25)
    tensor([ 0.7500, -1.0000,  1.2500,  0.0000])
    """
    excess = weights.abs() - 1.0
    return weights.sign() * (1.0 + excess.sign() * (excess.abs() - strength).clamp_min(0.0))


def lazy_weight(weights: Tensor) -> Tensor:
    """Return ``prox(w, 1)`` differentiated as w: the published baseline, BinaryConnect within [-2, 2]."""
    return straight_through(prox(weights, 1.0), weights)


class ProxQuantWeight(TransformedWeight):
    """A weight of `ProxQuant`; ``strength`` is that of the proximal step, ``is_frozen`` whether signs are kept."""

    strength: Tensor
    is_frozen: Tensor

    def __init__(self, mean: Tensor, layout: Layout, method: ProxQuant) -> None:
        super().__init__(mean, layout, channel_scale=method.channel_scale)
        self.register_number("strength", 0.0, mean)
        self.register_buffer("is_frozen", torch.tensor(False, device=mean.device))

    def binary(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return the signs."""
        return straight_through(signs(rows, self.method.published_zero), rows)

    def relaxed(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return the real weights; of the lazy form, their nearest signs."""
        return lazy_weight(rows) if self.method.lazy else rows

    @torch.no_grad()
    def before_step(self, mean: Tensor) -> None:
        """Give frozen signs no gradient."""
        if mean.grad is not None and bool(self.is_frozen):
            mean.grad.zero_()

    @torch.no_grad()
    def project(self, mean: Tensor) -> None:
        """Take the proximal step and clip to [-1, 1], in place; keep frozen signs."""
        if bool(self.is_frozen):
            mean.copy_(signs(mean, self.method.published_zero))
            return
        if not self.method.lazy:
            mean.copy_(prox(mean, self.strength.to(mean.dtype)))
        mean.clamp_(-1.0, 1.0)

    @torch.no_grad()
    def anneal(self, mean: Tensor, progress: float) -> None:
        """Set the strength, and freeze the signs when their time has come."""
        self.strength.fill_(self.method.strength * min(1.0, progress / max(self.method.frozen_from, 1e-12)))
        if progress >= self.method.frozen_from and not bool(self.is_frozen):
            self.is_frozen.fill_(True)
            self.project(mean)


@dataclass(frozen=True)
class ProxQuant(Method):
    """Real weights that a proximal step after every step draws to their signs, then frozen signs.

    Parameters
    ----------
    strength : float, default 2e-4
        Of the proximal step when the signs are frozen, from 0 along a line: with the published rates,
        learning rate times 1e-4 times epoch, at epoch 200.
    frozen_from : float, default 2/3
        Share of training after which the signs are frozen: epoch 200 of 300.
    lazy : bool, default False
        The published baseline: nearest signs in the forward, no proximal step.
    channel_scale : {"learned", "mean", "none"}
        ``alpha``: a parameter; ``mean |mean_i|`` over the channel, without a gradient; or 1, as published.
    published_zero : bool, default False
        Whether ``sgn(0) = 0``, as published; such a weight is not binary.

    References
    ----------
    Bai, Wang and Liberty, ProxQuant: Quantized Neural Networks via Proximal Operators, ICLR 2019.
    """

    name: ClassVar[str] = "proxquant"
    weight_class: ClassVar[type[BinaryWeight]] = ProxQuantWeight

    strength: float = 2e-4
    frozen_from: float = 2 / 3
    lazy: bool = False
    channel_scale: str = "none"
    published_zero: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.scalar("strength", self.strength, minimum=0.0)
        checked_share("frozen_from", self.frozen_from)
        checks.boolean("lazy", self.lazy)
