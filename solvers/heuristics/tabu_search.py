"""Tabu search on the cube: walks from good points, and from what a pool of pool points makes of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from solvers import checks
from solvers.heuristics.local_search import explicit_form, pair_search
from solvers.heuristics.pool import Pool
from solvers.heuristics.result import SearchEnd, SearchMoment, SearchResult
from solvers.heuristics.tabu_walk import TabuWalk
from solvers.interrupts import HeldInterrupts
from solvers.problems.binary_form import BinaryForm, binary_form, frobenius_norm
from solvers.problems.problem import Elliptope, Problem, as_points, as_problem
from solvers.problems.solution import Certificate, Solution, relative_gap
from solvers.stop import Stop, tell

# Entries of A that one compiled call may touch, about: a few hundredths of a second between looks at the clock.
_CHUNK = 5_000_000
# Steps in vain, per sign, after which a walk ends.
PATIENCE = 5
# The bound counts as met within this relative gap.
_MET = 1e-9


def tabu_search(
    problem: Problem,
    signs: ArrayLike,
    *,
    max_seconds: float | None = None,
    max_iterations: int | None = None,
    solution: Solution | None = None,
    rng: np.random.Generator | int | None = None,
    callback: Callable[[SearchMoment], None] | None = None,
) -> SearchResult:
    r"""Improve points of the cube by one-flip tabu walks, restarted from a pool of the best ones.

    A walk makes the best flip that is not tabu, uphill too; a sign once flipped is tabu for 5 + n/100 steps and
    up to 9 more, drawn anew each time, unless its flip leads below everything that the walk has seen.  After 5 n
    steps in vain the next walk starts from two points of the pool, put together
    (`solvers.heuristics.pool`) and stirred.

    Parameters
    ----------
    problem : BinaryQuadratic, MaxCut or Elliptope
        Dense or sparse; a LinearOperator is formed densely, which is allowed up to n = 4096.
    signs : (n,) or (m, n) array_like
        Points to start from, as `round_homogeneous` finds them; not changed.
    max_seconds : float, optional
        Wall-clock limit.  The best point so far is kept, but which one that is depends on the machine.
    max_iterations : int, optional
        Limit on flips; by default 200 n, at least 10,000, unless ``max_seconds`` is given.
    solution : Solution, optional
        Of the same problem: its lower bound certifies the result, and ends the search where it is met.  Where
        4 A and 2 b hold integers, values are whole numbers apart, and a difference below 1 meets it.
    rng : numpy Generator or seed, optional
    callback : callable, optional
        Called with a `SearchMoment` between compiled steps; raising StopIteration ends the search.

    Returns
    -------
    SearchResult
        Never worse than the best of ``signs``.  The same seed and ``max_iterations`` give the same result where no
        other limit comes first.  KeyboardInterrupt returns the best point so far, also while the search is set
        up or its result made; a second one then is raised.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of its kind or out of range.

    Notes
    -----
    A step takes O(degree log n) time for a sparse A, O(n) for a dense one.  Glover (1989); Palubeckis (2004).

    Examples
    --------
    >>> from solvers import MaxCut, low_rank, tabu_search
    >>> pentagon = np.roll(np.eye(5), 1, axis=1)
    >>> problem = MaxCut(pentagon + pentagon.T)
    >>> found = tabu_search(problem, np.ones(5), solution=low_rank(problem, rng=0), rng=0)
    >>> found.value, found.status.name
    (-4.0, 'BOUND_MET')
    """
    form = explicit_form(binary_form(as_problem(problem)))
    points = as_points(signs, form.n).reshape(-1, form.n)
    if not points.shape[0]:
        raise ValueError("signs must hold at least one point; found none")
    if max_seconds is not None:
        max_seconds = checks.scalar("max_seconds", max_seconds, positive=True)
    if max_iterations is not None:
        max_iterations = checks.integer("max_iterations", max_iterations, minimum=1)
    elif max_seconds is None:
        max_iterations = max(10_000, 200 * form.n)
    checks.function("callback", callback)
    _check_solution(solution, problem)
    generator = checks.generator("rng", rng)
    with HeldInterrupts() as interrupts:
        search = _Search(form, points, solution, generator)
        status = search.run(max_seconds or math.inf, max_iterations, callback, interrupts)
        found = search.result(problem, status)
        return replace(found, status=SearchEnd.INTERRUPTED) if interrupts.asked else found


class _Search:
    """One search on its way: the pool, the walk, and the limits."""

    def __init__(
        self,
        form: BinaryForm,
        points: NDArray[np.float64],
        solution: Solution | None,
        generator: np.random.Generator,
    ) -> None:
        self.started = time.perf_counter()
        self.form, self.solution = form, solution
        self.polish = pair_search(form)
        self.walk = TabuWalk(form, generator)
        self.pool = Pool(form, self.walk.zero_diagonal, generator)
        self.target = -math.inf if solution is None else _target(form, solution)
        self.walks = 0
        starts = np.array(points, order="C")
        self.polish(starts)
        for start in starts:
            self.pool.add(start)
        self.starts = starts[np.argsort(form.evaluate(starts), kind="stable")]

    def run(
        self,
        max_seconds: float,
        max_iterations: int | None,
        callback: Callable[[SearchMoment], None] | None,
        interrupts: HeldInterrupts,
    ) -> SearchEnd:
        patience = 20 + PATIENCE * self.form.n
        chunk = max(1, _CHUNK // (64 + self.walk.mean_degree))
        try:
            with interrupts.released():
                self._walk(max_seconds, max_iterations, callback, patience, chunk)
        except Stop as stop:
            status = stop.status
        except KeyboardInterrupt:
            status = SearchEnd.INTERRUPTED
        if self.walks:
            self.pool.add(self.walk.best)
        return status

    def _walk(
        self,
        max_seconds: float,
        max_iterations: int | None,
        callback: Callable[[SearchMoment], None] | None,
        patience: int,
        chunk: int,
    ) -> NoReturn:
        """Walk from one start after the other, until something raises `Stop`."""
        while True:
            self._check(self.pool.best_value, max_seconds, max_iterations, callback)
            self.walk.start(self._next_start())
            self.walks += 1
            stalled = False
            while not stalled:
                left = chunk if max_iterations is None else max_iterations - self.walk.steps
                stalled = self.walk.advance(min(chunk, left), patience)
                if not stalled:
                    value = min(self.pool.best_value, self.walk.best_value)
                    self._check(value, max_seconds, max_iterations, callback)
            self.pool.add(self.pool.refine(self.walk.best))

    def result(self, problem: Problem, status: SearchEnd) -> SearchResult:
        best = self.pool.best.copy()[None, :]
        self.polish(best)
        signs = best[0] * (best[0, 0] if isinstance(problem, Elliptope) and problem.homogenised else 1.0)
        value = float(self.form.evaluate(signs[None, :])[0])
        bound, gap = None, None
        if self.solution is not None:
            bound = self.solution.lower_bound
            norm = frobenius_norm(problem.relaxation().unit().cost)
            gap = relative_gap(value - self.form.constant, bound - self.form.constant, norm)
        certificate: Certificate = "none" if self.solution is None else self.solution.certificate
        seconds = time.perf_counter() - self.started
        return SearchResult(
            signs.astype(np.int8),
            value,
            bound,
            gap,
            certificate,
            status,
            self.walk.steps,
            self.walks,
            seconds,
        )

    def _next_start(self) -> NDArray[np.float64]:
        """The given points first, best first; then offspring of the pool."""
        if self.walks < min(self.starts.shape[0], self.pool.capacity):
            return np.asarray(self.starts[self.walks])
        return self.pool.offspring()

    def _check(
        self,
        value: float,
        max_seconds: float,
        max_iterations: int | None,
        callback: Callable[[SearchMoment], None] | None,
    ) -> None:
        seconds = time.perf_counter() - self.started
        tell(callback, SearchMoment(self.walk.steps, value, self.walks, seconds), SearchEnd.INTERRUPTED)
        if value < self.target:
            raise Stop(SearchEnd.BOUND_MET)
        if max_iterations is not None and self.walk.steps >= max_iterations:
            raise Stop(SearchEnd.ITERATION_LIMIT)
        if seconds >= max_seconds:
            raise Stop(SearchEnd.TIME_LIMIT)


def _target(form: BinaryForm, solution: Solution) -> float:
    """Values below this meet the lower bound."""
    entries = form.A.data if sp.issparse(form.A) else form.A
    scale = max(abs(solution.lower_bound - form.constant), frobenius_norm(form.A))
    whole = _whole(4.0 * np.asarray(entries)) and _whole(2.0 * form.b) and scale < 2**40
    # An estimated bound is not exact to the last digit: a millionth of a unit is left for that.
    return solution.lower_bound + max(_MET * scale, 1.0 - 1e-6 if whole else 0.0)


def _whole(values: NDArray[np.float64]) -> bool:
    return bool(np.all(values == np.rint(values)))


def _check_solution(solution: Solution | None, problem: Problem) -> None:
    if solution is None:
        return
    if not isinstance(solution, Solution):
        raise TypeError(f"solution must be a Solution; found {type(solution).__name__}")
    if solution.problem is not problem:
        raise ValueError("solution must be of this very problem: its bound says nothing about another one")
