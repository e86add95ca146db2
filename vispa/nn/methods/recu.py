"""ReCU: rectified clamp units, which pull the tails of the weights back to a quantile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from solvers import checks
from vispa.nn.methods.base import Method, TransformedWeight
from vispa.nn.methods.surrogate import channel_mean, signs, straight_through
from vispa.nn.weights.autograd import per_channel
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.layout import Layout
from vispa.nn.weights.noise_scope import Noise

__all__ = ["ReCU", "ReCUWeight", "clamp_quantile", "recu_latent", "recu_weight"]

EPS = 1e-5


def recu_latent(rows: Tensor) -> Tensor:
    r"""Return rows of mean 0 and deviation :math:`2 \sqrt 2`, up to 1e-5 in the variance."""
    centred = rows - channel_mean(rows)
    variance = centred.flatten(1).square().sum(1) / (centred[0].numel() - 1)
    deviation = torch.sqrt(variance + EPS) / (2.0 * math.sqrt(2.0))
    return centred / per_channel(deviation, rows)


def recu_weight(rows: Tensor, tau: Tensor, *, published_zero: bool = False) -> Tensor:
    r"""Return the signs of normalised rows, differentiated as the rows clamped to :math:`[-Q, Q]`.

    :math:`Q = -\mathrm{mean} |w| \ln(2 - 2 \tau)` over the layer is the quantile tau of a Laplace law.

    Parameters
    ----------
    rows : Tensor of shape (out_channels, ...)
        Latent weights, at least two a row.
    tau : Tensor of one element
        In (1/2, 1).
    published_zero : bool, default False
        Whether ``sgn(0) = 0``, as published.

    Examples
    --------
    >>> rows = torch.tensor([[1.0, 1.0, -1.0, 30.0]], requires_grad=True)
    >>> recu_weight(rows, torch.tensor(0.85)).tolist()
    [[-1.0, -1.0, -1.0, 1.0]]
    """
    values = recu_latent(rows)
    bound = -values.detach().abs().mean() * torch.log(2.0 - 2.0 * tau)
    clamped = torch.clamp(values, -bound, bound)
    return straight_through(signs(clamped, published_zero), clamped)


def clamp_quantile(progress: float, start: float, end: float) -> float:
    """Return tau at a share of training: from ``start`` to ``end`` along an exponential.

    Examples
    --------
    >>> clamp_quantile(0.0, 0.85, 0.99), clamp_quantile(1.0, 0.85, 0.99)
    (0.85, 0.99)
    """
    return start + (end - start) * (math.exp(progress) - 1.0) / (math.e - 1.0)


class ReCUWeight(TransformedWeight):
    """A weight of `ReCU`; ``tau`` is the quantile."""

    tau: Tensor

    def __init__(self, mean: Tensor, layout: Layout, method: ReCU) -> None:
        super().__init__(mean, layout, channel_scale=method.channel_scale)
        self.register_number("tau", method.tau_start, mean)

    def binary(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return signs of normalised rows."""
        return recu_weight(rows, self.tau, published_zero=self.method.published_zero)

    def anneal(self, mean: Tensor, progress: float) -> None:
        """Set tau."""
        self.tau.fill_(clamp_quantile(progress, self.method.tau_start, self.method.tau_end))


@dataclass(frozen=True)
class ReCU(Method):
    """Signs of normalised rows, differentiated as the rows clamped at a quantile that rises.

    Parameters
    ----------
    tau_start, tau_end : float
        tau, in (1/2, 1), from the start of training to its end.
    channel_scale : {"learned", "mean", "none"}
        ``alpha``: a parameter, as published; ``mean |mean_i|`` over the channel, without a gradient; or 1.
    published_zero : bool, default False
        Whether ``sgn(0) = 0``, as published; such a weight is not binary.

    References
    ----------
    Xu et al., ReCU: Reviving the Dead Weights in Binary Neural Networks, ICCV 2021.
    """

    name: ClassVar[str] = "recu"
    weight_class: ClassVar[type[BinaryWeight]] = ReCUWeight
    least_fan_in: ClassVar[int] = 2

    tau_start: float = 0.85
    tau_end: float = 0.99
    channel_scale: str = "learned"
    published_zero: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("tau_start", "tau_end"):
            if not 0.5 < checks.scalar(name, getattr(self, name)) < 1.0:
                raise ValueError(f"{name} must lie within (1/2, 1); found {getattr(self, name)}")
