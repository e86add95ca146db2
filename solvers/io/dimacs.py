"""DIMACS graphs: ``p edge n m`` (or col), then ``e i j [weight]``; MaxCut of them."""

from __future__ import annotations

from collections.abc import Iterator

import scipy.sparse as sp

from solvers.io.columns import Field, Layout, header, read_entries, refuse_first, symmetric_matrix
from solvers.io.edge_list import triples
from solvers.io.format import MAX_ORDER, Fit, Format, data_lines
from solvers.io.rudy import graph_only
from solvers.io.text import Lines, refuse, shown
from solvers.problems.problem import MaxCut, Problem

_COMMENTS = ("c", "#")
_KINDS = ("edge", "col")


def _fit(head: list[str]) -> Fit:
    first = next(data_lines(head, _COMMENTS), [])
    return Fit.LIKELY if first[:1] == ["p"] and first[1:2] != ["qubo"] else Fit.NO


def _read(lines: Lines) -> MaxCut:
    found = lines.next_line(_COMMENTS)
    start, tokens = (lines.position, [""]) if found is None else (found[0], found[1].split())
    if tokens[0] != "p" or len(tokens) != 4 or tokens[1] not in _KINDS:
        other = "; of DIMACS's problems only graphs (edge, col) can be read" if tokens[0] == "p" else ""
        refuse(
            lines.name, start, f"expected 'p edge n m' or 'p col n m'; found {shown(' '.join(tokens))}{other}"
        )
    labels = ("the number of vertices", "the number of edges")
    order, announced = header(lines.name, start, tokens[2:], labels)
    if not 1 <= order <= MAX_ORDER:
        refuse(lines.name, start, f"the number of vertices must be from 1 to {MAX_ORDER}; found {order}")
    layout = Layout((Field("vertex", 1, order), Field("vertex", 1, order)), value_is_optional=True, word="e")
    entries = read_entries(lines, layout, (*_COMMENTS, "n "))
    first, second = entries.integers
    refuse_first(lines.name, entries, first == second, "a self-loop is not allowed")
    graph = symmetric_matrix(lines.name, entries, order, "edge", mirrored=True)
    # Colouring benchmarks list edges once or in both directions, and count them either way.
    edges, listed = graph.nnz // 2, entries.values.shape[0]
    if announced not in (edges, listed, 2 * edges):
        refuse(lines.name, start, f"{announced} edges are announced; found {listed} lines of edges")
    return MaxCut(graph)


def _write(problem: Problem) -> Iterator[str]:
    upper = sp.coo_array(sp.triu(graph_only("dimacs", problem).graph))
    yield f"p edge {problem.relaxation().size} {upper.nnz}"
    if (upper.data == 1).all():
        yield from (
            f"e {i + 1} {j + 1}" for i, j in zip(*(part.tolist() for part in upper.coords), strict=True)
        )
    else:
        yield from triples(upper, word="e ")


DIMACS = Format(
    "dimacs",
    "MaxCut of a graph: p edge n m, then e i j [weight]",
    (".dimacs", ".col", ".clq", ".mis"),
    _fit,
    _read,
    _write,
)
