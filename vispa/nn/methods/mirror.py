"""Mirror descent: weights tanh(beta theta) under a rising beta, or a step of mirror descent on the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from solvers import checks
from vispa.nn.methods.base import Method, TransformedWeight
from vispa.nn.methods.surrogate import signs, straight_through
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.layout import Layout
from vispa.nn.weights.noise_scope import Noise

__all__ = ["Mirror", "MirrorWeight", "annealed_beta", "mirror_step", "tanh_weight"]

# As published: keeps both fractions finite at weights of exactly one.
TINY = 1e-20


def tanh_weight(rows: Tensor, beta: Tensor | float, *, chain: bool = False) -> Tensor:
    """Return ``tanh(beta theta)``, differentiated as theta (MD-tanh-S), or as it is with ``chain`` (GD-tanh).

    Examples
    --------
    >>> theta = torch.tensor([0.0, 9.0], requires_grad=True)
    >>> tanh_weight(theta, 10.0).sum().backward()
    >>> theta.grad.tolist()
    [1.0, 1.0]
    """
    weight = torch.tanh(beta * rows)
    return weight if chain else straight_through(weight, rows)


def mirror_step(weights: Tensor, direction: Tensor, rate: float, beta: float) -> Tensor:
    r"""Return weights in (-1, 1) after a step of mirror descent with the entropy of two levels (MD-tanh).

    :math:`E = \frac{1 + w}{1 - w} e^{-2 \eta \beta d}`, :math:`w \leftarrow (E - 1) / (E + 1)`: in exact arithmetic
    ``tanh(atanh(w) - eta beta d)``.

    Examples
    --------
    >>> mirror_step(torch.tensor([0.0]), torch.tensor([1.0]), 0.5, 1.0)
    tensor([-0.4621])
    """
    ratio = (1.0 + weights) / (1.0 - weights + TINY) * torch.exp(-2.0 * rate * beta * direction)
    return (ratio - 1.0) / (ratio + 1.0 + TINY)


def annealed_beta(progress: float, end: float) -> float:
    """Return beta at a share of training: from 1 to ``end``, multiplied by as much in every step.

    Examples
    --------
    >>> annealed_beta(0.5, 10_000.0)
    100.0
    """
    return float(end**progress)


class MirrorWeight(TransformedWeight):
    """A weight of `Mirror`; ``beta`` multiplies the latent weight under the tanh."""

    own_optimizer: ClassVar[str] = "vispa.MirrorDescent"
    beta: Tensor

    def __init__(self, mean: Tensor, layout: Layout, method: Mirror) -> None:
        super().__init__(mean, layout, channel_scale=method.channel_scale)
        self.takes_any_optimizer = method.stable
        self.register_number("beta", 1.0, mean)

    def binary(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return the signs."""
        return straight_through(signs(rows, self.method.published_zero), rows)

    def relaxed(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return ``tanh(beta theta)``, or the weights themselves where mirror descent steps them."""
        return tanh_weight(rows, self.beta) if self.method.stable else rows

    @torch.no_grad()
    def start(self, mean: Tensor) -> None:
        """Draw latent weights by Xavier's law."""
        super().start(mean)
        if not self.method.stable:
            mean.tanh_()

    def latent_mean(self, values: Tensor) -> Tensor:
        """Return values, within (-1, 1) where mirror descent steps them."""
        return values if self.method.stable else torch.tanh(values)

    def anneal(self, mean: Tensor, progress: float) -> None:
        """Set beta."""
        self.beta.fill_(annealed_beta(progress, self.method.end))


@dataclass(frozen=True)
class Mirror(Method):
    """Real weights ``tanh(beta theta)`` under a rising beta, differentiated as theta (MD-tanh-S).

    The published softmax forms for two levels are these (claim N1 of theory_checks).

    Parameters
    ----------
    stable : bool, default True
        False holds the weights themselves, for the steps of :class:`vispa.MirrorDescent` (MD-tanh).
    end : float, default 2e4
        beta at the end of training, at least 1: 1.02^500, as published for ResNet-18 on CIFAR-10.
    channel_scale : {"learned", "mean", "none"}
        ``alpha``: a parameter; ``mean |mean_i|`` over the channel, without a gradient; or 1, as published.
    published_zero : bool, default False
        Whether ``sgn(0) = 0``, as published; such a weight is not binary.

    References
    ----------
    Ajanthan et al., Mirror Descent View for Neural Network Quantization, AISTATS 2021.
    """

    name: ClassVar[str] = "mirror"
    weight_class: ClassVar[type[BinaryWeight]] = MirrorWeight

    stable: bool = True
    end: float = 2e4
    channel_scale: str = "none"
    published_zero: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.boolean("stable", self.stable)
        checks.scalar("end", self.end, minimum=1.0)
