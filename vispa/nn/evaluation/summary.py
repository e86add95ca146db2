"""What a model is made of, layer by layer: what is binary and why not, and what that costs and saves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrize

from vispa.nn.calling import Forward, answer_of
from vispa.nn.conversion.layer_kinds import Site, find_sites
from vispa.nn.conversion.refusals import is_frozen
from vispa.nn.conversion.selection import find_binary_layers
from vispa.nn.evaluation.products import count_products
from vispa.nn.evaluation.summary_table import LayerSummary, Summary

__all__ = ["LayerSummary", "Summary", "summary"]


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
        If the model is no Module, or the inputs are a NumPy array.
    ValueError
        If the model is packed, or lazy modules have not seen a batch.

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
    _check(model, inputs)
    products: dict[tuple[str, str], int] | None = None
    if inputs is not None:
        products = count_products(model, lambda: answer_of(model, inputs, forward))
    return Summary(tuple(_layers(model, products)))


def _check(model: nn.Module, inputs: Any) -> None:
    if isinstance(inputs, np.ndarray):
        raise TypeError(
            "inputs must be what the model takes, a tensor or a mapping of them; found a NumPy array: "
            "pass torch.from_numpy(inputs)"
        )
    for name, module in model.named_modules():
        if type(module).__module__.startswith("vispa.deploy."):
            raise ValueError(
                f"model must not be packed; found {type(module).__name__} at {name or 'its root'}: "
                "vispa.packing(model) says what became of each layer"
            )
    for name, values in model.named_parameters():
        if isinstance(values, UninitializedParameter):
            raise ValueError(f"model must have shapes; {name} is lazy: call the model on a batch first")


def _layers(model: nn.Module, products: dict[tuple[str, str], int] | None) -> Iterator[LayerSummary]:
    sites = find_sites(model)
    binary = {(found.name, found.attribute): found for found in find_binary_layers(model)}
    left = "kept" if binary else "not binarized"
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
            yield _weight(site, attribute, found, macs, seen, left)


def _is_torchs_own(name: str) -> bool:
    """Whether a module was put there by a parametrization."""
    return ".parametrizations" in f".{name}"


def _weight(
    site: Site, attribute: str, found: Any, macs: int | None, seen: set[int], left: str
) -> LayerSummary:
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
    hardened = found is None and not shared and _is_hardened(site, attribute, weight)
    binary = found is not None or hardened
    has_scales = hardened or (found is not None and found.weight.channel_scale != "none")
    scales = site.layout(attribute).out_channels if has_scales else 0
    kept = count // 8 + (count % 8 > 0) + (0 if shared else scales * size) if binary else count * size
    why = "" if binary else "its weight is another layer's" if shared else _why_not(site, left)
    factor = getattr(found.weight, "factor", None) if found else None
    return LayerSummary(
        name=site.name if attribute == "weight" else f"{site.name}.{attribute}".lstrip("."),
        kind=type(module).__name__.removeprefix("Parametrized"),
        shape=tuple(weight.shape),
        binary=binary,
        why_not=why,
        rank=None if factor is None else int(factor.shape[1]),
        parameters=count + extra,
        bits=(count if binary else 8 * size * count) + 8 * size * extra,
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


def _is_hardened(site: Site, attribute: str, weight: Tensor) -> bool:
    """Whether every channel is of one absolute value, of two weights or more."""
    if weight.is_meta or not weight.is_floating_point() or weight.dim() < 2 or site.on_request:
        return False
    rows = site.layout(attribute).rows(weight.detach()).abs().flatten(1)
    return rows.shape[1] > 1 and bool(((rows == rows[:, :1]) & (rows > 0)).all())


def _why_not(site: Site, left: str) -> str:
    if site.kind.objection(site.module):
        return site.kind.objection(site.module)
    if site.on_request:
        return "only layers= makes it binary"
    return "frozen" if is_frozen(site) else left


def _other(name: str, module: nn.Module, parameters: list[nn.Parameter], seen: set[int]) -> LayerSummary:
    new = [each for each in parameters if id(each) not in seen]
    seen.update(map(id, new))
    count, size = sum(each.numel() for each in new), sum(each.numel() * each.element_size() for each in new)
    unwatched = any(each.dim() > 1 and each.shape[0] > 1 for each in new)
    return LayerSummary(
        name=name,
        kind=type(module).__name__,
        shape=(),
        binary=False,
        why_not="no kind of layer that becomes binary",
        rank=None,
        parameters=count,
        bits=8 * size,
        # Norms and added vectors multiply no matrices; what else has some, an LSTM or experts, is not watched.
        macs=None if unwatched else 0,
        bytes_before=size,
        bytes_after=size,
    )
