"""Files that are whole at every moment: written beside the old one, then put in its place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the name ``path`` once all is written; the file there stays until then.

    Where the name is that of a device or a pipe, which nothing can replace, it is the path itself.

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
    path = path.resolve()
    if path.is_dir():
        raise IsADirectoryError(f"a file cannot be written in the place of the folder {path}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"a file cannot be written to {path}: there is no folder {path.parent}")
    if path.exists() and not path.is_file():
        yield path
        return
    # no other process or thread that writes the same file has this name
    beside = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        yield beside
        if path.exists():
            shutil.copymode(path, beside)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
