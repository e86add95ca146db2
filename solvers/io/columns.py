"""Columns of numbers out of lines of text: fast where all is well, and naming the line where it is not."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.io.text import Lines, is_integer, refuse, shown

# More digits than any index or count of 64 bits has; Python refuses to convert thousands of them.
_DIGITS = 30
# As most files write it.
_ZERO = frozenset({"0", "0.0", "-0", "-0.0"})


class Field(NamedTuple):
    """What an integer column holds: its name in messages, the numbers allowed, and where the highest comes from."""

    label: str
    low: int
    high: int
    source: str = ""


class Entries(NamedTuple):
    """Columns of the data lines: integers (fields, rows), values (rows,), positions of their lines (rows,)."""

    integers: NDArray[np.int64]
    values: NDArray[np.float64]
    numbers: NDArray[np.int64]

    def where(self, chosen: NDArray[np.bool_]) -> Entries:
        """The entries at which ``chosen`` is True."""
        return Entries(self.integers[:, chosen], self.values[chosen], self.numbers[chosen])


class Layout(NamedTuple):
    """How data lines read: a word that begins each (none: ""), integer fields, then a real value.

    Where the value is optional, a line without it means 1, and all lines must agree.  An exponent may be marked
    with D, as Fortran does.  ``separators`` is a table for `str.translate` that turns what else may stand between
    numbers into blanks.
    """

    fields: tuple[Field, ...]
    value_is_optional: bool = False
    word: str = ""
    separators: dict[int, str] | None = None


def read_entries(
    lines: Lines, layout: Layout, comments: tuple[str, ...] = (), limit: int | None = None
) -> Entries:
    """Parse the lines that are left, or the next ``limit`` of them, in memory of a few numbers a line."""
    parts: list[Entries] = []
    width = None
    count = 0
    for numbers, texts in lines.blocks(comments):
        if limit is not None and count + len(texts) > limit:
            keep = limit - count
            lines.put_back(numbers[keep:], texts[keep:])
            numbers, texts = numbers[:keep], texts[:keep]
        if layout.separators is not None:
            texts = [text.translate(layout.separators) for text in texts]
        tokens = [text.split() for text in texts]
        if tokens:
            width = _width(tokens[0], layout) if width is None else width
            parts.append(_parse_block(lines.name, numbers, tokens, layout, width))
            count += len(tokens)
        if count == limit:
            break
    if not parts:
        empty = np.zeros((len(layout.fields), 0), dtype=np.int64)
        return Entries(empty, np.zeros(0), np.zeros(0, dtype=np.int64))
    return Entries(
        np.concatenate([part.integers for part in parts], axis=1),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.numbers for part in parts]),
    )


def _width(first: list[str], layout: Layout) -> int:
    """Fields that every line must have, as the first one shows."""
    full = len(layout.fields) + 1 + bool(layout.word)
    return full - 1 if layout.value_is_optional and len(first) == full - 1 else full


def _parse_block(
    name: str, numbers: list[int], tokens: list[list[str]], layout: Layout, width: int
) -> Entries:
    if any(len(line) != width for line in tokens):
        bad = next(k for k, line in enumerate(tokens) if len(line) != width)
        refuse(name, numbers[bad], _wrong_width(layout, width, len(tokens[bad])))
    columns = list(zip(*tokens, strict=True))
    if layout.word:
        first, *columns = columns
        for number, word in zip(numbers, first, strict=True):
            if word != layout.word:
                refuse(name, number, f"expected a line that begins with {layout.word!r}; found {shown(word)}")
    parsed = [
        _index_column(name, field, column, numbers)
        for field, column in zip(layout.fields, columns, strict=False)
    ]
    has_values = len(columns) > len(layout.fields)
    values = _value_column(name, columns[-1], numbers) if has_values else np.ones(len(tokens))
    integers = np.array(parsed, dtype=np.int64).reshape(len(layout.fields), len(tokens))
    return Entries(integers, values, np.array(numbers, dtype=np.int64))


def _wrong_width(layout: Layout, width: int, found: int) -> str:
    names = ([layout.word] if layout.word else []) + [field.label for field in layout.fields]
    if width > len(names):
        names.append("value")
    return f"expected {width} fields ({', '.join(names)}); found {found}"


def _index_column(name: str, field: Field, column: tuple[str, ...], numbers: list[int]) -> list[int]:
    label, low, high, source = field
    try:
        values = list(map(int, column))
    except ValueError:
        values = []
    if (
        len(values) == len(column)
        and "_" not in "".join(column)
        and min(values) >= low
        and max(values) <= high
    ):
        return values
    for number, token in zip(numbers, column, strict=True):
        if not is_integer(token):
            refuse(name, number, f"{label} must be an integer; found {shown(token)}")
        if len(token) > _DIGITS or not low <= int(token) <= high:
            hint = " (indices start at 1)" if low == 1 and token.lstrip("+-").strip("0") == "" else source
            found = token if len(token) <= _DIGITS else shown(token)
            refuse(name, number, f"{label} must be from {low} to {high}; found {found}{hint}")
    raise AssertionError("a column was refused and no entry of it is wrong")


def _value_column(name: str, column: tuple[str, ...], numbers: list[int]) -> NDArray[np.float64]:
    try:
        values = np.array(list(map(float, column)), dtype=np.float64)
    except ValueError:
        values = None
    if values is not None and np.isfinite(values).all() and "_" not in "".join(column):
        # what float64 may not hold: large integers, and what comes out as zero
        for k in np.flatnonzero((np.abs(values) >= 2.0**53) | (values == 0)).tolist():
            if column[k] not in _ZERO:
                _refuse_unless_held(name, numbers[k], column[k], float(values[k]))
        return values
    return np.array([real(name, n, token) for n, token in zip(numbers, column, strict=True)])


def real(name: str, line: int, token: str) -> float:
    """A finite number, whose exponent may be marked with D."""
    try:
        value = float(token.replace("D", "E").replace("d", "e")) if "_" not in token else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        refuse(name, line, f"expected a finite number; found {shown(token)}")
    _refuse_unless_held(name, line, token, value)
    return value


def _refuse_unless_held(name: str, line: int, token: str, value: float) -> None:
    """Refuse integers that would be rounded, and numbers other than zero that would become it."""
    if is_integer(token) and int(token) != value:
        refuse(
            name,
            line,
            f"expected a number that float64 can represent; found the integer {shown(token)}: write {value!r} "
            "if it may be rounded",
        )
    digits = token.lower().replace("d", "e").split("e")[0]
    if value == 0 and digits.strip("+-0."):
        refuse(
            name,
            line,
            f"expected a number within the range of float64; found {shown(token)}, which is below it",
        )


def header(name: str, line: int, tokens: list[str], labels: tuple[str, ...]) -> list[int]:
    """Parse a line of as many integers as there are labels."""
    if len(tokens) != len(labels):
        refuse(name, line, f"expected {' and '.join(labels)}; found {len(tokens)} fields")
    for token, label in zip(tokens, labels, strict=True):
        if not is_integer(token) or len(token) > _DIGITS or not abs(int(token)) < 2**63:
            refuse(name, line, f"{label} must be an integer of 64 bits; found {shown(token)}")
    return [int(token) for token in tokens]


def symmetric_matrix(
    name: str, entries: Entries, order: int, what: str, *, mirrored: bool = False, first: int = 1
) -> sp.csr_array:
    """Symmetric matrix from the last two integer columns, each pair given once, on either side of the diagonal.

    With ``mirrored`` an entry and its mirror image may both be given, if they are equal.  Indices count from
    ``first``.
    """
    row, column = entries.integers[-2] - first, entries.integers[-1] - first
    if mirrored:
        same = row * order + column
        refuse_first(name, entries, _repeats(same), f"this {what} was given before")
    keys = np.minimum(row, column) * order + np.maximum(row, column)
    _, leader, place = np.unique(keys, return_index=True, return_inverse=True)
    again = leader[place] != np.arange(keys.shape[0])
    if mirrored:
        differs = again & (entries.values != entries.values[leader[place]])
        refuse_first(name, entries, differs, f"this {what} and its mirror image differ")
        entries, row, column = entries.where(~again), row[~again], column[~again]
    else:
        refuse_first(name, entries, again, f"this {what} was given before; each pair is listed once")
    off = row != column
    rows, columns = np.concatenate([row, column[off]]), np.concatenate([column, row[off]])
    values = np.concatenate([entries.values, entries.values[off]])
    return sp.csr_array((values, (rows, columns)), shape=(order, order))


def _repeats(keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    repeated = np.zeros(keys.shape[0], dtype=bool)
    repeated[later_duplicates(keys)] = True
    return repeated


def later_duplicates(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of the entries that repeat an earlier one."""
    _, first = np.unique(keys, return_index=True)
    return np.setdiff1d(np.arange(keys.shape[0]), first)


def refuse_first(name: str, entries: Entries, wrong: NDArray[np.bool_], message: str) -> None:
    """Raise for the first entry that is wrong, if any is."""
    if wrong.any():
        refuse(name, int(entries.numbers[np.argmax(wrong)]), message)
