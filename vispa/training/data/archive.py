"""A tar as names and bytes; one that ends too early is never taken for a whole one."""

from __future__ import annotations

import io
import lzma
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

# A tar ends with two blocks of zeros.
END = bytes(2 * tarfile.BLOCKSIZE)
CHUNK = 1 << 20


class Member(NamedTuple):
    """Where the bytes of a file are within a tar that is not compressed."""

    offset: int
    size: int

    def read(self, archive: Path) -> bytes:
        """Return the bytes."""
        with archive.open("rb") as stream:
            stream.seek(self.offset)
            content = stream.read(self.size)
        if len(content) < self.size:
            raise EOFError(f"{archive} ends within it")
        return content


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

    def keep(archive: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> None:
        content = archive.extractfile(member)
        assert content is not None  # it is None for what is no file
        files[name] = content.read()

    _visit(path, wanted, keep)
    return files


def index_tar(path: Path, wanted: Callable[[str], bool]) -> dict[str, Member]:
    """Return where the files whose names are wanted lie, by name; their contents are not read.

    Raises
    ------
    ValueError
        As `read_tar`, and if the archive is compressed, so that it can only be read from its beginning.
    OSError
        If it cannot be opened.
    """
    files: dict[str, Member] = {}

    def keep(archive: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> None:
        if not isinstance(archive.fileobj, io.BufferedReader):
            raise ValueError(
                f"{path} is compressed, so that its images cannot be read one by one; decompress or unpack it"
            )
        files[name] = Member(member.offset_data, member.size)

    _visit(path, wanted, keep)
    return files


def _visit(
    path: Path, wanted: Callable[[str], bool], keep: Callable[[tarfile.TarFile, tarfile.TarInfo, str], None]
) -> None:
    """Call ``keep`` for every file that is wanted, then make sure that the archive is whole."""
    last = "none"
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if member.isfile() and wanted(name):
                    keep(archive, member, name)
                last = member.name
            _check_end(archive)
    except (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the operating system's own words name the file
        raise ValueError(f"{path} is truncated or damaged (last whole file: {last}): {error}") from error


def _check_end(archive: tarfile.TarFile) -> None:
    """Look at the blocks after the last file, and read on, so that a compressed stream checks its sums."""
    stream = archive.fileobj
    assert stream is not None  # it is None once the archive is closed
    stream.seek(archive.offset)
    if stream.read(len(END)) != END:
        raise tarfile.ReadError("no end of archive after it")
    while stream.read(CHUNK):
        pass
