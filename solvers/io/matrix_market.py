"""Matrix Market: a matrix, which is read as a graph for MaxCut or as a quadratic form over {0, 1}.

The file does not say which: a pattern without values is a graph, and so is what a comment calls one, as the
SuiteSparse collection does (``% kind: undirected weighted graph``).  Everything else must be told.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from solvers.io.columns import Entries, Field, Layout, header, read_entries, refuse_first, symmetric_matrix
from solvers.io.edge_list import triples
from solvers.io.format import MAX_ORDER, Fit, Format
from solvers.io.quadratic import qubo_only
from solvers.io.rudy import graph_only
from solvers.io.text import Lines, refuse, shown
from solvers.problems.problem import BinaryQuadratic, MaxCut

_BANNER = "%%matrixmarket"
_FORM = "kind: quadratic form over {0,1}, minimised"
_GRAPH = "kind: undirected weighted graph"


def _comments(head: list[str]) -> str:
    return "\n".join(line.lower() for line in head[1:] if line.startswith("%"))


def _fit_graph(head: list[str]) -> Fit:
    if not head or not head[0].lower().startswith(_BANNER):
        return Fit.NO
    text = _comments(head)
    if _FORM in text:
        return Fit.POSSIBLE
    return Fit.LIKELY


def _fit_form(head: list[str]) -> Fit:
    if not head or not head[0].lower().startswith(_BANNER):
        return Fit.NO
    text = _comments(head)
    is_graph = "pattern" in head[0].lower() or any(
        "kind:" in line and "graph" in line for line in text.split("\n")
    )
    return Fit.POSSIBLE if is_graph else Fit.LIKELY


def _read_matrix(lines: Lines) -> sp.csr_array:
    start, text = lines.next_line() or (0, "")
    words = text.lower().split()
    if len(words) != 5 or words[0] != _BANNER or words[1] != "matrix":
        expected = "'%%MatrixMarket matrix coordinate|array real|integer|pattern general|symmetric'"
        refuse(lines.name, start, f"expected {expected}; found {shown(text)}")
    storage, kind, symmetry = words[2:]
    for what, word, allowed in (
        ("the storage", storage, ("coordinate", "array")),
        ("the entries", kind, ("real", "double", "integer", "pattern")),
        ("the symmetry", symmetry, ("general", "symmetric")),
    ):
        if word not in allowed:
            refuse(lines.name, start, f"{what} must be {' or '.join(allowed)}; found {shown(word)}")
    if storage == "array" and kind == "pattern":
        refuse(lines.name, start, "an array of a pattern has no entries: the banner contradicts itself")
    reader = _read_coordinates if storage == "coordinate" else _read_array
    return reader(lines, kind == "pattern", symmetry == "symmetric")


def _read_coordinates(lines: Lines, pattern: bool, symmetric: bool) -> sp.csr_array:
    start, text = lines.next_line(("%",)) or (lines.position, "")
    labels = ("the number of rows", "the number of columns", "the number of entries")
    order = _order(lines, start, *header(lines.name, start, text.split(), labels)[:2])
    announced = int(text.split()[2])
    layout = Layout((Field("row", 1, order), Field("column", 1, order)), value_is_optional=pattern)
    entries = read_entries(lines, layout, ("%",))
    if entries.values.shape[0] != announced:
        refuse(lines.name, start, f"{announced} entries are announced; found {entries.values.shape[0]}")
    if symmetric:
        above = entries.integers[0] < entries.integers[1]
        refuse_first(lines.name, entries, above, "an entry above the diagonal of a symmetric matrix")
        return symmetric_matrix(lines.name, entries, order, "entry")
    return _general(lines, entries, order)


def _general(lines: Lines, entries: Entries, order: int) -> sp.csr_array:
    """A matrix of all its entries; that each has an equal mirror image is checked, so that the line is named."""
    row, column = entries.integers - 1
    matrix = symmetric_matrix(lines.name, entries, order, "entry", mirrored=True)
    keys, mirrors = row * order + column, column * order + row
    alone = (entries.values != 0) & ~np.isin(mirrors, keys)
    remedy = "write the matrix as symmetric, or A + A^T of a directed graph"
    refuse_first(lines.name, entries, alone, f"this entry has no mirror image; {remedy}")
    return matrix


def _read_array(lines: Lines, _pattern: bool, symmetric: bool) -> sp.csr_array:
    start, text = lines.next_line(("%",)) or (lines.position, "")
    labels = ("the number of rows", "the number of columns")
    order = _order(lines, start, *header(lines.name, start, text.split(), labels))
    announced = order * (order + 1) // 2 if symmetric else order * order
    entries = read_entries(lines, Layout(()), ("%",))
    if entries.values.shape[0] != announced:
        refuse(lines.name, start, f"{announced} entries are expected; found {entries.values.shape[0]}")
    if symmetric:
        columns, rows = np.triu_indices(order)
    else:
        columns, rows = np.divmod(np.arange(announced), order)
    keep = entries.values != 0
    placed = Entries(np.array([rows, columns])[:, keep] + 1, entries.values[keep], entries.numbers[keep])
    if symmetric:
        return symmetric_matrix(lines.name, placed, order, "entry")
    return _general(lines, placed, order)


def _order(lines: Lines, start: int, rows: int, columns: int) -> int:
    if rows != columns or not 1 <= rows <= MAX_ORDER:
        refuse(
            lines.name,
            start,
            f"the matrix must be square, of order 1 to {MAX_ORDER}; found {rows} x {columns}",
        )
    return rows


def _read_graph(lines: Lines) -> MaxCut:
    return MaxCut(_read_matrix(lines))


def _read_form(lines: Lines) -> BinaryQuadratic:
    return BinaryQuadratic.from_qubo(_read_matrix(lines))


def _lines_of(matrix: sp.csr_array, kind: str) -> Iterator[str]:
    lower = sp.coo_array(sp.tril(matrix))
    yield "%%MatrixMarket matrix coordinate real symmetric"
    yield f"% {kind}"
    yield f"{matrix.shape[0]} {matrix.shape[0]} {lower.nnz}"
    yield from triples(lower)


MATRIX_MARKET_GRAPH = Format(
    "mtx-graph",
    "MaxCut of the graph whose weights a Matrix Market file holds",
    (".mtx", ".mm"),
    _fit_graph,
    _read_graph,
    lambda problem: _lines_of(graph_only("mtx-graph", problem).graph, _GRAPH),
)
MATRIX_MARKET_FORM = Format(
    "mtx-qubo",
    "min x^T Q x over {0,1}, Q in a Matrix Market file",
    (".mtx", ".mm"),
    _fit_form,
    _read_form,
    lambda problem: _lines_of(qubo_only("mtx-qubo", problem, maximise=False), _FORM),
)
