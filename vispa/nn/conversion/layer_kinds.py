"""Where a weight can become binary: kinds of module, their weights, rows, biases and fans.

A further kind of layer is one more entry of `LAYER_KINDS`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from vispa.nn.weights.layout import Layout

__all__ = ["KINDS", "LAYER_KINDS", "LayerKind", "Site", "find_sites", "kind_of"]


def _one_weight(module: Any) -> tuple[str, ...]:
    return ("weight",)


def _rows_first(module: Any) -> int:
    return 0


def _all_products(module: Any, fan_in: int) -> float:
    return float(fan_in)


def _nothing_more(module: Any) -> str:
    return ""


@dataclass(frozen=True)
class LayerKind:
    """What has to be known of a kind of module to make its weights binary.

    Attributes
    ----------
    classes : tuple of type or str
        The modules, subclasses too; a class that is not torch's by its path, looked up where it is loaded.
    weights : callable
        From a module to the attributes that hold its weights.
    bias : str
        Attribute of the bias that adds to the outputs of these weights, one after another.
    transposed_groups : callable
        From a module to the groups of a weight stored as (in, out / groups, ...); 0 where rows come first.
    terms : callable
        From a module and the entries of a row to the products that an output adds up, on average.
    on_request : bool
        Whether only ``layers=`` makes it binary.
    is_called : bool
        Whether the weight is read once, when the module is called, and not by a module around it.
    reads : tuple of str
        Names of modules in it whose weights it reads without calling them.
    objection : callable
        From a module to why it cannot be binary as it is, in words; empty where it can.
    """

    classes: tuple[type[nn.Module] | str, ...]
    weights: Callable[[Any], tuple[str, ...]] = _one_weight
    bias: str = "bias"
    transposed_groups: Callable[[Any], int] = _rows_first
    terms: Callable[[Any, int], float] = _all_products
    on_request: bool = False
    is_called: bool = True
    reads: tuple[str, ...] = ()
    objection: Callable[[Any], str] = _nothing_more

    def class_of(self, module: nn.Module) -> type[nn.Module] | None:
        """Return the class of this kind that a module is an instance of; None where it is of another kind."""
        for each in map(_loaded, self.classes):
            if each is not None and isinstance(module, each):
                return each
        return None


def _loaded(kind: type[nn.Module] | str) -> type[nn.Module] | None:
    if not isinstance(kind, str):
        return kind
    home, _, name = kind.rpartition(".")
    found: type[nn.Module] | None = getattr(sys.modules.get(home), name, None)
    return found


def _input_projections(attention: nn.MultiheadAttention) -> tuple[str, ...]:
    if attention._qkv_same_embed_dim:
        return ("in_proj_weight",)
    return ("q_proj_weight", "k_proj_weight", "v_proj_weight")


def _embedding_objection(embedding: nn.Embedding) -> str:
    if embedding.max_norm is not None:
        return (
            "its max_norm rescales rows that have one length each when they are binary; set it to None before "
            "binarize"
        )
    if embedding.sparse:
        return "its gradients are sparse, which a factor's are not; set sparse=False before binarize"
    return ""


LAYER_KINDS: list[LayerKind] = [
    LayerKind((nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)),
    LayerKind(
        (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
        transposed_groups=lambda layer: layer.groups,
        terms=lambda layer, fan_in: max(1.0, fan_in / math.prod(layer.stride)),
    ),
    # A linear layer of GPT-2 and its like, whose weight is stored as (in, out).
    LayerKind(("transformers.pytorch_utils.Conv1D",), transposed_groups=lambda layer: 1),
    LayerKind(
        (nn.MultiheadAttention,),
        weights=_input_projections,
        bias="in_proj_bias",
        is_called=False,
        reads=("out_proj",),
    ),
    LayerKind(
        (nn.Embedding,),
        terms=lambda layer, fan_in: 1.0,
        on_request=True,
        objection=_embedding_objection,
    ),
]
KINDS = (
    "Linear, Conv1d to 3d, ConvTranspose1d to 3d, MultiheadAttention, transformers' Conv1D and, where layers= "
    "chooses it, Embedding"
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
    kind : LayerKind
    """

    name: str
    module: nn.Module
    kind: LayerKind

    @property
    def label(self) -> str:
        """The module in an error message."""
        return f"layer {self.name!r}" if self.name else "the model"

    @property
    def weights(self) -> tuple[str, ...]:
        """Attributes of the module that hold its weights."""
        return self.kind.weights(self.module)

    @property
    def bias(self) -> str | None:
        """Attribute of the bias that adds to the outputs of these weights, one after another."""
        name = self.kind.bias
        return None if getattr(self.module, name, None) is None else name

    @property
    def on_request(self) -> bool:
        """Whether only ``layers=`` makes it binary."""
        return self.kind.on_request

    @property
    def is_called(self) -> bool:
        """Whether the weight is read once, when the module is called, and not by a module around it."""
        return self.kind.is_called

    def layout(self, weight: str) -> Layout:
        """Rows of one of the weights."""
        shape = tuple(getattr(self.module, weight).shape)
        return Layout(shape, transposed_groups=self.kind.transposed_groups(self.module))

    def terms(self, weight: str) -> float:
        """Products that an output of the module adds up, on average over its outputs."""
        return self.kind.terms(self.module, self.layout(weight).fan_in)


def kind_of(module: nn.Module) -> LayerKind | None:
    """Return the kind of a module, None where its weights cannot become binary."""
    return next((kind for kind in LAYER_KINDS if kind.class_of(module)), None)


def find_sites(model: nn.Module) -> dict[str, Site]:
    """Return all places of a model where weights can become binary, by name, in the order of its modules."""
    found = ((name, module, kind_of(module)) for name, module in model.named_modules())
    return {name: Site(name, module, kind) for name, module, kind in found if kind is not None}
