"""rudy: a graph for MaxCut, as Rinaldi's generator writes it and the Gset, BiqMac and MQLib collections use it."""

from __future__ import annotations

from collections.abc import Iterator

from solvers.io.columns import refuse_first, symmetric_matrix
from solvers.io.edge_list import (
    has_diagonal,
    looks_like_an_edge_list,
    read_edge_list,
    write_edge_list,
)
from solvers.io.format import Fit, Format
from solvers.io.text import Lines
from solvers.problems.problem import MaxCut, Problem


def _fit(head: list[str]) -> Fit:
    if not looks_like_an_edge_list(head):
        return Fit.NO
    return Fit.POSSIBLE if has_diagonal(head) else Fit.LIKELY


def _read(lines: Lines) -> MaxCut:
    order, entries = read_edge_list(lines, "vertices", "edges", "vertex", value_is_optional=True)
    first, second = entries.integers
    refuse_first(
        lines.name,
        entries,
        first == second,
        "a self-loop is not allowed in a graph; a quadratic form has them: format='biqmac' or 'mqlib-qubo'",
    )
    return MaxCut(symmetric_matrix(lines.name, entries, order, "edge"))


def graph_only(name: str, problem: Problem) -> MaxCut:
    """The problem if it is a MaxCut, which is all that format ``name`` can state."""
    if not isinstance(problem, MaxCut):
        raise TypeError(f"{name} files state a MaxCut; found {type(problem).__name__}")
    return problem


def _write(problem: Problem) -> Iterator[str]:
    return write_edge_list(graph_only("rudy", problem).graph)


RUDY = Format(
    "rudy",
    "MaxCut of a graph: n m, then i j [weight]",
    (".rud", ".rudy", ".mc", ".maxcut"),
    _fit,
    _read,
    _write,
)
