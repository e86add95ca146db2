"""Which modules around a binary layer share one draw of its noise in each of their forwards."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase
from itertools import takewhile

from torch import nn

from vispa.nn.conversion.layer_kinds import Site, kind_of
from vispa.nn.conversion.selection import named_patterns

__all__ = ["scopes_of"]


def scopes_of(
    model: nn.Module, sites: dict[str, Site], requested: Collection[str]
) -> dict[str, list[nn.Module]]:
    """Return, for every site, the modules that are scopes of its noise apart from the layer itself.

    Raises
    ------
    TypeError, ValueError
        If ``requested`` is no collection of names, or a name is no module with a forward.
    """
    modules = dict(model.named_modules())
    around: dict[str, dict[str, nn.Module]] = {name: {} for name in sites}
    for name, site in sites.items():
        parent, _, own = name.rpartition(".")
        around_it = kind_of(modules[parent]) if name else None
        if not site.is_called:
            around[name][name] = site.module
        elif around_it is not None and own in around_it.reads:
            around[name][parent] = modules[parent]
    for names in _tied_groups(sites):
        common = _callable_ancestor(names, modules)
        for name in names:
            around[name][common] = modules[common]
    for pattern in named_patterns("scopes", requested):
        for scope in _matching_modules(pattern, modules):
            for name in sites:
                if not scope or name == scope or name.startswith(f"{scope}."):
                    around[name][scope] = modules[scope]
    return {name: list(scopes.values()) for name, scopes in around.items()}


def _matching_modules(pattern: str, modules: dict[str, nn.Module]) -> list[str]:
    found = [name for name in modules if name == pattern or (name and fnmatchcase(name, pattern))]
    if not found:
        raise ValueError(f"scopes names {pattern!r}, which is no module of the model")
    idle = [name for name in found if not _is_called(modules[name])]
    if idle:
        raise ValueError(
            f"scopes names {idle[0]!r}, a {type(modules[idle[0]]).__name__} without a forward of its own; "
            "name the module that calls what it holds"
        )
    return found


def _tied_groups(sites: dict[str, Site]) -> list[list[str]]:
    owners: dict[int, list[str]] = {}
    for name, site in sites.items():
        for attribute in site.weights:
            owners.setdefault(id(getattr(site.module, attribute)), []).append(name)
    return [names for names in owners.values() if len(names) > 1]


def _callable_ancestor(names: list[str], modules: dict[str, nn.Module]) -> str:
    """Name of the nearest module that holds all the names and is called, as a ModuleList is not."""
    paths = [name.split(".") for name in names]
    levels = takewhile(lambda level: len(set(level)) == 1, zip(*paths, strict=False))
    shared = [level[0] for level in levels]
    while shared and not _is_called(modules[".".join(shared)]):
        shared = shared[:-1]
    return ".".join(shared)


def _is_called(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward
