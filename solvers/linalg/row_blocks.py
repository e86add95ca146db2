"""Work on tall arrays piece by piece: what fits a cache need not go through memory, and threads share the pieces.

The pieces do not depend on the number of threads, and what they give is added up in their order, so neither does
any result.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

# Entries of one array in a piece, a megabyte in double precision.
PIECE = 1 << 17

Result = TypeVar("Result")
Matrix = NDArray[np.float64]


class RowPieces:
    """The rows of arrays of one shape, in pieces.

    Parameters
    ----------
    rows, width : int
    workers : int
        Threads that share the pieces.
    whole : bool, optional
        Whether there must be one piece only.

    Examples
    --------
    >>> tall = np.ones((1_000_000, 2))
    >>> RowPieces(*tall.shape, workers=2).total(lambda rows: (tall[rows].T @ tall[rows],))[0].tolist()
    [[1000000.0, 1000000.0], [1000000.0, 1000000.0]]
    """

    def __init__(self, rows: int, width: int, workers: int, *, whole: bool = False) -> None:
        size = rows if whole else max(PIECE // max(width, 1), 1)
        self._pieces = [slice(first, min(first + size, rows)) for first in range(0, rows, size)]
        self._workers = max(min(workers, len(self._pieces)), 1)

    def map(self, work: Callable[[slice], Result]) -> list[Result]:
        """What the work on each piece returns, in order."""
        if self._workers == 1:
            return [work(piece) for piece in self._pieces]
        with ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(work, self._pieces))

    def total(self, work: Callable[[slice], tuple[Matrix, ...]]) -> tuple[Matrix, ...]:
        """The sums of what the work on each piece returns."""
        return reduce(lambda sums, terms: tuple(map(np.add, sums, terms)), self.map(work))
