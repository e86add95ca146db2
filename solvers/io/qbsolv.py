"""qbsolv: min over {0, 1} of a sum in which each pair is listed once and counted once, variables from 0."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from solvers.io.columns import Entries, Field, Layout, header, read_entries, refuse_first, symmetric_matrix
from solvers.io.edge_list import triples
from solvers.io.format import MAX_ORDER, Fit, Format, data_lines
from solvers.io.quadratic import qubo_only
from solvers.io.text import Lines, refuse, shown
from solvers.problems.problem import BinaryQuadratic, Problem

_COMMENTS = ("c", "#")


def _fit(head: list[str]) -> Fit:
    first = next(data_lines(head, _COMMENTS), [])
    return Fit.LIKELY if first[:2] == ["p", "qubo"] else Fit.NO


def _read(lines: Lines) -> BinaryQuadratic:
    found = lines.next_line(_COMMENTS)
    start, tokens = (lines.position, [""]) if found is None else (found[0], found[1].split())
    if tokens[:2] != ["p", "qubo"] or len(tokens) != 6:
        refuse(
            lines.name,
            start,
            "expected 'p qubo topology maxNodes nNodes nCouplers'; found " + shown(" ".join(tokens)),
        )
    if tokens[2] not in ("0", "unconstrained"):
        refuse(lines.name, start, f"the topology must be 0 or unconstrained; found {shown(tokens[2])}")
    labels = ("the number of variables", "the number of diagonal entries", "the number of couplers")
    order, diagonal, couplers = header(lines.name, start, tokens[3:], labels)
    if not 1 <= order <= MAX_ORDER:
        refuse(lines.name, start, f"the number of variables must be from 1 to {MAX_ORDER}; found {order}")
    fields = (Field("variable", 0, order - 1), Field("variable", 0, order - 1))
    entries = read_entries(lines, Layout(fields), _COMMENTS)
    on_diagonal = entries.integers[0] == entries.integers[1]
    for what, announced, counted in (
        ("diagonal entries", diagonal, int(on_diagonal.sum())),
        ("couplers", couplers, int((~on_diagonal).sum())),
    ):
        if announced != counted:
            refuse(lines.name, start, f"{announced} {what} are announced; found {counted}")
    # A coupler counts once: half of it on either side of the diagonal.
    halved = entries.values * np.where(on_diagonal, 1.0, 0.5)
    refuse_first(lines.name, entries, 2 * halved != np.where(on_diagonal, 2, 1) * entries.values, _TOO_SMALL)
    matrix = symmetric_matrix(
        lines.name, Entries(entries.integers, halved, entries.numbers), order, "entry", first=0
    )
    return BinaryQuadratic.from_qubo(matrix)


_TOO_SMALL = "a coupler is too small to be halved in float64: rescale the problem"


def _write(problem: Problem) -> Iterator[str]:
    matrix = qubo_only("qbsolv", problem, maximise=False)
    diagonal = sp.coo_array(sp.diags_array(matrix.diagonal()))
    diagonal.eliminate_zeros()
    couplers = sp.coo_array(2.0 * sp.triu(matrix, 1))
    yield f"p qubo 0 {matrix.shape[0]} {diagonal.nnz} {couplers.nnz}"
    yield from triples(diagonal, first=0)
    yield from triples(couplers, first=0)


QBSOLV = Format(
    "qbsolv",
    "min over {0,1}, each pair once and counted once: p qubo 0 n d c, then i j q from 0",
    (".qubo",),
    _fit,
    _read,
    _write,
)
