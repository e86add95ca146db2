"""Columns of numbers out of lines of text: fast where all is well, and naming the line where it is not."""

from __future__ import annotations

import math
import re
from os import PathLike, fspath
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

FilePath = str | PathLike[str]


class Entries(NamedTuple):
    """Columns of the data lines: integers (fields, rows), values (rows,), positions of their lines (rows,)."""

    integers: NDArray[np.int64]
    values: NDArray[np.float64]
    numbers: NDArray[np.int64]


def read_lines(path: FilePath) -> list[str]:
    """Return the lines of an ASCII file that is not empty."""
    if not isinstance(path, (str, PathLike)):
        raise TypeError(f"path must be a string or a path; found {type(path).__name__}")
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


def occupied_lines(lines: list[str]) -> list[int]:
    """Positions of the lines that hold anything; a file that is not empty has some."""
    return [i for i, line in enumerate(lines) if line.strip()]


def parse_entries(
    name: str, lines: list[str], rows: list[int], labels: tuple[str, ...], order: int
) -> Entries:
    """Integer columns named by ``labels``, then one real column, from the lines at ``rows``."""
    width = len(labels) + 1
    tokens = [lines[i].split() for i in rows]
    if any(len(line) != width for line in tokens):
        bad = next(k for k, line in enumerate(tokens) if len(line) != width)
        fields = ", ".join(labels)
        refuse(name, rows[bad], f"expected {width} fields ({fields}, value); found {len(tokens[bad])}")
    numbers = np.array(rows, dtype=np.int64)
    columns = list(zip(*tokens, strict=True)) if tokens else [()] * width
    limits = [_limits(label, order) for label in labels]
    parsed = [
        _index_column(name, label, column, rows, bounds)
        for label, column, bounds in zip(labels, columns, limits, strict=False)
    ]
    return Entries(np.array(parsed, dtype=np.int64), _value_column(name, columns[-1], rows), numbers)


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
        if not is_integer(token):
            refuse(name, row, f"{label} must be an integer; found {token!r}")
        # Python refuses to convert thousands of digits.
        if len(token) > 30 or not low <= int(token) <= high:
            hint = " (indices start at 1)" if low == 1 and token.lstrip("+-").strip("0") == "" else ""
            refuse(name, row, f"{label} must be from {low} to {high}; found {token}{hint}")
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


def symmetric_matrix(
    name: str,
    entries: Entries,
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    order: int,
    what: str,
) -> sp.csr_array:
    """Symmetric matrix from one triangle's entries, each given once, on either side of the diagonal."""
    keys = np.minimum(row, column) * order + np.maximum(row, column)
    repeated = np.zeros(keys.shape[0], dtype=bool)
    repeated[later_duplicates(keys)] = True
    refuse_first(name, entries, repeated, f"this {what} was given before")
    off = row != column
    rows, columns = np.concatenate([row, column[off]]), np.concatenate([column, row[off]])
    values = np.concatenate([entries.values, entries.values[off]])
    return sp.csr_array((values, (rows, columns)), shape=(order, order))


def later_duplicates(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of the entries that repeat an earlier one."""
    _, first = np.unique(keys, return_index=True)
    return np.setdiff1d(np.arange(keys.shape[0]), first)


def is_integer(token: str) -> bool:
    """Whether a token is a plain decimal integer; Python's int() also takes underscores."""
    return re.fullmatch(r"[+-]?[0-9]+", token) is not None


def integers(name: str, line: int, tokens: list[str], labels: tuple[str, ...]) -> list[int]:
    """Parse a line of as many integers as there are labels."""
    if len(tokens) != len(labels):
        refuse(name, line, f"expected {' and '.join(labels)}; found {len(tokens)} fields")
    for token, label in zip(tokens, labels, strict=True):
        if not is_integer(token) or len(token) > 30 or not abs(int(token)) < 2**63:
            refuse(name, line, f"{label} must be an integer of 64 bits; found {token!r}")
    return [int(token) for token in tokens]


def floats(name: str, line: int, tokens: list[str]) -> NDArray[np.float64]:
    """Parse finite numbers."""
    return np.array([_float(name, line, token) for token in tokens], dtype=np.float64)


def _float(name: str, line: int, token: str) -> float:
    try:
        value = float(token) if "_" not in token else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        refuse(name, line, f"expected a finite number; found {token!r}")
    return value


def refuse_first(name: str, entries: Entries, wrong: NDArray[np.bool_], message: str) -> None:
    """Raise for the first entry that is wrong, if any is."""
    if wrong.any():
        refuse(name, int(entries.numbers[np.argmax(wrong)]), message)


def refuse(name: str, line: int | None, message: str) -> NoReturn:
    """Raise for the line at position ``line`` (counted from 0)."""
    place = name if line is None else f"{name}, line {line + 1}"
    raise ValueError(f"{place}: {message}")
