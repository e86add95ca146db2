"""Threads that share an array's rows, or that work in step: each does its share, waits for the others, and goes on.

The blocks that threads share do not depend on their number, and what these give is added up in their order, so
neither does any result.  What fits a cache need not go through memory, so one thread works block by block too.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from threading import Barrier, BrokenBarrierError
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

# Entries of one array in a block, a megabyte in double precision.
BLOCK_ENTRIES = 1 << 17

Result = TypeVar("Result")
Wait = Callable[[], object]
Matrix = NDArray[np.float64]


def lockstep(workers: int, work: Callable[[int, Wait], Result]) -> Result:
    """Call ``work(worker, barrier)`` on so many threads at once; return what the first returns.

    ``barrier()`` comes back when every thread has called it.  What one of them raises ends them all, and is raised.

    Examples
    --------
    >>> shares = [0, 0]
    >>> def work(worker, barrier):
    ...     shares[worker] = worker + 1
    ...     barrier()
    ...     return sum(shares)
    >>> lockstep(2, work)
    3
    """
    if workers == 1:
        return work(0, lambda: None)
    barrier = Barrier(workers)

    def guarded(worker: int) -> Result:
        try:
            return work(worker, barrier.wait)
        except BaseException:  # whatever ended this one, the others must not wait for it
            barrier.abort()
            raise

    with ThreadPoolExecutor(workers) as pool:
        try:
            tasks = [pool.submit(guarded, worker) for worker in range(workers)]
        except BaseException:  # an interrupt too: no thread may wait for one that was not started
            barrier.abort()
            raise
        # waited for in here, so that an interrupt leaves no thread at work behind
        errors = [task.exception() for task in tasks]
    for error in sorted(filter(None, errors), key=lambda error: isinstance(error, BrokenBarrierError)):
        raise error
    return tasks[0].result()


class RowBlocks:
    """The rows of arrays of one shape, in blocks.

    Parameters
    ----------
    rows, width : int
    workers : int
        Threads that share the blocks.
    whole : bool, optional
        Whether there must be one block only.

    Examples
    --------
    >>> tall = np.ones((1_000_000, 2))
    >>> RowBlocks(*tall.shape, workers=2).total(lambda rows: (tall[rows].T @ tall[rows],))[0].tolist()
    [[1000000.0, 1000000.0], [1000000.0, 1000000.0]]
    """

    def __init__(self, rows: int, width: int, workers: int, *, whole: bool = False) -> None:
        size = rows if whole else max(BLOCK_ENTRIES // max(width, 1), 1)
        self._blocks = [slice(first, min(first + size, rows)) for first in range(0, rows, size)]
        self._workers = max(min(workers, len(self._blocks)), 1)

    def map(self, work: Callable[[slice], Result]) -> list[Result]:
        """What the work on each block returns, in order."""
        if self._workers == 1:
            return [work(block) for block in self._blocks]
        with ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(work, self._blocks))

    def total(self, work: Callable[[slice], tuple[Matrix, ...]]) -> tuple[Matrix, ...]:
        """The sums of what the work on each block returns."""
        return reduce(lambda sums, terms: tuple(map(np.add, sums, terms)), self.map(work))
