"""Lines of a text file, plain or compressed, read a block at a time and never beyond a limit."""

from __future__ import annotations

import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from os import PathLike, fspath
from pathlib import Path
from typing import IO, Any, NoReturn

from solvers.io.strangers import refuse_binary

FilePath = str | PathLike[str]

# Of text, decompressed: a hundred times the largest collection of benchmark graphs.
MAX_BYTES = 2**32
# One line: the right-hand side of an SDPA file is one, of ten million numbers and more.
MAX_LINE_BYTES = 2**28
_CHUNK = 2**20
# What is read to tell formats apart.
_HEAD_LINES = 1000
# A token that an error message quotes whole.
_SHOWN = 40
_MAGIC = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz"}
_UTF8_MARK = b"\xef\xbb\xbf"


class Lines:
    """Numbered lines of one ASCII file; each is handed out once, but the first ones can be looked at before.

    Parameters
    ----------
    path : str or path
        Plain text, gzip or xz, told apart by their first bytes.
    problem : int, optional
        Which problem is asked for, counted from 1, where a file holds several.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is empty, not ASCII text, damaged, or beyond the limits.

    Attributes
    ----------
    name : str
        The file's name, for messages.
    head : list of str
        The first thousand lines, or all there are.
    """

    def __init__(self, path: FilePath, problem: int | None = None) -> None:
        if not isinstance(path, (str, PathLike)):
            raise TypeError(f"path must be a string or a path; found {type(path).__name__}")
        self.name = fspath(path)
        if self.name.startswith(("http://", "https://", "ftp://")):
            raise ValueError(f"path must be of a file on this machine; found {self.name}: download it first")
        self.problem = problem
        self._file = Path(path).open("rb")  # noqa: SIM115  (closed by the context manager)
        self._pieces = _pieces(self.name, self._file)
        self._position = 0
        self.head: list[str] = []
        try:
            while len(self.head) < _HEAD_LINES and (piece := next(self._pieces, None)) is not None:
                self.head += piece
            if not any(line.strip() for line in self.head) and not self._more_text():
                raise ValueError(f"{self.name}: the file is empty")
        except BaseException:  # an interrupt too: nobody else could close the file
            self._file.close()
            raise
        self._waiting = self.head

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _more_text(self) -> bool:
        for piece in self._pieces:
            self.head += piece
            if any(line.strip() for line in piece):
                return True
        return False

    def blocks(self, comments: tuple[str, ...] = ()) -> Iterator[tuple[list[int], list[str]]]:
        """Positions and texts of the lines that are left and hold data, a block at a time.

        Blank lines and those that begin with one of ``comments`` are passed over.
        """
        while self._waiting or self._fill():
            block, first = self._waiting, self._position
            self._waiting, self._position = [], first + len(block)
            kept = [
                (first + i, text)
                for i, line in enumerate(block)
                if (text := line.strip()) and not (comments and text.startswith(comments))
            ]
            yield [i for i, _ in kept], [text for _, text in kept]

    def next_line(self, comments: tuple[str, ...] = ()) -> tuple[int, str] | None:
        """Position and text of the next line that holds data; None at the end of the file."""
        while self._waiting or self._fill():
            for i, line in enumerate(self._waiting):
                text = line.strip()
                if text and not (comments and text.startswith(comments)):
                    position = self._position + i
                    self._waiting = self._waiting[i + 1 :]
                    self._position = position + 1
                    return position, text
            self._position += len(self._waiting)
            self._waiting = []
        return None

    def put_back(self, positions: list[int], texts: list[str]) -> None:
        """Give back the lines that were handed out last."""
        if positions:
            block = [""] * (self._position - positions[0])
            for position, text in zip(positions, texts, strict=True):
                block[position - positions[0]] = text
            self._waiting = block + self._waiting
            self._position = positions[0]

    @property
    def position(self) -> int:
        """Position of the line that comes next."""
        return self._position

    def _fill(self) -> bool:
        piece = next(self._pieces, None)
        self._waiting = piece or []
        return piece is not None


def _pieces(name: str, file: IO[bytes]) -> Iterator[list[str]]:
    """Lists of whole lines, about a mebibyte each; LF, CR LF and CR end lines."""
    rest, seen, unfinished = "", 0, ""
    for chunk in _chunks(name, file):
        _check_text(name, chunk, seen)
        seen += len(chunk)
        if seen > MAX_BYTES:
            raise ValueError(f"{name}: the file holds more than {MAX_BYTES} bytes of text, the limit")
        text = unfinished + chunk.decode("ascii")
        # A CR at the end of a chunk may be half of a CR LF.
        unfinished = "\r" if text.endswith("\r") else ""
        text = text[: len(text) - len(unfinished)].replace("\r\n", "\n").replace("\r", "\n")
        *whole, last = text.split("\n")
        if whole:
            whole[0] = rest + whole[0]
            rest = last
            yield whole
        else:
            rest += last
        if len(rest) > MAX_LINE_BYTES:
            raise ValueError(f"{name}: a line is longer than {MAX_LINE_BYTES} bytes, the limit")
    yield [rest]


def _chunks(name: str, file: IO[bytes]) -> Iterator[bytes]:
    """Decompressed bytes without a UTF-8 byte-order mark."""
    start = file.peek(8)[:8] if hasattr(file, "peek") else b""
    packing = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)
    openers: dict[str, Callable[[IO[bytes]], Any]] = {"gzip": gzip.open, "xz": lzma.open}
    source = openers[packing](file) if packing else file
    try:
        first = source.read(_CHUNK)
        refuse_binary(name, first)
        yield first.removeprefix(_UTF8_MARK)
        while chunk := source.read(_CHUNK):
            yield chunk
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise ValueError(f"{name}: the {packing} file is damaged or cut off ({error})") from error


def _check_text(name: str, chunk: bytes, seen: int) -> None:
    if b"\0" in chunk:
        raise ValueError(f"{name}: not a text file; it holds NUL bytes")
    if not chunk.isascii():
        byte = seen + next(i for i, value in enumerate(chunk) if value > 127)
        raise ValueError(f"{name}: not a text file; byte {byte} is not ASCII")


def refuse(name: str, line: int | None, message: str) -> NoReturn:
    """Raise for the line at position ``line`` (counted from 0)."""
    place = name if line is None else f"{name}, line {line + 1}"
    raise ValueError(f"{place}: {message}")


def shown(token: str) -> str:
    """A token in quotes; a long one is cut, and its length told."""
    if len(token) <= _SHOWN:
        return repr(token)
    return f"{token[:_SHOWN]!r}... ({len(token)} characters)"


def is_integer(token: str) -> bool:
    """Whether a token is a plain decimal integer; Python's int() also takes underscores."""
    return re.fullmatch(r"[+-]?[0-9]+", token) is not None
