"""Branch and bound: the optimum of a binary quadratic problem, proved."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import get_context
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from solvers import checks
from solvers.branching import checkpoint as checkpoints
from solvers.branching.bounding import Bounded, bound_node
from solvers.branching.first_point import first_point
from solvers.branching.node import root_node
from solvers.branching.records import TreeMoment
from solvers.branching.result import ProvedSolution, TreeEnd
from solvers.branching.tree import Tree
from solvers.cuts.tighten import Tuning, start_factor
from solvers.linalg.blas_threads import limit_blas_threads, one_blas_thread
from solvers.problems.binary_form import frobenius_norm
from solvers.problems.integer_form import IntegerForm, integer_form
from solvers.problems.problem import Problem, as_problem
from solvers.problems.solution import relative_gap

_log = logging.getLogger(__name__)

# Where data are not whole numbers, optimality is proved to this relative gap, if none is asked for.
REAL_GAP = 1e-7
# Seconds between checkpoints.
CHECKPOINT_SECONDS = 30.0
# Nodes handed out for each worker, so that none waits.
AHEAD = 2


def branch_and_bound(
    problem: Problem,
    *,
    gap: float = 0.0,
    max_seconds: float | None = None,
    workers: int | Executor = 1,
    checkpoint: str | PathLike[str] | None = None,
    proof: bool = False,
    callback: Callable[[TreeMoment], None] | None = None,
    rng: np.random.Generator | int | None = None,
) -> ProvedSolution:
    r"""The optimum of a binary quadratic problem with a proof, by branch and bound on semidefinite bounds.

    A node's bound is Shor's relaxation with clique inequalities over three, five and seven vertices, optimised
    by an augmented Lagrangian over unit rows and proved by a Cholesky factorisation with error bounds
    (`solvers.cuts.tighten`).  A node is ended where its bound excludes every value below the best one known,
    whose steps the data decide: whole numbers have steps.  Other nodes are split by tying two signs, equal or
    opposite.

    Parameters
    ----------
    problem : BinaryQuadratic, MaxCut or Elliptope
        With n <= 3,000; dense ones are proved up to n = 100 or so in seconds to minutes.
    gap : float, optional
        Relative gap (value - bound) / max(\|value - constant\|, \|C\|_F) to prove.  With 0, the default, the
        optimum is exact where the data are whole numbers below 2^31 up to a common factor, and proved to a gap
        of 1e-7 where they are not; `ProvedSolution.gap` is what was reached.
    max_seconds : float, optional
        Wall-clock limit.
    workers : int or concurrent.futures.Executor, optional
        Processes that bound nodes, or an executor that does.  With 1, the default, nodes are bounded in turn
        and the same seed gives the same tree.  With more, trees differ from run to run, optima do not.
    checkpoint : path, optional
        A file that the search is saved to at once, every half minute and where it stops early.  Where it exists
        already the search goes on from there, to the same tree that it would have grown without the break.
    proof : bool, optional
        Keep what proves each node, for `ProvedSolution.write_proof`.
    callback : callable, optional
        Called with a `TreeMoment` after every node; raising StopIteration ends the search.
    rng : numpy Generator or seed, optional
        Of the tabu search for the first point, and of the rows to start from.

    Returns
    -------
    ProvedSolution
        KeyboardInterrupt returns what is known so far.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of its kind or out of range, or a checkpoint is of another problem.
    OSError
        If the checkpoint cannot be written, before any node is bounded.

    Notes
    -----
    A round of a node of order N takes some dozens of products of N x N and N x N/4 matrices; the root takes some
    twenty rounds, most other nodes one to five.  BLAS is kept to one thread meanwhile, if threadpoolctl is there.
    Rendl, Rinaldi and Wiegele (2010) for the tree; Burer and Monteiro (2003) for the bounds.

    Examples
    --------
    >>> from solvers import MaxCut
    >>> pentagon = np.roll(np.eye(5), 1, axis=1)
    >>> solution = branch_and_bound(MaxCut(pentagon + pentagon.T), rng=0)
    >>> solution.value, solution.lower_bound, solution.status.name
    (-4.0, -4.0, 'OPTIMAL')
    """
    problem = as_problem(problem)
    gap = checks.scalar("gap", gap, minimum=0.0)
    if max_seconds is not None:
        max_seconds = checks.scalar("max_seconds", max_seconds, positive=True)
    checks.function("callback", callback)
    if checkpoint is not None:
        checkpoint = checks.file_path("checkpoint", checkpoint)
    record = checks.boolean("proof", proof)
    if not callable(getattr(workers, "submit", None)):
        workers = checks.integer("workers", workers, minimum=1)
    generator = checks.generator("rng", rng)
    form = integer_form(problem)
    search = _Search(problem, form, gap, record, generator, max_seconds)
    if checkpoint is not None:
        search.resume(checkpoint)
    found = search.result(search.run(workers, callback))
    _log.info(
        "%s: value %.9g, gap %.3g, %d nodes, %d open, %.3f seconds", found.status.name.lower(), found.value,
        found.gap, found.nodes, found.open_nodes, found.seconds,
    )  # fmt: skip
    return found


class _Stop(Exception):  # a request, not an error
    def __init__(self, status: TreeEnd) -> None:
        super().__init__(status.name)
        self.status = status


class _Search:
    """One search on its way: the tree, the clock and the checkpoint."""

    def __init__(
        self,
        problem: Problem,
        form: IntegerForm,
        gap: float,
        record: bool,
        generator: np.random.Generator,
        max_seconds: float | None,
    ) -> None:
        self.started = time.time()
        self.deadline = math.inf if max_seconds is None else self.started + max_seconds
        self.problem, self.gap = problem, gap
        self.norm = frobenius_norm(problem.relaxation().unit().cost)
        self.path: Path | None = None
        self.saved = self.started
        point, self.interrupted = first_point(form, generator)
        root = root_node(start_factor(form.order, generator))
        allowed = self._allowed(form, form.energy(point), gap)
        self.tree = Tree(form, root, point, gap=gap, allowed=allowed, record=record)

    def _allowed(self, form: IntegerForm, energy: int, gap: float) -> float:
        """The gap in units of energy; what rounding the weights has cost is part of it."""
        wanted = gap if form.exact else max(gap, REAL_GAP)
        scale = max(abs(form.objective(energy) - _constant(self.problem)), self.norm)
        return max(wanted * scale / float(form.unit) - 2.0 * form.error, 2.0 * form.error)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint where there is one, and write there from now on."""
        if path.exists():
            self.started -= checkpoints.load(self.tree, path)
        self.path = path
        # what cannot be written is better known now than after hours
        self._save(path)

    def run(self, workers: int | Executor, callback: Callable[[TreeMoment], None] | None) -> TreeEnd:
        """Bound nodes until none is open, or something else comes first."""
        try:
            if self.interrupted:
                return self._break_off(TreeEnd.INTERRUPTED)
            if workers == 1:
                with one_blas_thread():
                    self._in_turn(callback)
            else:
                with _executor(workers) as (executor, width):
                    self._spread(executor, width, callback)
            if self.path is not None:
                self._save(self.path)
        except _Stop as stop:
            return self._break_off(stop.status)
        except KeyboardInterrupt:
            return self._break_off(TreeEnd.INTERRUPTED)
        return TreeEnd.OPTIMAL if self.gap == 0.0 else TreeEnd.GAP_REACHED

    def _in_turn(self, callback: Callable[[TreeMoment], None] | None) -> None:
        while self.tree.open:
            self._check_time()
            self._take(bound_node(self.tree.next_task(self.deadline, Tuning())), callback)

    def _spread(self, executor: Executor, width: int, callback: Callable[[TreeMoment], None] | None) -> None:
        running: set[Future[Bounded]] = set()
        ready = executor.submit(_ready)
        try:
            # processes take seconds to start
            with one_blas_thread():
                while self.tree.open and not ready.done():
                    self._check_time()
                    self._take(bound_node(self.tree.next_task(self.deadline, Tuning())), callback)
            while self.tree.open or running:
                self._check_time()
                while self.tree.open and len(running) < width:
                    running.add(executor.submit(bound_node, self.tree.next_task(self.deadline, Tuning())))
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    self._take(future.result(), callback)
        finally:
            ready.cancel()
            for future in running:
                future.cancel()

    def _take(self, outcome: Bounded, callback: Callable[[TreeMoment], None] | None) -> None:
        moment = self.tree.take(outcome, time.time() - self.started)
        if self.path is not None and time.time() - self.saved > CHECKPOINT_SECONDS:
            self._save(self.path)
        if callback is not None:
            try:
                callback(moment)
            except StopIteration:
                raise _Stop(TreeEnd.INTERRUPTED) from None

    def _check_time(self) -> None:
        if time.time() >= self.deadline:
            raise _Stop(TreeEnd.TIME_LIMIT)

    def _break_off(self, status: TreeEnd) -> TreeEnd:
        self.tree.give_back()
        if self.path is not None:
            self._save(self.path)
        return status

    def _save(self, path: Path) -> None:
        checkpoints.save(self.tree, path, time.time() - self.started)
        self.saved = time.time()

    def result(self, status: TreeEnd) -> ProvedSolution:
        """What is known."""
        tree = self.tree
        signs = tree.form.signs_of(tree.point)
        exact = tree.form.exact
        value = tree.form.objective(tree.best) if exact else _minimised(self.problem, signs)
        bound = min(tree.objective_bound(), value)
        constant = _constant(self.problem)
        # value and bound are a rounding apart where the optimum is not a float64
        proved = bound == value or (exact and tree.lower_bound == tree.best)
        gap = 0.0 if proved else relative_gap(value - constant, bound - constant, self.norm)
        return ProvedSolution(
            self.problem,
            signs,
            value,
            bound,
            gap,
            "rigorous" if math.isfinite(bound) else "none",
            status,
            len(tree.bounded),
            len(tree.open),
            time.time() - self.started,
            tuple(tree.history),
            tuple(tree.bounded),
            tree.form,
        )


def _constant(problem: Problem) -> float:
    return float(problem.relaxation().constant)


def _minimised(problem: Problem, signs: NDArray[np.int8]) -> float:
    value = float(problem.evaluate(signs))
    return -value if problem.relaxation().maximised else value


def _ready() -> None:
    """What a worker does first: nothing, once it has imported this."""


@contextmanager
def _executor(workers: int | Executor) -> Iterator[tuple[Executor, int]]:
    """The executor, and how many nodes to hand out at a time."""
    if isinstance(workers, int):
        # forked processes would inherit the threads of numerical libraries
        context = get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=limit_blas_threads) as pool:
            yield pool, AHEAD * workers
    else:
        yield workers, AHEAD * (os.cpu_count() or 1)
