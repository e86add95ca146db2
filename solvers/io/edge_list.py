"""The layout that graphs and quadratic forms share: ``n m``, then m lines ``i j value``, counted from 1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from solvers.io.columns import Entries, Field, Layout, header, read_entries
from solvers.io.format import MAX_ORDER, all_integers, data_lines
from solvers.io.text import Lines, refuse

COMMENTS = ("#", "%", "c ", "//")
_WITHOUT_HEADER = (
    "; edges without a line n m go through networkx.read_weighted_edgelist and MaxCut.from_networkx"
)


class EdgeList(NamedTuple):
    """Order and entries of one list, indices from 1."""

    order: int
    entries: Entries


def read_edge_list(
    lines: Lines, size: str, count: str, index: str, *, value_is_optional: bool = False, last: bool = True
) -> EdgeList:
    """Parse one list; ``size``, ``count`` and ``index`` name what its numbers are in messages.

    Where it is the ``last``, lines that are left over are refused.
    """
    found = lines.next_line(COMMENTS)
    if found is None:
        refuse(lines.name, lines.position, f"the file ends before {size} and {count}")
    start, text = found
    order, announced = header(
        lines.name, start, text.split(), (f"the number of {size}", f"the number of {count}")
    )
    if not 1 <= order <= MAX_ORDER:
        refuse(lines.name, start, f"the number of {size} must be from 1 to {MAX_ORDER}; found {order}")
    if announced < 0:
        refuse(lines.name, start, f"{announced} {count} are announced")
    source = f" (line {start + 1} announces {order} {size}{_WITHOUT_HEADER if value_is_optional else ''})"
    layout = Layout((Field(index, 1, order, source), Field(index, 1, order, source)), value_is_optional)
    entries = read_entries(lines, layout, COMMENTS, limit=announced)
    number = entries.values.shape[0]
    if last:
        number += sum(len(texts) for _, texts in lines.blocks(COMMENTS))
    if number != announced:
        hint = _WITHOUT_HEADER if value_is_optional else ""
        refuse(lines.name, start, f"{announced} {count} are announced; found {number} lines of {count}{hint}")
    return EdgeList(order, entries)


def looks_like_an_edge_list(head: list[str]) -> bool:
    """Whether the first line of data is two integers, and the next has two or three fields."""
    lines = data_lines(head, COMMENTS)
    if not all_integers(next(lines, []), 2):
        return False
    return len(next(lines, ["", ""])) in (2, 3)


def has_diagonal(head: list[str]) -> bool:
    """Whether one of the first lines of an edge list is about one index alone."""
    lines = data_lines(head, COMMENTS)
    next(lines, None)
    return any(len(tokens) == 3 and tokens[0] == tokens[1] for tokens in lines)


def write_edge_list(matrix: sp.csr_array) -> Iterator[str]:
    """The upper triangle of a symmetric matrix in this layout."""
    upper = sp.coo_array(sp.triu(matrix))
    yield f"{matrix.shape[0]} {upper.nnz}"
    yield from triples(upper)


def triples(matrix: sp.coo_array, first: int = 1, word: str = "") -> Iterator[str]:
    """Lines ``i j value`` of every stored entry, in order of rows; values read back exactly."""
    rows, columns = matrix.coords
    order = np.lexsort((columns, rows))
    for i, j, value in zip(
        (rows[order] + first).tolist(),
        (columns[order] + first).tolist(),
        matrix.data[order].tolist(),
        strict=True,
    ):
        yield f"{word}{i} {j} {plain(value)}"


def plain(value: float) -> str:
    """A number that reads back exactly, without a point where it is whole."""
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
