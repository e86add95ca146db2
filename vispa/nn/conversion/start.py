"""Where the posterior of a weight starts: from the weight that is there, or drawn anew."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vispa.nn.conversion.layer_kinds import Site
from vispa.nn.weights.binary_weight import BinaryWeight

__all__ = ["STARTS", "initialise", "keeps_weights"]

STARTS = ("auto", "weights", "fresh")
LOGGER = logging.getLogger("vispa.nn")
# Standard deviations by which the mean square of a fresh draw may be off: one in a billion weights is.
DEVIATIONS = 6.0
# What half precision may add to the largest entry of a fresh draw.
ROUNDING = 0.01


def keeps_weights(start: str, sites: Iterable[Site]) -> bool:
    """Say whether posteriors start from the weights that are there.

    With ``"auto"`` they do unless all weights look like draws of torch's own initialisation, which hold nothing
    worth keeping: whoever binarizes a trained network expects to keep it, and whoever builds a new one gets the
    start from which signs move.
    """
    if start != "auto":
        return start == "weights"
    keeps = not all(
        _looks_fresh(site.module, getattr(site.module, attribute))
        for site in sites
        for attribute in site.weights
    )
    LOGGER.info("posteriors start from %s", "the weights of the model" if keeps else "fresh draws")
    return keeps


def initialise(weight: BinaryWeight, mean: Tensor, site: Site, attribute: str, *, keep: bool) -> None:
    """Start the posterior of one weight, whose mean is the parameter itself, in place."""
    values = mean.detach().clone()
    weight.start(mean)
    padding = getattr(site.module, "padding_idx", None)
    with torch.no_grad():
        if keep and bool(values.any()):
            # The noise has the size that the method was given, or its own.
            weight.load(mean, values, getattr(weight, "noise_ratio", None))
            if weight.alpha is not None and site.bias is not None:
                # A channel of zeros adds its bias still, which is stored over alpha.
                weight.alpha.clamp_(min=1e-3 * float(weight.alpha.mean()))
        elif weight.alpha is not None:
            weight.alpha.fill_(site.terms(attribute) ** -0.5)
        if padding is not None and weight.alpha is not None:
            # The row of zeros stays one: its gradient is zero, and so is that of its alpha.
            weight.alpha[padding] = 0.0
    weight.project(mean)


def _looks_fresh(module: nn.Module, values: Tensor) -> bool:
    """Whether a weight is zero, or within what torch's own initialisation of its layer draws."""
    values = values.detach().float()
    if not bool(values.any()):
        return True
    mean_square = float(values.square().mean())
    if isinstance(module, nn.Embedding):
        rows = values.shape[0] - (module.padding_idx is not None)
        expected = rows / values.shape[0]
        return abs(mean_square - expected) <= DEVIATIONS * math.sqrt(2.0 / values.numel())
    fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(values)
    bound = math.sqrt(6.0 / (fan_in + fan_out)) if isinstance(module, nn.MultiheadAttention) else fan_in**-0.5
    # The square of a uniform number in [-1, 1] has mean 1/3 and variance 4/45.
    spread = DEVIATIONS * math.sqrt(4.0 / 45.0 / values.numel())
    in_range = float(values.abs().max()) <= (1.0 + ROUNDING) * bound
    return in_range and abs(mean_square / bound**2 - 1.0 / 3.0) <= spread + ROUNDING
