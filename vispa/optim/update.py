r"""The maths of Bop: running means of the gradient, and the rule that flips a sign.

With gradient g, rates gamma and s, threshold tau,

.. math:: m \leftarrow m + \gamma (g - m), \qquad v \leftarrow v + s (g^2 - v),

Bop flips w where w m > tau, Bop2ndOrder where w m' / (sqrt(v') + eps) > tau.  Its three forms differ in m', v':

==================  ====================================================================================
biased              m' = m, v' = v.
published-unbiased  m' = m / gamma, v' = v / s.  For constant rates this is the biased form with threshold
                    tau gamma / sqrt(s) and eps sqrt(s): a rescaling, not a correction of the start at zero.
bias-corrected      m' and v' divided by the total weight that the running means give to gradients, which is
                    1 - (1 - gamma)^t for a constant rate, as in Adam.
==================  ====================================================================================
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

FORMS = ("biased", "published-unbiased", "bias-corrected")


class RunningMean(NamedTuple):
    """A mean that forgets, started at zero: ``value``, and the total ``weight`` that it gives to what it saw."""

    value: Tensor
    weight: float

    def updated(self, observed: Tensor, rate: float) -> RunningMean:
        """Move by ``rate`` towards what was observed."""
        return RunningMean(
            self.value + rate * (observed - self.value), self.weight + rate * (1.0 - self.weight)
        )


def flipped(signs: Tensor, score: Tensor, threshold: float) -> Tensor:
    """Signs after the rule of Bop: -w where the score exceeds the threshold, +1 on a tie, w otherwise.

    That a tie gives +1, whatever w was, is the published rule.  Where the score is NaN the result is NaN, as for
    every other optimizer: a sign would hide the fault.

    Examples
    --------
    >>> flipped(torch.tensor([1.0, -1.0, -1.0]), torch.tensor([3.0, 2.0, 1.0]), 2.0)
    tensor([-1.,  1., -1.])
    """
    unclear = torch.where(score == threshold, torch.ones_like(signs), score)
    return torch.where(score < threshold, signs, torch.where(score > threshold, -signs, unclear))


def bop_update(
    signs: Tensor, gradient: Tensor, mean: RunningMean, *, gamma: float, threshold: float
) -> tuple[Tensor, RunningMean]:
    """One step of Bop (Helwegen et al. 2019, algorithm 1), changing none of its arguments.

    Examples
    --------
    >>> signs, gradient = torch.tensor([1.0, 1.0]), torch.tensor([2.0, -2.0])
    >>> start = RunningMean(torch.zeros(2), 0.0)
    >>> bop_update(signs, gradient, start, gamma=0.5, threshold=0.1)[0]
    tensor([-1.,  1.])
    """
    mean = mean.updated(gradient, gamma)
    return flipped(signs, signs * mean.value, threshold), mean


def second_order_update(
    signs: Tensor,
    gradient: Tensor,
    mean: RunningMean,
    square: RunningMean,
    *,
    gamma: float,
    sigma: float,
    threshold: float,
    eps: float,
    form: str,
) -> tuple[Tensor, RunningMean, RunningMean]:
    """One step of Bop2ndOrder (Suarez-Ramirez et al. 2021) in one of `FORMS`, changing none of its arguments.

    Examples
    --------
    >>> start = RunningMean(torch.zeros(2), 0.0)
    >>> options = {"gamma": 0.1, "sigma": 0.01, "threshold": 0.5, "eps": 1e-10, "form": "bias-corrected"}
    >>> signs, gradient = torch.tensor([1.0, 1.0]), torch.tensor([2.0, -2.0])
    >>> second_order_update(signs, gradient, start, start, **options)[0]
    tensor([-1.,  1.])
    """
    mean = mean.updated(gradient, gamma)
    square = square.updated(gradient * gradient, sigma)
    first, second = mean.value, square.value
    if form == "published-unbiased":
        first, second = first / gamma, second / sigma
    elif form == "bias-corrected":
        first, second = first / mean.weight, second / square.weight
    score = signs * first / (second.sqrt() + eps)
    return flipped(signs, score, threshold), mean, square
