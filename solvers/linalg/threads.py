"""Threads that work in step: each does its share, waits for the others, and goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError
from typing import TypeVar

Result = TypeVar("Result")
Meet = Callable[[], object]


def together(workers: int, work: Callable[[int, Meet], Result]) -> Result:
    """Call ``work(worker, meet)`` on so many threads at once; return what the first returns.

    ``meet()`` comes back when every thread has called it.  What one of them raises ends them all, and is raised.

    Examples
    --------
    >>> shares = [0, 0]
    >>> def work(worker, meet):
    ...     shares[worker] = worker + 1
    ...     meet()
    ...     return sum(shares)
    >>> together(2, work)
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
