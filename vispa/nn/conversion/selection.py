"""Which layers become binary, and which are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple, TypeAlias

from torch import Tensor, nn
from torch.nn.utils import parametrize

from vispa.nn.conversion.layer_kinds import KINDS, Site, find_sites
from vispa.nn.conversion.refusals import check_forward, check_site, check_ties, is_frozen
from vispa.nn.weights.binary_weight import BinaryWeight

__all__ = [
    "BinaryLayer",
    "LayerChoice",
    "binary_layers",
    "find_binary_layers",
    "named_patterns",
    "select_sites",
]

LayerChoice: TypeAlias = Callable[[str, nn.Module], bool] | Collection[str] | None


class BinaryLayer(NamedTuple):
    """A binary weight: the name of its module in the model, the module, what torch put behind the attribute."""

    name: str
    layer: nn.Module
    chain: parametrize.ParametrizationList
    attribute: str = "weight"

    @property
    def weight(self) -> BinaryWeight:
        """The parametrization: alpha, and the factor where the method has one."""
        weight = self.chain[0]
        assert isinstance(weight, BinaryWeight)
        return weight

    @property
    def mean(self) -> Tensor:
        """The parameter that was the layer's weight."""
        return self.chain.original


def binary_layers(model: nn.Module) -> list[BinaryLayer]:
    """Return the binary weights of a model in the order of its modules; refuse a model without any."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; found {type(model).__name__}")
    layers = list(find_binary_layers(model))
    if not layers:
        raise ValueError("model has no binary layer; call vispa.binarize(model) first")
    return layers


def find_binary_layers(model: nn.Module) -> Iterator[BinaryLayer]:
    """Yield the binary weights of a model in the order of its modules, none where it has none."""
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module):
            for attribute, chain in module.parametrizations.items():
                if isinstance(chain[0], BinaryWeight):
                    yield BinaryLayer(name, module, chain, attribute)


def select_sites(model: nn.Module, layers: LayerChoice, keep: Collection[str] | None) -> dict[str, Site]:
    """Return what becomes binary by name: what ``layers`` chooses but for what ``keep`` keeps.

    What is frozen, and the small matrices of a low-rank adaptation, stay real unless ``layers`` chooses them.

    Raises
    ------
    TypeError
        If ``layers`` or ``keep`` is no collection of names, or a weight is not a floating-point parameter.
    ValueError
        If a name stands for nothing, nothing remains, or a weight cannot be parametrized.
    """
    sites = find_sites(model)
    eligible = {name: site for name, site in sites.items() if layers is not None or _is_free(site)}
    if not eligible:
        frozen = ", all of whose layers are frozen;" if any(map(is_frozen, sites.values())) else ";"
        raise ValueError(f"model has no layer that can be binary{frozen} allowed are {KINDS}")
    chosen = eligible if layers is None else {name: eligible[name] for name in _chosen(eligible, layers)}
    if keep is None:
        keep = ("first", "last") if layers is None else ()
    kept = _kept(list(sites.values()), list(chosen), keep)
    selected = {name: site for name, site in chosen.items() if name not in kept}
    if not selected:
        raise ValueError(
            f"keep={tuple(keep)!r} keeps every one of the {len(chosen)} layer(s) that could be binary; "
            "keep fewer, for example keep=()"
        )
    for site in selected.values():
        check_site(site)
        if not (callable(layers) or site.name in (layers or ())):
            check_forward(site)
    check_ties(model, selected)
    return selected


def _is_free(site: Site) -> bool:
    """Whether a layer becomes binary without being named."""
    is_adapter = any(part.startswith("lora_") for part in site.name.split("."))
    return not (site.on_request or is_frozen(site) or is_adapter)


def _matching(names: Collection[str], pattern: str) -> list[str]:
    """Return the names that a pattern matches, or whose module it matches from further up."""
    return [name for name in names if any(fnmatchcase(prefix, pattern) for prefix in _prefixes(name))]


def _prefixes(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(".")[0]


def _chosen(sites: dict[str, Site], layers: LayerChoice) -> list[str]:
    if callable(layers):
        chosen = [name for name, site in sites.items() if layers(name, site.module)]
        if not chosen:
            raise ValueError(f"layers chooses none of the {len(sites)} layer(s) that could be binary")
        return chosen
    found: set[str] = set()
    for pattern in named_patterns("layers", layers):
        # An embedding is not swept along by the name of a module around it.
        own = [
            name
            for name in _matching(list(sites), pattern)
            if not sites[name].on_request or fnmatchcase(name, pattern)
        ]
        if not own:
            raise _no_match("layers", pattern, list(sites))
        found.update(own)
    if not found:
        raise ValueError("layers must name at least one layer; found an empty collection")
    return [name for name in sites if name in found]


def _kept(sites: list[Site], names: list[str], keep: Collection[str]) -> set[str]:
    kept: set[str] = set()
    for entry in named_patterns("keep", keep):
        if entry in ("first", "last"):
            end = 0 if entry == "first" else -1
            # Where a model begins with an Embedding, which stays real, its first layer is kept already.
            if sites[end].on_request and sites[end].name not in names:
                continue
            found = [names[end]]
        else:
            found = _matching(names, entry)
        if not found:
            raise _no_match("keep", entry, ["first", "last", *names])
        kept.update(found)
    return kept


def named_patterns(argument: str, values: object) -> Collection[str]:
    """Return a collection of names or patterns; refuse anything else in the words of the argument."""
    if isinstance(values, str) or not isinstance(values, Collection):
        raise TypeError(
            f"{argument} must be a collection of names such as ('first', 'last'); found {values!r}"
        )
    for entry in values:
        if not isinstance(entry, str):
            raise TypeError(f"{argument} must hold names of modules; found {entry!r}")
    return values


def _no_match(argument: str, entry: str, allowed: list[str]) -> ValueError:
    return ValueError(
        f"{argument} names {entry!r}, which is or holds no layer that could be binary; "
        f"allowed: {', '.join(map(repr, allowed))}, their parents, or patterns such as 'features.*'"
    )
