"""How many products one call of a model makes in each of its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vispa.nn.calling import first_argument
from vispa.nn.conversion.layer_kinds import Site, find_sites

__all__ = ["count_products"]


def count_products(model: nn.Module, call: Callable[[], Any]) -> dict[tuple[str, str], int]:
    """Multiply-accumulates by name of module and attribute of weight, while ``call()`` calls the model once.

    Those of padding are counted, those of activations with one another, as in attention, are not.
    """
    counts: dict[tuple[str, str], int] = {}
    modes = [(module, module.training) for module in model.modules()]
    handles = [_watch(site, counts) for site in find_sites(model).values()]
    try:
        model.eval()
        with torch.no_grad():
            call()
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    return counts


def _watch(site: Site, counts: dict[tuple[str, str], int]) -> Any:
    def hook(module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        for key, count in _products(site, inputs, keywords, output):
            counts[key] = counts.get(key, 0) + count

    return site.module.register_forward_hook(hook, with_kwargs=True)


def _products(
    site: Site, inputs: tuple[Any, ...], keywords: dict[str, Any], output: Any
) -> list[tuple[tuple[str, str], int]]:
    module: Any = site.module
    if isinstance(module, nn.Embedding):
        return [((site.name, "weight"), 0)]
    if isinstance(module, nn.MultiheadAttention):
        names = ("query", "key", "value")
        given = [keywords[name] if name in keywords else inputs[i] for i, name in enumerate(names)]
        tokens = [each.numel() // each.shape[-1] for each in given]
        widths = [module.embed_dim * each.shape[-1] for each in given]
        products = [count * width for count, width in zip(tokens, widths, strict=True)]
        last = ((f"{site.name}.out_proj".lstrip("."), "weight"), tokens[0] * module.embed_dim**2)
        if len(site.weights) == 1:
            return [((site.name, site.weights[0]), sum(products)), last]
        return [
            *(((site.name, name), count) for name, count in zip(site.weights, products, strict=True)),
            last,
        ]
    layout = site.layout("weight")
    if site.kind.transposed_groups(module) and isinstance(module, nn.modules.conv._ConvTransposeNd):
        entered = first_argument(inputs, keywords)
        return [
            (
                (site.name, "weight"),
                entered.numel() * (layout.out_channels // module.groups) * _kernel(module),
            )
        ]
    assert isinstance(output, Tensor)
    return [((site.name, "weight"), output.numel() * layout.fan_in)]


def _kernel(module: nn.modules.conv._ConvNd) -> int:
    return int(torch.Size(module.kernel_size).numel())
