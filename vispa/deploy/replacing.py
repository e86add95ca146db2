"""Writing a file whole or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing"]


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path beside another, for a file that takes its place once it is written; whatever goes wrong, it is gone.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "numbers"
    >>> with replacing(path) as written:
    ...     size = written.write_text("1 2 3")
    >>> path.read_text(), len(list(path.parent.iterdir()))
    ('1 2 3', 1)
    """
    goal = Path(path)
    if goal.is_dir():
        raise IsADirectoryError(f"path must be a file; {goal} is a folder")
    if not goal.parent.is_dir():
        raise FileNotFoundError(f"path must be in a folder that exists; found none at {goal.parent}")
    beside = goal.with_name(f".{goal.name[:80]}.{uuid.uuid4().hex[:12]}")
    try:
        yield beside
        beside.replace(goal)
    finally:
        beside.unlink(missing_ok=True)
