"""Files that are whole at every moment."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write atomically: after a crash the path holds either what it held, or this content, whole.

    The bytes go to a temporary file beside it, reach the disk (fsync), and take the name by ``os.replace``.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    # Always the same name: what a killed process leaves behind, the next write takes over.
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
