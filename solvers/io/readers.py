"""Readers of rudy (MaxCut graphs) and SDPA sparse (semidefinite programs) files, strict by the line."""

from __future__ import annotations

import re
from os import fspath

import numpy as np
from numpy.typing import NDArray

from solvers.io.columns import (
    Entries,
    FilePath,
    floats,
    integers,
    is_integer,
    later_duplicates,
    occupied_lines,
    parse_entries,
    read_lines,
    refuse,
    refuse_first,
    symmetric_matrix,
)
from solvers.problems.problem import Elliptope, MaxCut

# Far beyond what fits in memory as edges; keeps a corrupt header from asking for an array of its size.
MAX_ORDER = 100_000_000
# SDPA allows these between the numbers of a vector.
_SEPARATORS = re.compile(r"[,(){}]")


def read_problem(path: FilePath) -> MaxCut | Elliptope:
    """Read a rudy or an SDPA file, told apart by content.

    A rudy file starts with the two integers n and m; anything else is taken for SDPA, whose first line holds
    the number of constraints alone or after comments.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    MaxCut or Elliptope

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is not what its format demands; the message has file name and line number.

    See Also
    --------
    read_rudy, read_sdpa
    """
    lines = read_lines(path)
    first = next((line.split() for line in lines if line.strip()), [])
    is_rudy = len(first) == 2 and all(is_integer(token) for token in first)
    return _parse_rudy(fspath(path), lines) if is_rudy else _parse_sdpa(fspath(path), lines)


def read_rudy(path: FilePath) -> MaxCut:
    r"""Read a graph: first line ``n m``, then m lines ``i j weight`` with vertices 1 to n.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    MaxCut

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        On anything but the format, self-loops, repeated edges and weights that are not finite included; the
        message has file name and line number.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "path.rud"
    ...     _ = path.write_text("3 2\n1 2 1\n2 3 -1\n")
    ...     read_rudy(path).graph.toarray()
    array([[ 0.,  1.,  0.],
           [ 1.,  0., -1.],
           [ 0., -1.,  0.]])
    """
    return _parse_rudy(fspath(path), read_lines(path))


def read_sdpa(path: FilePath) -> Elliptope:
    r"""Read max <F_0, Y> over PSD Y with a fixed diagonal, from an SDPA sparse file.

    Of SDPA's programs, max <F_0, Y> subject to <F_i, Y> = c_i, those are accepted that have one block and
    whose F_i = f_i E_pp fix each diagonal entry of Y to a positive number c_i / f_i, once, in any order.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Elliptope
        With cost -F_0 and ``maximised=True``; its `diagonal` holds the c_i / f_i, rounded to float64.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        On anything but the format, several blocks, or other constraints; the message has file name and, where
        it is one line's fault, its number.

    Notes
    -----
    Format: Yamashita, Fujisawa and Kojima, "SDPA User's Manual", section on sparse input.
    """
    return _parse_sdpa(fspath(path), read_lines(path))


def _parse_rudy(name: str, lines: list[str]) -> MaxCut:
    occupied = occupied_lines(lines)
    start = occupied[0]
    labels = ("the number of vertices", "the number of edges")
    order, count = integers(name, start, lines[start].split(), labels)
    if not 1 <= order <= MAX_ORDER:
        refuse(name, start, f"the number of vertices must be from 1 to {MAX_ORDER}; found {order}")
    rows = occupied[1:]
    if len(rows) != count:
        refuse(name, start, f"{count} edges are announced; found {len(rows)} lines of edges")
    entries = parse_entries(name, lines, rows, ("vertex", "vertex"), order)
    first, second = entries.integers
    refuse_first(name, entries, first == second, "a self-loop is not allowed")
    return MaxCut(symmetric_matrix(name, entries, first - 1, second - 1, order, "edge"))


def _parse_sdpa(name: str, lines: list[str]) -> Elliptope:
    occupied = [i for i in occupied_lines(lines) if lines[i].lstrip()[0] not in '"*']
    if len(occupied) < 4:
        refuse(name, len(lines) - 1, "the file ends before its header (m, blocks, sizes, c) is complete")
    (count,) = integers(name, occupied[0], lines[occupied[0]].split()[:1], ("the number of constraints",))
    order = _single_block(name, lines, occupied)
    if count != order:
        refuse(name, occupied[0], f"{count} constraints cannot fix the {order} entries of the diagonal")
    right_hand_side = floats(name, occupied[3], _plain(lines[occupied[3]]).split())
    if right_hand_side.shape[0] != count:
        found = right_hand_side.shape[0]
        refuse(name, occupied[3], f"c must have {count} entries, one a constraint; found {found}")
    entries = parse_entries(name, lines, occupied[4:], ("matrix", "block", "row", "column"), order)
    matrix, _block, row, column = entries.integers
    in_cost = matrix == 0
    diagonal = _fixed_diagonal(name, entries, right_hand_side, occupied[3])
    of_cost = Entries(entries.integers[:, in_cost], entries.values[in_cost], entries.numbers[in_cost])
    cost = symmetric_matrix(name, of_cost, row[in_cost] - 1, column[in_cost] - 1, order, "entry of F_0")
    return Elliptope(-cost, maximised=True, diagonal=diagonal)


def _single_block(name: str, lines: list[str], occupied: list[int]) -> int:
    """Order of the only block; several blocks are refused with their list."""
    (blocks,) = integers(name, occupied[1], lines[occupied[1]].split()[:1], ("the number of blocks",))
    tokens = _plain(lines[occupied[2]]).split()
    if blocks != 1:
        listed = " ".join(tokens[: max(blocks, 0)])
        refuse(name, occupied[2], f"one block is required; found {blocks} blocks of sizes {listed}")
    (order,) = integers(name, occupied[2], tokens[:1], ("the size of the block",))
    if not 1 <= order <= MAX_ORDER:
        hint = " (negative sizes mark diagonal blocks)" if order < 0 else ""
        allowed = f"from 1 to {MAX_ORDER}"
        refuse(name, occupied[2], f"the size of the block must be {allowed}; found {order}{hint}")
    return order


def _fixed_diagonal(
    name: str, entries: Entries, right_hand_side: NDArray[np.float64], line: int
) -> NDArray[np.float64]:
    """The a of diag(Y) = a; every constraint system but Y_pp = a_p > 0 for each p once is refused."""
    matrix, _, row, column = entries.integers
    of_constraint = matrix > 0
    remedy = "only problems whose constraints fix the diagonal of Y to positive numbers can be read"
    off = of_constraint & (row != column) & (entries.values != 0)
    refuse_first(name, entries, off, f"a constraint has an off-diagonal entry; {remedy}")
    used = np.flatnonzero(of_constraint & (row == column) & (entries.values != 0))
    repeated = np.zeros(matrix.shape[0], dtype=bool)
    repeated[used[later_duplicates(matrix[used])]] = True
    refuse_first(name, entries, repeated, f"a constraint has more than one diagonal entry; {remedy}")
    repeated[used[later_duplicates(row[used])]] = True
    refuse_first(name, entries, repeated, f"a second constraint on the same diagonal entry; {remedy}")
    if used.shape[0] != right_hand_side.shape[0]:
        missing = np.setdiff1d(np.arange(1, right_hand_side.shape[0] + 1), matrix[used])
        refuse(name, None, f"constraint {missing[0]} has no entries; {remedy}")
    with np.errstate(over="ignore", under="ignore"):
        fixed = right_hand_side[matrix[used] - 1] / entries.values[used]
    wrong = np.flatnonzero(~((fixed > 0) & np.isfinite(fixed)))
    if wrong.shape[0]:
        which, found = matrix[used][wrong[0]], fixed[wrong[0]]
        refuse(name, line, f"constraint {which} fixes a diagonal entry to {found:g}; {remedy}")
    diagonal = np.empty(fixed.shape[0])
    diagonal[row[used] - 1] = fixed
    return diagonal


def _plain(line: str) -> str:
    return _SEPARATORS.sub(" ", line)
