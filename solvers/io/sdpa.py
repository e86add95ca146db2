"""SDPA sparse: max <F_0, Y> over PSD Y with a fixed diagonal, in the dialects that solvers and libraries write."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from solvers.io.columns import (
    Entries,
    Field,
    Layout,
    header,
    later_duplicates,
    read_entries,
    real,
    refuse_first,
    symmetric_matrix,
)
from solvers.io.edge_list import looks_like_an_edge_list, plain, triples
from solvers.io.format import MAX_ORDER, Fit, Format, data_lines
from solvers.io.text import Lines, refuse
from solvers.problems.problem import Elliptope, Problem

_COMMENTS = ('"', "*")
# SDPA allows these between numbers.
_SEPARATORS = str.maketrans(dict.fromkeys(",(){}[]", " "))
# An integer, and whatever comes after it: "2=mDIM", "2 = mDIM", "2".
_LEADING_INTEGER = re.compile(r"[+-]?[0-9]+(?![0-9.eEdD])")
# A first line of several numbers is a table's.
_SEVERAL_NUMBERS = re.compile(r"[+-]?[0-9.]+\s*[\s,;]\s*[+-]?[0-9.]")
_NUMBER = re.compile(r"[+-]?(?:[0-9]|\.[0-9]|inf|nan)", re.IGNORECASE)
_REMEDY = "only problems whose constraints fix the diagonal of Y to positive numbers can be read"


def _fit(head: list[str]) -> Fit:
    lines = data_lines(head, _COMMENTS)
    first, second = (" ".join(next(lines, [])) for _ in range(2))
    if not _LEADING_INTEGER.match(first) or _SEVERAL_NUMBERS.match(first) or looks_like_an_edge_list(head):
        return Fit.NO
    return Fit.LIKELY if _LEADING_INTEGER.match(second) and len(second.split()) != 2 else Fit.POSSIBLE


def _read(lines: Lines) -> Elliptope:
    name = lines.name
    start, (count,) = _leading_integers(lines, ("the number of constraints",))
    order = _single_block(lines)
    if count != order:
        refuse(name, start, f"{count} constraints cannot fix the {order} entries of the diagonal")
    line, right_hand_side = _vector(lines, count)
    fields = (
        Field("matrix", 0, count),
        Field("block", 1, 1),
        Field("row", 1, order),
        Field("column", 1, order),
    )
    entries = read_entries(lines, Layout(fields, separators=_SEPARATORS), _COMMENTS)
    diagonal = _fixed_diagonal(name, entries, right_hand_side, line)
    cost = symmetric_matrix(
        name, entries.where(entries.integers[0] == 0), order, "entry of F_0", mirrored=True
    )
    return Elliptope(-cost, maximised=True, diagonal=diagonal)


def _next(lines: Lines) -> tuple[int, str]:
    found = lines.next_line(_COMMENTS)
    if found is None:
        end = max(lines.position - 1, 0)
        refuse(lines.name, end, "the file ends before its header (m, blocks, sizes, c) is complete")
    return found


def _leading_integers(lines: Lines, labels: tuple[str, ...]) -> tuple[int, list[int]]:
    """The integer with which a line begins; text may follow it."""
    position, text = _next(lines)
    match = _LEADING_INTEGER.match(text)
    return position, header(lines.name, position, [match[0] if match else text.split()[0]], labels)


def _single_block(lines: Lines) -> int:
    """Order of the only block; several blocks are refused with their list."""
    _, (blocks,) = _leading_integers(lines, ("the number of blocks",))
    position, text = _next(lines)
    tokens = text.translate(_SEPARATORS).replace("=", " = ").split()
    if blocks != 1:
        sizes = [token for token in tokens if _LEADING_INTEGER.fullmatch(token)]
        listed = " ".join(sizes[: min(max(blocks, 0), 10)]) + (" ..." if min(blocks, len(sizes)) > 10 else "")
        message = f"one block is required; found {blocks} blocks of sizes {listed}"
        refuse(lines.name, position, message)
    (order,) = header(lines.name, position, tokens[:1] or [""], ("the size of the block",))
    if not 1 <= order <= MAX_ORDER:
        hint = " (negative sizes mark diagonal blocks)" if order < 0 else ""
        message = f"the size of the block must be from 1 to {MAX_ORDER}; found {order}{hint}"
        refuse(lines.name, position, message)
    return order


def _vector(lines: Lines, count: int) -> tuple[int, NDArray[np.float64]]:
    """c, over as many lines as it takes, or up to its closing bracket; text may follow its numbers."""
    start, text = position, _ = _next(lines)
    values: list[float] = []
    bracketed = text[0] in "{(["
    while True:
        closed = bracketed and any(mark in text for mark in "})]")
        for token in text.translate(_SEPARATORS).split():
            if len(values) >= count and not _NUMBER.match(token):
                break
            values.append(real(lines.name, position, token))
        if len(values) >= count or closed:
            break
        found = lines.next_line(_COMMENTS)
        if found is None:
            break
        position, text = found
    if len(values) != count:
        where = f" up to line {position + 1}" if position > start else ""
        refuse(
            lines.name, start, f"c must have {count} entries, one a constraint; found {len(values)}{where}"
        )
    return start, np.array(values, dtype=np.float64)


def _fixed_diagonal(
    name: str, entries: Entries, right_hand_side: NDArray[np.float64], line: int
) -> NDArray[np.float64]:
    """The a of diag(Y) = a; every constraint system but Y_pp = a_p > 0 for each p once is refused."""
    matrix, _, row, column = entries.integers
    of_constraint = matrix > 0
    off = of_constraint & (row != column) & (entries.values != 0)
    refuse_first(name, entries, off, f"a constraint has an off-diagonal entry; {_REMEDY}")
    used = np.flatnonzero(of_constraint & (row == column) & (entries.values != 0))
    repeated = np.zeros(matrix.shape[0], dtype=bool)
    repeated[used[later_duplicates(matrix[used])]] = True
    refuse_first(name, entries, repeated, f"a constraint has more than one diagonal entry; {_REMEDY}")
    repeated[used[later_duplicates(row[used])]] = True
    refuse_first(name, entries, repeated, f"a second constraint on the same diagonal entry; {_REMEDY}")
    if used.shape[0] != right_hand_side.shape[0]:
        missing = np.setdiff1d(np.arange(1, right_hand_side.shape[0] + 1), matrix[used])
        refuse(name, None, f"constraint {missing[0]} has no entries; {_REMEDY}")
    with np.errstate(over="ignore", under="ignore"):
        fixed = right_hand_side[matrix[used] - 1] / entries.values[used]
    wrong = np.flatnonzero(~((fixed > 0) & np.isfinite(fixed)))
    if wrong.shape[0]:
        which, found = matrix[used][wrong[0]], fixed[wrong[0]]
        refuse(name, line, f"constraint {which} fixes a diagonal entry to {found:g}; {_REMEDY}")
    diagonal = np.empty(fixed.shape[0])
    diagonal[row[used] - 1] = fixed
    return diagonal


def _write(problem: Problem) -> Iterator[str]:
    relaxation = problem.relaxation()
    if relaxation.homogenised:
        raise ValueError(
            "sdpa files cannot mark a homogenised row; write the BinaryQuadratic in another format"
        )
    if relaxation.constant != 0:
        raise ValueError(f"sdpa files have no place for a constant; found {relaxation.constant:g}")
    if isinstance(relaxation.cost, LinearOperator):
        raise TypeError("sdpa files hold entries; found an operator as cost")
    order = relaxation.size
    yield f"{order} = mDIM"
    yield "1 = nBLOCK"
    yield f"{order} = bLOCKsTRUCT"
    yield "{" + ", ".join(map(plain, relaxation.diagonal.tolist())) + "}"
    yield from triples(sp.coo_array(sp.triu(-sp.csr_array(relaxation.cost))), word="0 1 ")
    yield from (f"{i} 1 {i} {i} 1" for i in range(1, order + 1))


SDPA = Format(
    "sdpa",
    "SDP with a fixed diagonal, SDPA sparse",
    (".dat-s", ".sdpa", ".dats"),
    _fit,
    _read,
    _write,
)
