"""Readers of rudy (MaxCut graphs) and SDPA sparse (semidefinite programs) files, strict by the line."""

from __future__ import annotations

import math
import re
from os import PathLike, fspath
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.problem import Elliptope, MaxCut

FilePath = str | PathLike[str]

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
    lines = _read_lines(path)
    first = next((line.split() for line in lines if line.strip()), [])
    is_rudy = len(first) == 2 and all(_is_integer(token) for token in first)
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
    return _parse_rudy(fspath(path), _read_lines(path))


def read_sdpa(path: FilePath) -> Elliptope:
    r"""Read max <F_0, Y> over PSD Y with unit diagonal, from an SDPA sparse file.

    Of SDPA's programs, max <F_0, Y> subject to <F_i, Y> = c_i, those are accepted that have one block and
    whose F_i = a_i E_pp, c_i = a_i fix each diagonal entry of Y to 1, once, in any order.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Elliptope
        With cost -F_0 and ``maximised=True``.

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
    return _parse_sdpa(fspath(path), _read_lines(path))


class _Entries(NamedTuple):
    """Columns of the data lines, and the number of the first one."""

    integers: NDArray[np.int64]
    values: NDArray[np.float64]
    numbers: NDArray[np.int64]


def _parse_rudy(name: str, lines: list[str]) -> MaxCut:
    occupied = _occupied(name, lines)
    start = occupied[0]
    labels = ("the number of vertices", "the number of edges")
    order, count = _integers(name, start, lines[start].split(), labels)
    if not 1 <= order <= MAX_ORDER:
        _refuse(name, start, f"the number of vertices must be from 1 to {MAX_ORDER}; found {order}")
    rows = occupied[1:]
    if len(rows) != count:
        _refuse(name, start, f"{count} edges are announced; found {len(rows)} lines of edges")
    entries = _entries(name, lines, rows, ("vertex", "vertex"), order)
    first, second = entries.integers
    _refuse_first(name, entries, first == second, "a self-loop is not allowed")
    return MaxCut(_symmetric(name, entries, first - 1, second - 1, order, "edge"))


def _parse_sdpa(name: str, lines: list[str]) -> Elliptope:
    occupied = [i for i in _occupied(name, lines) if lines[i].lstrip()[0] not in '"*']
    if len(occupied) < 4:
        _refuse(name, len(lines) - 1, "the file ends before its header (m, blocks, sizes, c) is complete")
    (count,) = _integers(name, occupied[0], lines[occupied[0]].split()[:1], ("the number of constraints",))
    order = _single_block(name, lines, occupied)
    if count != order:
        _refuse(name, occupied[0], f"{count} constraints cannot fix the {order} entries of the diagonal")
    right_hand_side = _floats(name, occupied[3], _plain(lines[occupied[3]]).split())
    if right_hand_side.shape[0] != count:
        found = right_hand_side.shape[0]
        _refuse(name, occupied[3], f"c must have {count} entries, one a constraint; found {found}")
    entries = _entries(name, lines, occupied[4:], ("matrix", "block", "row", "column"), order)
    matrix, _block, row, column = entries.integers
    in_cost = matrix == 0
    _check_unit_diagonal(name, entries, right_hand_side, occupied[3])
    of_cost = _Entries(entries.integers[:, in_cost], entries.values[in_cost], entries.numbers[in_cost])
    cost = _symmetric(name, of_cost, row[in_cost] - 1, column[in_cost] - 1, order, "entry of F_0")
    return Elliptope(-cost, maximised=True)


def _single_block(name: str, lines: list[str], occupied: list[int]) -> int:
    """Order of the only block; several blocks are refused with their list."""
    (blocks,) = _integers(name, occupied[1], lines[occupied[1]].split()[:1], ("the number of blocks",))
    tokens = _plain(lines[occupied[2]]).split()
    if blocks != 1:
        listed = " ".join(tokens[: max(blocks, 0)])
        _refuse(name, occupied[2], f"one block is required; found {blocks} blocks of sizes {listed}")
    (order,) = _integers(name, occupied[2], tokens[:1], ("the size of the block",))
    if not 1 <= order <= MAX_ORDER:
        hint = " (negative sizes mark diagonal blocks)" if order < 0 else ""
        allowed = f"from 1 to {MAX_ORDER}"
        _refuse(name, occupied[2], f"the size of the block must be {allowed}; found {order}{hint}")
    return order


def _check_unit_diagonal(
    name: str, entries: _Entries, right_hand_side: NDArray[np.float64], line: int
) -> None:
    """Refuse every constraint system but Y_pp = 1 for each p once."""
    matrix, _, row, column = entries.integers
    of_constraint = matrix > 0
    remedy = "only problems whose constraints fix the diagonal of Y to 1 can be read"
    off = of_constraint & (row != column) & (entries.values != 0)
    _refuse_first(name, entries, off, f"a constraint has an off-diagonal entry; {remedy}")
    used = np.flatnonzero(of_constraint & (row == column) & (entries.values != 0))
    repeated = np.zeros(matrix.shape[0], dtype=bool)
    repeated[used[_later_duplicates(matrix[used])]] = True
    _refuse_first(name, entries, repeated, f"a constraint has more than one diagonal entry; {remedy}")
    repeated[used[_later_duplicates(row[used])]] = True
    _refuse_first(name, entries, repeated, f"a second constraint on the same diagonal entry; {remedy}")
    if used.shape[0] != right_hand_side.shape[0]:
        missing = np.setdiff1d(np.arange(1, right_hand_side.shape[0] + 1), matrix[used])
        _refuse(name, None, f"constraint {missing[0]} has no entries; {remedy}")
    fixed = right_hand_side[matrix[used] - 1] / entries.values[used]
    wrong = np.flatnonzero(fixed != 1.0)
    if wrong.shape[0]:
        which, found = matrix[used][wrong[0]], fixed[wrong[0]]
        _refuse(name, line, f"constraint {which} fixes a diagonal entry to {found:g}; {remedy}")


def _read_lines(path: FilePath) -> list[str]:
    name = fspath(path)
    try:
        text = Path(path).read_bytes().decode("ascii")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: not a text file; byte {error.start} is not ASCII") from None
    if "\0" in text:
        raise ValueError(f"{name}: not a text file; it holds NUL bytes")
    lines = text.split("\n")
    if not text.strip():
        raise ValueError(f"{name}: the file is empty")
    return lines


def _occupied(name: str, lines: list[str]) -> list[int]:
    """Positions of the lines that hold anything; a file that is not empty has some."""
    return [i for i, line in enumerate(lines) if line.strip()]


def _entries(name: str, lines: list[str], rows: list[int], labels: tuple[str, ...], order: int) -> _Entries:
    """Integer columns named by ``labels``, then one real column, from the lines at ``rows``."""
    width = len(labels) + 1
    tokens = [lines[i].split() for i in rows]
    if any(len(line) != width for line in tokens):
        bad = next(k for k, line in enumerate(tokens) if len(line) != width)
        fields = ", ".join(labels)
        _refuse(name, rows[bad], f"expected {width} fields ({fields}, value); found {len(tokens[bad])}")
    numbers = np.array(rows, dtype=np.int64)
    columns = list(zip(*tokens, strict=True)) if tokens else [()] * width
    limits = [_limits(label, order) for label in labels]
    parsed = [
        _index_column(name, label, column, rows, bounds)
        for label, column, bounds in zip(labels, columns, limits, strict=False)
    ]
    return _Entries(np.array(parsed, dtype=np.int64), _value_column(name, columns[-1], rows), numbers)


def _limits(label: str, order: int) -> tuple[int, int]:
    return {"matrix": (0, order), "block": (1, 1)}.get(label, (1, order))


def _index_column(
    name: str, label: str, column: tuple[str, ...], rows: list[int], bounds: tuple[int, int]
) -> list[int]:
    low, high = bounds
    try:
        values = list(map(int, column))
    except ValueError:
        values = []
    if (
        len(values) == len(column)
        and "_" not in "".join(column)
        and (not values or (min(values) >= low and max(values) <= high))
    ):
        return values
    for row, token in zip(rows, column, strict=True):
        if not _is_integer(token):
            _refuse(name, row, f"{label} must be an integer; found {token!r}")
        if not low <= int(token) <= high:
            _refuse(name, row, f"{label} must be from {low} to {high}; found {token}")
    raise AssertionError("a column was refused and no entry of it is wrong")


def _value_column(name: str, column: tuple[str, ...], rows: list[int]) -> NDArray[np.float64]:
    try:
        values = np.array(list(map(float, column)), dtype=np.float64)
    except ValueError:
        values = None
    if values is not None and np.isfinite(values).all() and "_" not in "".join(column):
        return values
    for row, token in zip(rows, column, strict=True):
        _float(name, row, token)
    raise AssertionError("a column was refused and no entry of it is wrong")


def _symmetric(
    name: str,
    entries: _Entries,
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    order: int,
    what: str,
) -> sp.csr_array:
    """Symmetric matrix from one triangle's entries, each given once, on either side of the diagonal."""
    keys = np.minimum(row, column) * order + np.maximum(row, column)
    repeated = np.zeros(keys.shape[0], dtype=bool)
    repeated[_later_duplicates(keys)] = True
    _refuse_first(name, entries, repeated, f"this {what} was given before")
    off = row != column
    rows, columns = np.concatenate([row, column[off]]), np.concatenate([column, row[off]])
    values = np.concatenate([entries.values, entries.values[off]])
    return sp.csr_array((values, (rows, columns)), shape=(order, order))


def _later_duplicates(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of the entries that repeat an earlier one."""
    _, first = np.unique(keys, return_index=True)
    return np.setdiff1d(np.arange(keys.shape[0]), first)


def _plain(line: str) -> str:
    return _SEPARATORS.sub(" ", line)


def _is_integer(token: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]+", token) is not None


def _integers(name: str, line: int, tokens: list[str], labels: tuple[str, ...]) -> list[int]:
    if len(tokens) != len(labels):
        _refuse(name, line, f"expected {' and '.join(labels)}; found {len(tokens)} fields")
    for token, label in zip(tokens, labels, strict=True):
        if not _is_integer(token) or not abs(int(token)) < 2**63:
            _refuse(name, line, f"{label} must be an integer of 64 bits; found {token!r}")
    return [int(token) for token in tokens]


def _floats(name: str, line: int, tokens: list[str]) -> NDArray[np.float64]:
    return np.array([_float(name, line, token) for token in tokens], dtype=np.float64)


def _float(name: str, line: int, token: str) -> float:
    try:
        value = float(token) if "_" not in token else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        _refuse(name, line, f"expected a finite number; found {token!r}")
    return value


def _refuse_first(name: str, entries: _Entries, wrong: NDArray[np.bool_], message: str) -> None:
    if wrong.any():
        _refuse(name, int(entries.numbers[np.argmax(wrong)]), message)


def _refuse(name: str, line: int | None, message: str) -> NoReturn:
    """Raise for the line at position ``line`` (counted from 0)."""
    place = name if line is None else f"{name}, line {line + 1}"
    raise ValueError(f"{place}: {message}")
