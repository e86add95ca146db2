"""What a model is made of, layer by layer: what is binary and why not, and what that costs and saves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from vispa.nn.calling import Forward, answer_of
from vispa.nn.conversion.layer_kinds import Site, find_sites
from vispa.nn.conversion.refusals import is_frozen
from vispa.nn.conversion.selection import find_binary_layers
from vispa.nn.evaluation.products import count_products

__all__ = ["LayerSummary", "Summary", "summary"]


@dataclass(frozen=True)
class LayerSummary:
    """One weight, or the parameters of one module that holds no weight of a known kind.

    Attributes
    ----------
    name : str
        Of the module in the model, with the attribute where it is not ``weight``.
    kind : str
        The module's class.
    shape : tuple of int
        Of the weight; empty for other parameters.
    binary : bool
    why_not : str
        Why it is real; empty where it is binary.
    rank : int or None
        K of a binary weight that is trained with a factor.
    parameters : int
        Of the network that is left after training: the weight and the bias; a weight met before counts nothing.
    bits : int
        One a binary weight, and as many a real one as its dtype has.
    macs : int or None
        Products in one call on the example; None without one.
    bytes_before, bytes_after : int
        Memory of the weight and the bias, real and binary (a bit a weight, and a scale a channel).
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    binary: bool
    why_not: str
    rank: int | None
    parameters: int
    bits: int
    macs: int | None
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True)
class Summary:
    """All layers of a model; ``print`` shows a table."""

    layers: tuple[LayerSummary, ...]

    @property
    def totals(self) -> dict[str, int | None]:
        """Sums over the layers: parameters, bits, MACs in binary and in real layers, memory before and after."""
        counted = all(layer.macs is not None for layer in self.layers)
        products = {
            which: sum(layer.macs or 0 for layer in self.layers if layer.binary is which)
            for which in (True, False)
        }
        return {
            "parameters": sum(layer.parameters for layer in self.layers),
            "bits": sum(layer.bits for layer in self.layers),
            "macs_binary": products[True] if counted else None,
            "macs_float": products[False] if counted else None,
            "bytes_before": sum(layer.bytes_before for layer in self.layers),
            "bytes_after": sum(layer.bytes_after for layer in self.layers),
        }

    def to_dict(self) -> dict[str, Any]:
        """Layers and totals, ready for JSON."""
        layers = [{**asdict(layer), "shape": list(layer.shape)} for layer in self.layers]
        return {"layers": layers, "totals": self.totals}

    def to_markdown(self) -> str:
        """The table in Markdown."""
        head, *rows = self._rows()
        return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )

    def _rows(self) -> list[list[str]]:
        head = [
            "layer",
            "kind",
            "shape",
            "weights",
            "rank",
            "parameters",
            "bits",
            "MACs",
            "bytes before",
            "after",
        ]
        body = [
            [
                layer.name or "(model)",
                layer.kind,
                "x".join(map(str, layer.shape)) or "-",
                "binary" if layer.binary else f"real: {layer.why_not}",
                "-" if layer.rank is None else str(layer.rank),
                f"{layer.parameters:,}",
                f"{layer.bits:,}",
                "-" if layer.macs is None else f"{layer.macs:,}",
                f"{layer.bytes_before:,}",
                f"{layer.bytes_after:,}",
            ]
            for layer in self.layers
        ]
        sums = self.totals
        macs = "-" if sums["macs_binary"] is None else f"{sums['macs_binary']:,} + {sums['macs_float']:,}"
        last = ["total", "", "", "binary + real", ""]
        last += [f"{sums['parameters']:,}", f"{sums['bits']:,}", macs]
        return [head, *body, [*last, f"{sums['bytes_before']:,}", f"{sums['bytes_after']:,}"]]


def summary(model: nn.Module, inputs: Any = None, *, forward: Forward | None = None) -> Summary:
    """A table of the layers of a model: what is binary, why the rest is not, and what both cost.

    Parameters
    ----------
    model : Module
        Binarized, or not yet.
    inputs : object, optional
        An example, to count products: the model is called on it once, in evaluation mode and without gradients.
        A mapping is passed as keywords.
    forward : callable, optional
        ``forward(model, inputs)``, for models that are called otherwise.

    Returns
    -------
    Summary

    Raises
    ------
    TypeError
        If the model is no Module.

    Examples
    --------
    >>> import torch, vispa
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.Linear(16, 2))
    >>> found = vispa.summary(vispa.binarize(model), torch.zeros(1, 8))
    >>> [(layer.name, layer.binary, layer.macs) for layer in found.layers]
    [('0', False, 128), ('2', True, 256), ('3', False, 32)]
    >>> found.layers[1].bits, found.totals["macs_float"]
    (768, 160)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; found {type(model).__name__}")
    products: dict[tuple[str, str], int] | None = None
    if inputs is not None:
        products = count_products(model, lambda: answer_of(model, inputs, forward))
    return Summary(tuple(_layers(model, products)))


def _layers(model: nn.Module, products: dict[tuple[str, str], int] | None) -> Iterator[LayerSummary]:
    sites = find_sites(model)
    binary = {(found.name, found.attribute): found for found in find_binary_layers(model)}
    seen: set[int] = set()
    for name, module in model.named_modules():
        site = sites.get(name)
        if site is None:
            if not _is_torchs_own(name) and (own := list(module.parameters(recurse=False))):
                yield _other(name, module, own, seen)
            continue
        for attribute in site.weights:
            found = binary.get((name, attribute))
            macs = None if products is None else products.get((name, attribute), 0)
            yield _weight(site, attribute, found, macs, seen)


def _is_torchs_own(name: str) -> bool:
    """Whether a module was put there by a parametrization."""
    return ".parametrizations" in f".{name}"


def _weight(site: Site, attribute: str, found: Any, macs: int | None, seen: set[int]) -> LayerSummary:
    module = site.module
    weight = found.mean if found else _plain(module, attribute)
    bias = None if site.bias is None else _plain(module, site.bias)
    shared = id(weight) in seen
    seen.add(id(weight))
    count = 0 if shared else weight.numel()
    extra = 0 if bias is None or id(bias) in seen else bias.numel()
    if bias is not None:
        seen.add(id(bias))
    size = weight.element_size()
    scales = site.layout(attribute).out_channels if found and found.weight.channel_scale != "none" else 0
    kept = count // 8 + (count % 8 > 0) + (0 if shared else scales * size) if found else count * size
    why = "" if found else "its weight is another layer's" if shared else _why_not(site)
    factor = getattr(found.weight, "factor", None) if found else None
    return LayerSummary(
        name=site.name if attribute == "weight" else f"{site.name}.{attribute}".lstrip("."),
        kind=type(module).__name__.removeprefix("Parametrized"),
        shape=tuple(weight.shape),
        binary=found is not None,
        why_not=why,
        rank=None if factor is None else int(factor.shape[1]),
        parameters=count + extra,
        bits=(count if found else 8 * size * count) + 8 * size * extra,
        macs=macs,
        bytes_before=(count + extra) * size,
        bytes_after=kept + extra * size,
    )


def _plain(module: nn.Module, attribute: str) -> Tensor:
    """A parameter, under whatever parametrization."""
    if parametrize.is_parametrized(module, attribute):
        chain: Any = module.parametrizations[attribute]  # type: ignore[index]
        return chain.original if hasattr(chain, "original") else getattr(module, attribute)
    return getattr(module, attribute)


def _why_not(site: Site) -> str:
    if site.kind.objection(site.module):
        return site.kind.objection(site.module)
    if site.on_request:
        return "only layers= makes it binary"
    return "frozen" if is_frozen(site) else "kept"


def _other(name: str, module: nn.Module, parameters: list[nn.Parameter], seen: set[int]) -> LayerSummary:
    new = [each for each in parameters if id(each) not in seen]
    seen.update(map(id, new))
    count, size = sum(each.numel() for each in new), sum(each.numel() * each.element_size() for each in new)
    return LayerSummary(
        name=name,
        kind=type(module).__name__,
        shape=(),
        binary=False,
        why_not="no kind of layer that becomes binary",
        rank=None,
        parameters=count,
        bits=8 * size,
        macs=0,
        bytes_before=size,
        bytes_after=size,
    )
