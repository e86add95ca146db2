"""Clarabel and SCS through CVXPY, each in the form it solves faster, in a process that can be ended."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import resource

from benchmarks.sdp.accuracy import measure
from benchmarks.sdp.clock import LONG_SECONDS, Timed, repeated
from benchmarks.sdp.instances import Instance, generated
from benchmarks.sdp.outcome import Outcome
from solvers import Solution, exact

# Beyond these orders a run takes minutes, or more memory than most machines have.
LARGEST = {"clarabel": 800, "scs": 250}
MEMORY_BYTES = 12 * 2**30
# For starting the process, importing CVXPY, and finishing the iteration during which the limit passed.
GRACE_SECONDS = 20.0


def run_conic(solver: str, instance: Instance, tol: float, limit: float) -> Outcome:
    """Time ``solvers.exact.shor``: CVXPY's compilation and the check of the result are part of it."""
    if instance.order > LARGEST[solver]:
        return Outcome(solver, None, note=f"not run above N = {LARGEST[solver]}")
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, solver, instance, tol, limit))
    process.start()
    sender.close()
    try:
        patience = LONG_SECONDS + limit + GRACE_SECONDS
        outcome: Outcome = receiver.recv() if receiver.poll(patience) else _ended(solver)
    except EOFError:
        outcome = Outcome(solver, None, note="the process died: out of memory")
    finally:
        process.kill()
        process.join()
    return outcome


def _ended(solver: str) -> Outcome:
    return Outcome(solver, None, note="did not heed its time limit")


def _work(
    sender: multiprocessing.connection.Connection, solver: str, instance: Instance, tol: float, limit: float
) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    exact(generated(9)[0].problem, solver=solver)
    try:
        timed: Timed[Solution] = repeated(
            lambda _: exact(instance.problem, solver=solver, tol=tol, max_seconds=limit)
        )
    except MemoryError:
        sender.send(Outcome(solver, None, note="out of memory"))
        return
    solution = timed.results[-1]
    reached = measure(instance, solution.factor, solution.dual)
    # its own stopping rule knows nothing of our gap: a result of the same order counts as finished
    done = solution.gap <= 10.0 * tol
    seconds = timed.median()
    sender.send(
        Outcome(
            solver,
            seconds.processor if done else None,
            seconds.wall if done else None,
            reached.value,
            reached.gap,
            reached.dense_gap,
            len(timed.results),
            "" if solution.gap <= tol else f"{solution.status.name.lower()}, {seconds.wall:.3g} s",
        )
    )
