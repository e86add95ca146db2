"""What a file format is to the registry: a name, how to know it, how to read it, how to write it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from solvers.io.text import Lines, is_integer
from solvers.problems.problem import Problem

# Far beyond what fits in memory as edges; keeps a corrupt header from asking for an array of its size.
MAX_ORDER = 100_000_000


class Fit(enum.IntEnum):
    """How well the first lines of a file agree with a format."""

    NO = 0
    POSSIBLE = 1  # the layout is the format's, and another format's too; only a suffix or a name decides
    LIKELY = 2  # the format claims the file


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes
    ----------
    name : str
        As ``--format`` takes it.
    title : str
        What the file states, in a few words.
    suffixes : tuple of str
        In lower case, with their dots; .gz and .xz are taken off before.
    fit : callable
        From the first lines to a `Fit`.
    read : callable
        From `Lines` to a problem.
    write : callable
        From a problem to the lines of a file; raises where the format cannot state the problem.
    holds_several : bool
        Whether one file may hold several problems, asked for as ``name:3``.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    fit: Callable[[list[str]], Fit]
    read: Callable[[Lines], Problem]
    write: Callable[[Problem], Iterator[str]]
    holds_several: bool = False


def data_lines(head: list[str], comments: tuple[str, ...]) -> Iterator[list[str]]:
    """Tokens of the lines that are neither blank nor comments."""
    for line in head:
        text = line.strip()
        if text and not text.startswith(comments):
            yield text.split()


def all_integers(tokens: list[str], count: int) -> bool:
    """Whether the tokens are that many plain integers."""
    return len(tokens) == count and all(map(is_integer, tokens))
