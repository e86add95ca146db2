"""Problems out of files and into them: one call each for every format."""

from __future__ import annotations

import gzip
import itertools
import lzma
import re
from collections.abc import Iterator
from contextlib import contextmanager
from os import fspath
from pathlib import Path
from typing import IO

from solvers.io.registry import FORMATS, format_named, formats_by_suffix, recognise
from solvers.io.text import FilePath, Lines
from solvers.problems.problem import Elliptope, MaxCut, Problem, as_problem
from solvers.whole_file import whole_file

_NUMBERED = re.compile(r"(.+):([0-9]{1,9})", re.DOTALL)


def read_problem(path: FilePath, *, format: str | None = None) -> Problem:
    """Read a problem from a file, plain or compressed by gzip or xz.

    Parameters
    ----------
    path : str or path
        ``bqp50.txt:3`` is the third problem of a file that holds several.
    format : str, optional
        One of rudy, sdpa, biqmac, or-library, qbsolv, mqlib-maxcut, mqlib-qubo, mtx-graph, mtx-qubo, dimacs.  By
        default suffix and content decide: a list ``n m``, ``i j value`` with no telling suffix is a graph (rudy),
        unless it has entries on the diagonal.

    Returns
    -------
    MaxCut, BinaryQuadratic or Elliptope
        For a maximisation over {0, 1} a BinaryQuadratic with ``maximised=True``.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is not what its format demands, with file name and line number, or if its format cannot be told,
        with the readings that are left.

    See Also
    --------
    write_problem, read_rudy, read_sdpa
    """
    return read_with_format(path, format=format)[0]


def read_with_format(path: FilePath, *, format: str | None = None) -> tuple[Problem, str]:
    """The problem of a file, and the name of the format it was read in."""
    chosen = None if format is None else format_named(format)
    file, number = _split_number(path)
    with Lines(file, number) as lines:
        if chosen is None:
            chosen = recognise(lines.name, lines.head)
        if number is not None and not chosen.holds_several:
            raise ValueError(
                f"{lines.name}: {chosen.name} files hold one problem; found problem {number} asked for"
            )
        return chosen.read(lines), chosen.name


def _split_number(path: FilePath) -> tuple[FilePath, int | None]:
    """Take ``:3`` off a name, unless a file has that name."""
    if not isinstance(path, str) or Path(path).exists():
        return path, None
    match = _NUMBERED.fullmatch(path)
    return (match[1], int(match[2])) if match and Path(match[1]).exists() else (path, None)


def write_problem(problem: Problem, path: FilePath, *, format: str | None = None) -> None:
    """Write a problem to a file, compressed if its name ends in .gz or .xz.

    Numbers are written so that they read back exactly.

    Parameters
    ----------
    problem : MaxCut, BinaryQuadratic or Elliptope
    path : str or path
        Replaced if it exists.
    format : str, optional
        As for `read_problem`; by default the suffix decides.

    Raises
    ------
    OSError
        If the file cannot be written; one that was there stays as it was.
    TypeError, ValueError
        If the format cannot state the problem, or the suffix names no format.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from solvers import MaxCut, read_problem, write_problem
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "triangle.mtx.gz"
    ...     write_problem(MaxCut([[0, 1, 1], [1, 0, 1], [1, 1, 0]]), path, format="mtx-graph")
    ...     read_problem(path).n
    3
    """
    as_problem(problem)
    name = fspath(path)
    if format is not None:
        chosen = format_named(format)
    else:
        found = formats_by_suffix(name)
        if len(found) != 1:
            what = (
                f"the suffix names {' and '.join(each.name for each in found)}"
                if found
                else "no known suffix"
            )
            raise ValueError(f"{name}: {what}; pass format=, one of {', '.join(FORMATS)}")
        chosen = found[0]
    lines = chosen.write(problem)
    # What cannot be stated is refused with the first line, before the file is touched.
    first = next(lines)
    with whole_file(Path(name)) as beside, _opened(beside, name) as file:
        file.writelines(f"{line}\n".encode("ascii") for line in itertools.chain([first], lines))


@contextmanager
def _opened(path: Path, name: str) -> Iterator[IO[bytes] | gzip.GzipFile | lzma.LZMAFile]:
    """A file to write to, compressed as the name asks for that it will have."""
    with path.open("wb") as plain:
        if name.endswith(".gz"):
            with gzip.GzipFile(name, "wb", fileobj=plain) as packed:
                yield packed
        elif name.endswith(".xz"):
            with lzma.open(plain, "wb") as packed:
                yield packed
        else:
            yield plain


def read_rudy(path: FilePath) -> MaxCut:
    r"""Read a graph: first line ``n m``, then m lines ``i j weight``, or ``i j`` for weight 1, vertices 1 to n.

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
    problem = read_problem(path, format="rudy")
    assert isinstance(problem, MaxCut)
    return problem


def read_sdpa(path: FilePath) -> Elliptope:
    r"""Read max <F_0, Y> over PSD Y with a fixed diagonal, from an SDPA sparse file.

    Of SDPA's programs, max <F_0, Y> subject to <F_i, Y> = c_i, those are accepted that have one block and
    whose F_i = f_i E_pp fix each diagonal entry of Y to a positive number c_i / f_i, once, in any order.
    Numbers may be separated by commas and brackets, c may take several lines, exponents may be marked with D, an
    entry of F_0 may be given with its equal mirror image, and text may follow the numbers of the header.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Elliptope
        With cost -F_0 and ``maximised=True``; its `diagonal` holds the c_i / f_i, rounded to float64.

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
    problem = read_problem(path, format="sdpa")
    assert isinstance(problem, Elliptope)
    return problem
