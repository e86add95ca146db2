"""A tar as names and bytes; one that ends too early is never taken for a whole one."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

# A tar ends with two blocks of zeros.
END = bytes(2 * tarfile.BLOCKSIZE)
CHUNK = 1 << 20


def read_tar(path: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Return the contents of the files whose names are wanted, by name.

    Links and devices are passed over, nothing is written to disk.

    Raises
    ------
    ValueError
        Naming the archive, and the last file that was whole: it is truncated, damaged, or no tar.
    OSError
        If it cannot be opened.

    Notes
    -----
    `tarfile` itself stops without a word at a damaged header and at a cut between two files.
    """
    files: dict[str, bytes] = {}
    last = "none"
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and wanted(member.name.removeprefix("./")):
                    content = archive.extractfile(member)
                    assert content is not None  # it is None for what is no file
                    files[member.name.removeprefix("./")] = content.read()
                last = member.name
            _check_end(archive)
    except (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the operating system's own words name the file
        raise ValueError(f"{path} is truncated or damaged (last whole file: {last}): {error}") from error
    return files


def _check_end(archive: tarfile.TarFile) -> None:
    """Look at the blocks after the last file, and read on, so that a compressed stream checks its sums."""
    stream = archive.fileobj
    assert stream is not None  # it is None once the archive is closed
    stream.seek(archive.offset)
    if stream.read(len(END)) != END:
        raise tarfile.ReadError("no end of archive after it")
    while stream.read(CHUNK):
        pass
