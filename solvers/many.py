"""Many problems at once, over any executor of the standard library's kind."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from solvers import checks
from solvers.low_rank import low_rank
from solvers.problems.problem import BinaryQuadratic, Elliptope, MaxCut, Problem
from solvers.problems.solution import Solution, Status

# What solve_many itself decides, for every problem.
_OWN = ("problem", "rng", "max_seconds", "callback")


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one problem: a solution or an error, never both.

    Attributes
    ----------
    index : int
        Its place among the problems.
    solution : Solution or None
    error : BaseException or None
        What `low_rank` raised, TimeoutError where the time was up before the turn of this problem came, or
        CancelledError where the whole was stopped before.
    """

    index: int
    solution: Solution | None
    error: BaseException | None

    def unwrap(self) -> Solution:
        """The solution; raises the error where there is one."""
        if self.solution is None:
            assert self.error is not None
            raise self.error
        return self.solution


def solve_many(
    problems: Iterable[Problem],
    *,
    executor: Executor | None = None,
    rng: np.random.Generator | int | None = None,
    max_seconds: float | None = None,
    callback: Callable[[Outcome], None] | None = None,
    progress: bool | None = None,
    **options: Any,
) -> list[Outcome]:
    r"""Solve each problem by `low_rank`, on one's own or spread over an executor.

    Parameters
    ----------
    problems : iterable of BinaryQuadratic, MaxCut or Elliptope
    executor : concurrent.futures.Executor, optional
        Or anything with its `submit`: pools of threads or processes, Dask, MPI, Ray.  It is left running.  By
        default the problems are solved one after the other, here.
    rng : numpy Generator or seed, optional
        Every problem gets a generator of its own, spawned from this one: the results do not depend on the
        executor, nor on the order in which it finishes.
    max_seconds : float, optional
        Limit for all together.  Problems under way then return their best point so far; those that have not
        begun are given up.  Workers on other machines go by their own clocks.
    callback : callable, optional
        Called here with each `Outcome` as it comes in; raising StopIteration gives up what has not begun.
    progress : bool, optional
        Whether to show a bar on standard error; by default only on a terminal.
    **options
        Passed on to `low_rank`, the same for every problem: `tol`, `rank`, `certificate`, ...

    Returns
    -------
    list of Outcome
        One for each problem, in their order.  What goes wrong with one problem stands in its place and harms no
        other.

    Raises
    ------
    TypeError, ValueError
        For an argument of this function that does not fit, naming it.

    Notes
    -----
    KeyboardInterrupt gives up what has not begun and returns the rest.  A pool of processes needs problems that
    can be pickled, which every array form can.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> from solvers import MaxCut
    >>> graphs = [MaxCut(1.0 - np.eye(n)) for n in (3, 4, 5)]
    >>> with ThreadPoolExecutor(2) as pool:
    ...     outcomes = solve_many(graphs, executor=pool, rng=0)
    >>> [round(outcome.unwrap().report()["value"], 3) for outcome in outcomes]
    [2.25, 4.0, 6.25]

    On the processes, or the cluster, of Dask::

        with distributed.Client() as client, client.get_executor() as executor:
            outcomes = solve_many(graphs, executor=executor, rng=0)
    """
    if isinstance(problems, (BinaryQuadratic, MaxCut, Elliptope)):
        raise TypeError("problems must be several problems; found one. Pass [problem], or use low_rank")
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise TypeError(f"executor must have a method submit; found {type(executor).__name__}")
    if max_seconds is not None:
        max_seconds = checks.scalar("max_seconds", max_seconds, positive=True)
    checks.function("callback", callback)
    if progress is not None:
        progress = checks.boolean("progress", progress)
    _check_options(options)
    try:
        listed = list(problems)
    except TypeError as error:
        if isinstance(problems, Iterator):
            raise  # what goes wrong in a generator is the user's own
        raise TypeError(f"problems must be a list of problems; found {type(problems).__name__}") from error
    deadline = None if max_seconds is None else time.time() + max_seconds
    generators = checks.generator("rng", rng).spawn(len(listed))
    tasks = [
        _Task(index, problem, generator, deadline, options)
        for index, (problem, generator) in enumerate(zip(listed, generators, strict=True))
    ]
    stop = _Stop()
    outcomes = _in_turn(tasks, stop) if executor is None else _spread(tasks, executor, deadline, stop)
    return _collect(outcomes, len(tasks), stop, callback, progress)


@dataclass(frozen=True)
class _Task:
    """All that a worker needs."""

    index: int
    problem: Problem
    generator: np.random.Generator
    deadline: float | None
    options: dict[str, Any]


class _Stop:
    """Whether no further problem is to be begun."""

    asked = False


def _check_options(options: dict[str, Any]) -> None:
    allowed = [name for name in inspect.signature(low_rank).parameters if name not in _OWN]
    for name in options:
        if name not in allowed:
            raise TypeError(f"solve_many has no option {name!r}; those of low_rank are {', '.join(allowed)}")


def _run(task: _Task) -> Solution:
    """In a worker; the problem stays behind, because the caller has it."""
    return replace(_solve(task), problem=None)  # type: ignore[arg-type]  # until it is home


def _solve(task: _Task) -> Solution:
    left = None if task.deadline is None else task.deadline - time.time()
    if left is not None and left <= 0:
        error = _too_late(task).error
        assert error is not None
        raise error
    return low_rank(task.problem, rng=task.generator, max_seconds=left, **task.options)


def _in_turn(tasks: list[_Task], stop: _Stop) -> Iterator[Outcome]:
    for task in tasks:
        if stop.asked:
            yield _given_up(task)
            continue
        try:
            solution = _solve(task)
        except KeyboardInterrupt:
            stop.asked = True
            yield _given_up(task)
        except (SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # stands in the problem's place, even a panic of compiled code
            yield Outcome(task.index, None, error)
        else:
            stop.asked = solution.status is Status.INTERRUPTED
            yield Outcome(task.index, solution, None)


def _spread(tasks: list[_Task], executor: Executor, deadline: float | None, stop: _Stop) -> Iterator[Outcome]:
    pending: dict[Future[Solution], _Task] = {}
    try:
        for task in tasks:
            try:
                pending[executor.submit(_run, task)] = task
            except Exception as error:  # a pool that broke under an earlier problem takes no more
                yield Outcome(task.index, None, error)
        late = False
        while pending:
            late = late or (deadline is not None and time.time() >= deadline)
            if stop.asked or late:
                # what runs already cannot be cancelled: it ends by itself, at the deadline if there is one
                for future in [future for future in pending if future.cancel()]:
                    task = pending.pop(future)
                    yield _too_late(task) if late else _given_up(task)
            wakes = deadline is not None and not late
            try:
                timeout = max(deadline - time.time(), 0.0) if deadline is not None and wakes else None
                done = wait(pending, timeout=timeout, return_when=FIRST_COMPLETED).done
            except KeyboardInterrupt:
                stop.asked = True
                continue
            for future in done:
                yield _outcome(pending.pop(future), future)
    finally:
        # nothing is left but where the callback raised
        for future in pending:
            future.cancel()


def _outcome(task: _Task, future: Future[Solution]) -> Outcome:
    try:
        return Outcome(task.index, replace(future.result(), problem=task.problem), None)
    except BaseException as error:  # whatever ended the worker stands in the problem's place
        return Outcome(task.index, None, error)


def _too_late(task: _Task) -> Outcome:
    reason = "max_seconds passed before this problem's turn came: raise it, or use more workers"
    return Outcome(task.index, None, TimeoutError(reason))


def _given_up(task: _Task) -> Outcome:
    return Outcome(task.index, None, CancelledError("stopped before this problem's turn came"))


def _collect(
    outcomes: Iterator[Outcome],
    count: int,
    stop: _Stop,
    callback: Callable[[Outcome], None] | None,
    progress: bool | None,
) -> list[Outcome]:
    """In the order of the problems; the callback hears of them in the order in which they come."""
    from tqdm import tqdm

    collected: dict[int, Outcome] = {}
    shown = sys.stderr.isatty() if progress is None else progress
    with tqdm(total=count, file=sys.stderr, disable=not shown, unit=" problems", leave=False) as bar:
        for outcome in outcomes:
            collected[outcome.index] = outcome
            bar.update()
            if callback is not None and not stop.asked:
                try:
                    callback(outcome)
                except (StopIteration, KeyboardInterrupt):
                    stop.asked = True
    return [collected[index] for index in range(count)]
