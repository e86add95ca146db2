"""Proximal mean-field: weights are means of a softmax over the two levels, with a backward of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from solvers import checks
from vispa.nn.methods.base import Method, TransformedWeight
from vispa.nn.methods.mirror import annealed_beta
from vispa.nn.methods.surrogate import signs, straight_through
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.layout import Layout
from vispa.nn.weights.noise_scope import Noise

__all__ = ["PMF", "MeanFieldWeight", "mean_field_weight"]


def mean_field_weight(
    low: Tensor, high: Tensor, beta: Tensor | float, *, softmax_twice: bool = True
) -> Tensor:
    r"""Return ``f_1 - f_0`` for ``f = softmax(beta u)``, u the scores of the levels -1 and +1.

    With :math:`g = (-G, G)` the backward is :math:`\beta (g - (g^\top p) p)`: :math:`I - p p^\top` where the
    derivative of a softmax has :math:`\mathrm{Diag}(p) - p p^\top`, and p = softmax(beta f) where it has f. Both
    are as published.

    Parameters
    ----------
    low, high : Tensor
        Scores u_0 and u_1, of one shape.
    beta : float or Tensor of one element
    softmax_twice : bool, default True
        False takes p = f, as another published implementation does.

    Examples
    --------
    >>> mean_field_weight(torch.tensor([0.0]), torch.tensor([1.0]), 1e3)
    tensor([1.])
    """
    # A softmax over two levels is a tanh of half their difference: f_1 - f_0, and p_1 - p_0 where it leans.
    weight = torch.tanh(0.5 * beta * (high.detach() - low.detach()))
    lean = torch.tanh(0.5 * beta * weight) if softmax_twice else weight
    # g^T p is G (p_1 - p_0); the surrogate is linear in the scores.
    half = 0.5 * lean * lean
    surrogate = beta * ((1.0 - half - 0.5 * lean) * high - (1.0 - half + 0.5 * lean) * low)
    return straight_through(weight, surrogate)


class MeanFieldWeight(TransformedWeight):
    """A weight of `PMF`; the mean is the score of the level +1, ``low`` that of -1."""

    beta: Tensor
    low: nn.Parameter

    def __init__(self, mean: Tensor, layout: Layout, method: PMF) -> None:
        super().__init__(mean, layout, channel_scale=method.channel_scale)
        self.low = nn.Parameter(torch.zeros_like(mean), requires_grad=mean.requires_grad)
        self.register_number("beta", 1.0, mean)

    def binary(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return the level of the higher score, +1 on a tie; as published -1, on request."""
        lead = rows - self.layout.rows(self.low)
        if self.method.published_zero:
            return straight_through(-signs(-lead, False), lead)
        return straight_through(signs(lead, False), lead)

    def relaxed(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return the mean of the levels."""
        low = self.layout.rows(self.low)
        return mean_field_weight(low, rows, self.beta, softmax_twice=self.method.softmax_twice)

    @torch.no_grad()
    def start(self, mean: Tensor) -> None:
        """Draw both scores by Xavier's law."""
        super().start(mean)
        super().start(self.low)

    def latent_mean(self, values: Tensor) -> Tensor:
        """Return the score of +1 that leads that of -1 by the values."""
        return values + self.low.detach()

    @torch.no_grad()
    def load(self, mean: Tensor, values: Tensor, noise_ratio: float | None) -> None:
        """Take half the difference of the scores from float weights."""
        self.low.copy_(-0.5 * values)
        super().load(mean, values, noise_ratio)

    def anneal(self, mean: Tensor, progress: float) -> None:
        """Set beta."""
        self.beta.fill_(annealed_beta(progress, self.method.end))


@dataclass(frozen=True)
class PMF(Method):
    """Means of a softmax over the levels -1 and +1 under a rising beta, with the published backward.

    Parameters
    ----------
    end : float, default 1e4
        beta at the end of training, at least 1.
    softmax_twice : bool, default True
        As the authors' code does in the backward; False as another published implementation does.
    channel_scale : {"learned", "mean", "none"}
        ``alpha``: a parameter; ``mean |mean_i|`` over the channel, without a gradient; or 1, as published.
    published_zero : bool, default False
        Whether a tie of the scores gives -1, as published.

    References
    ----------
    Ajanthan et al., Proximal Mean-field for Neural Network Quantization, ICCV 2019.
    """

    name: ClassVar[str] = "pmf"
    weight_class: ClassVar[type[BinaryWeight]] = MeanFieldWeight

    end: float = 1e4
    softmax_twice: bool = True
    channel_scale: str = "none"
    published_zero: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.boolean("softmax_twice", self.softmax_twice)
        checks.scalar("end", self.end, minimum=1.0)
