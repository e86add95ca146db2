"""The formats there are, and which of them a file is in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath
from typing import Any

from solvers.io.dimacs import DIMACS
from solvers.io.format import Fit, Format
from solvers.io.matrix_market import MATRIX_MARKET_FORM, MATRIX_MARKET_GRAPH
from solvers.io.qbsolv import QBSOLV
from solvers.io.quadratic import BIQMAC, MQLIB_QUBO, OR_LIBRARY
from solvers.io.rudy import RUDY
from solvers.io.sdpa import SDPA
from solvers.io.strangers import looks_like, neighbour_list

# MQLib's graphs are rudy's; the name tells them apart from its quadratic forms.
_MQLIB_MAXCUT = replace(
    RUDY, name="mqlib-maxcut", suffixes=(), fit=lambda head: min(RUDY.fit(head), Fit.POSSIBLE)
)

# A new format is one file and one line here.
FORMATS: dict[str, Format] = {
    each.name: each
    for each in (
        RUDY,
        SDPA,
        BIQMAC,
        OR_LIBRARY,
        QBSOLV,
        _MQLIB_MAXCUT,
        MQLIB_QUBO,
        MATRIX_MARKET_GRAPH,
        MATRIX_MARKET_FORM,
        DIMACS,
    )
}
_PACKINGS = (".gz", ".xz")


def format_named(name: Any) -> Format:
    """The format of that name; others are refused with the list."""
    if not isinstance(name, str) or name not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}; found {name!r}")
    return FORMATS[name]


def formats_by_suffix(path: str) -> list[Format]:
    """The formats that claim a suffix of the file's name, the last suffix that any of them knows."""
    suffixes = [suffix.lower() for suffix in PurePath(path).suffixes]
    for suffix in reversed([each for each in suffixes if each not in _PACKINGS]):
        if found := [each for each in FORMATS.values() if suffix in each.suffixes]:
            return found
    return []


def recognise(path: str, head: list[str]) -> Format:
    """The format of a file, by its suffix and its first lines.

    A known suffix decides where the content allows it.  Without one the content decides.

    Raises
    ------
    ValueError
        If several readings are left, naming them, if suffix and content disagree, or if nothing fits.
    """
    fits = {each.name: each.fit(head) for each in FORMATS.values()}
    by_suffix = formats_by_suffix(path)
    likely = [each for each in FORMATS.values() if fits[each.name] is Fit.LIKELY]
    candidates = [each for each in by_suffix if fits[each.name] is not Fit.NO]
    kind = neighbour_list(path) or (None if candidates or likely else looks_like(head))
    if kind is not None:
        raise ValueError(f"{path}: not in a format that can be read; it looks like {kind}")
    if by_suffix and not candidates and likely:
        raise ValueError(
            f"{path}: by its suffix this is {_listed(by_suffix)}, by its content {_listed(likely)}; "
            "force one with format= (on the command line --format)"
        )
    if candidates or by_suffix:
        chosen = candidates or by_suffix
        chosen = [each for each in chosen if fits[each.name] is Fit.LIKELY] or chosen
    else:
        chosen = likely or [each for each in FORMATS.values() if fits[each.name] is Fit.POSSIBLE]
    if not chosen:
        raise ValueError(f"{path}: not in a format that can be read ({', '.join(FORMATS)})")
    if len(chosen) > 1:
        raise ValueError(
            f"{path}: this can be read as {_listed(chosen)}; force one with format= (on the command line --format)"
        )
    return chosen[0]


def _listed(formats: list[Format]) -> str:
    return " or ".join(f"{each.name} ({each.title})" for each in formats)
