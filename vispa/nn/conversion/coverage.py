"""What became binary of a model and what stayed real, for the log: silent layers are no surprise then."""

from __future__ import annotations

import logging

from torch import nn

from vispa.nn.conversion.selection import find_binary_layers

__all__ = ["log_coverage"]

LOGGER = logging.getLogger("vispa.nn")
# Names of real parameters that the log spells out, the largest first.
NAMED = 5


def log_coverage(model: nn.Module) -> None:
    """Log the share of the model's weights that are binary, and the largest matrices that are not.

    Kinds of layer that hold their weights in other shapes, such as the experts of a mixture, stay real.
    """
    if not LOGGER.isEnabledFor(logging.INFO):
        return
    layers = list(find_binary_layers(model))
    binary = {id(found.mean): found.mean.numel() for found in layers}
    behind = {id(values) for found in layers for values in (*found.weight.parameters(), found.mean)}
    real = {
        name: values.numel()
        for name, values in model.named_parameters()
        if values.ndim >= 2 and id(values) not in behind
    }
    total = sum(binary.values()) + sum(real.values())
    largest = sorted(real, key=lambda name: -real[name])[:NAMED]
    LOGGER.info(
        "binary: %d weights, %.1f %% of the model's matrices; real: %d, the largest %s",
        sum(binary.values()),
        100.0 * sum(binary.values()) / total,
        sum(real.values()),
        ", ".join(largest) or "none",
    )
