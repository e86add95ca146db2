"""Files that are whole at every moment: written beside the old one, then put in its place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["whole_file", "write_whole"]


@contextmanager
def whole_file(path: str | Path, *, one_writer: bool = False) -> Iterator[Path]:
    """A path to write to, which takes the name ``path`` once all is written; the file there stays until then.

    What was written has reached the disk (fsync) before it takes the name. Where the name is that of a device or a
    pipe, which nothing can replace, it is the path itself. With ``one_writer`` nobody else writes the same
    file, and what a killed process left beside it is taken over; otherwise that stays, and others may write too.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "answer.txt"
    >>> with whole_file(path) as beside:
    ...     _ = beside.write_text("42")
    ...     path.exists()
    False
    >>> path.read_text()
    '42'
    """
    # a link keeps pointing to what it points to
    path = Path(path).resolve()
    if path.is_dir():
        raise IsADirectoryError(f"a file cannot be written in the place of the folder {path}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"a file cannot be written to {path}: there is no folder {path.parent}")
    if path.exists() and not path.is_file():
        yield path
        return
    apart = "" if one_writer else f".{os.getpid()}.{os.urandom(4).hex()}"
    beside = path.with_name(f".{path.name}{apart}.tmp")
    try:
        yield beside
        if path.exists():
            shutil.copymode(path, beside)
        with beside.open("rb+") as written:
            os.fsync(written.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file of one writer: after a crash it holds what it held, or this content; OSError if that fails."""
    with whole_file(path, one_writer=True) as beside:
        beside.write_bytes(content)
