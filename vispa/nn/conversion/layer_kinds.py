"""Where a weight can become binary: kinds of module, their weights, rows, biases and fans."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from torch import nn

from vispa.nn.weights.layout import Layout

__all__ = ["KINDS", "Site", "find_sites"]

ConvTranspose: TypeAlias = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
KINDS = (
    "Linear, Conv1d to 3d, ConvTranspose1d to 3d, MultiheadAttention and, where layers= chooses it, Embedding"
)


@dataclass(frozen=True)
class Site:
    """A module whose weights can become binary.

    Attributes
    ----------
    name : str
        Of the module in the model.
    module : Module
        A layer, or an attention, whose input projections are weights of its own.
    """

    name: str
    module: nn.Module

    @property
    def label(self) -> str:
        """The module in an error message."""
        return f"layer {self.name!r}" if self.name else "the model"

    @property
    def weights(self) -> tuple[str, ...]:
        """Attributes of the module that hold its weights."""
        if not isinstance(self.module, nn.MultiheadAttention):
            return ("weight",)
        if self.module._qkv_same_embed_dim:
            return ("in_proj_weight",)
        return ("q_proj_weight", "k_proj_weight", "v_proj_weight")

    @property
    def bias(self) -> str | None:
        """Attribute of the bias that adds to the outputs of these weights, one after another."""
        name = "in_proj_bias" if isinstance(self.module, nn.MultiheadAttention) else "bias"
        return None if getattr(self.module, name, None) is None else name

    @property
    def on_request(self) -> bool:
        """Whether only ``layers=`` makes it binary."""
        return isinstance(self.module, nn.Embedding)

    @property
    def is_called(self) -> bool:
        """Whether the weight is read once, when the module is called, and not by a module around it."""
        return not isinstance(self.module, nn.MultiheadAttention)

    def layout(self, weight: str) -> Layout:
        """Rows of one of the weights."""
        shape = tuple(getattr(self.module, weight).shape)
        groups = self.module.groups if isinstance(self.module, TRANSPOSED) else 0
        return Layout(shape, transposed_groups=groups)

    def terms(self, weight: str) -> float:
        """Products that an output of the module adds up, on average over its outputs."""
        if isinstance(self.module, nn.Embedding):
            return 1.0
        fan_in = self.layout(weight).fan_in
        if isinstance(self.module, TRANSPOSED):
            return max(1.0, fan_in / math.prod(self.module.stride))
        return float(fan_in)


def find_sites(model: nn.Module) -> dict[str, Site]:
    """Return all places of a model where weights can become binary, by name, in the order of its modules."""
    kinds = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED, nn.MultiheadAttention, nn.Embedding)
    return {name: Site(name, module) for name, module in model.named_modules() if isinstance(module, kinds)}
