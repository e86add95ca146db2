"""Search and bound the rows of one layer, some at a time on every thread, until all are done or time is up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from solvers import checks
from vispa.quantization.layer_problem import LayerProblem, Matrix
from vispa.quantization.relaxation import Row, joint_bound, least_image_norm, scale_bound
from vispa.quantization.result import BinaryLayer
from vispa.quantization.scales import group_borders, spread
from vispa.quantization.search import STARTS, Best, Searcher, Work

Vector = NDArray[np.float64]

# Rows searched at a time by a thread: few, so that a limit is noticed soon.
ROWS_AT_ONCE = 8
# Relaxations solved in turn, each at the scales that the last one's roundings led to.
MAX_RESCALED = 3
# Between the scales at which a row is relaxed for further starts.
APART = 0.1


class Options(NamedTuple):
    """What `binary_layer` was asked for, checked."""

    group: int | None
    effort: float
    relaxations: int
    bounds: bool
    workers: int
    max_seconds: float | None
    callback: Callable[[int, int], None] | None

    @classmethod
    def checked(
        cls,
        *,
        group: int | None = None,
        effort: float = 1.0,
        relaxations: int = 0,
        bounds: bool = False,
        workers: int | None = None,
        max_seconds: float | None = None,
        callback: Callable[[int, int], None] | None = None,
    ) -> Options:
        """Refuse what does not fit, by name."""
        return cls(
            None if group is None else checks.integer("group", group, minimum=1),
            checks.scalar("effort", effort, positive=True),
            checks.integer("relaxations", relaxations, minimum=0),
            checks.boolean("bounds", bounds),
            os.cpu_count() or 1 if workers is None else checks.integer("workers", workers, minimum=1),
            None if max_seconds is None else checks.scalar("max_seconds", max_seconds, positive=True),
            checks.function("callback", callback),
        )


class _Rows(NamedTuple):
    """Some rows done: their signs, scales and starts, and bounds where asked for."""

    rows: slice
    best: Best
    bounds: Matrix


def fit_layer(
    problem: LayerProblem, options: Options, given: Matrix | None, rng: np.random.Generator
) -> BinaryLayer:
    """The layer's signs and scales, as `binary_layer` promises them."""
    began = time.perf_counter()
    deadline = np.inf if options.max_seconds is None else began + options.max_seconds
    rows, columns = problem.weights.shape
    borders = group_borders(columns, options.group)
    signs = np.where(problem.weights >= 0.0, 1.0, -1.0)
    # where no input tells, the weights do
    scales = np.add.reduceat(np.abs(problem.weights), borders[:-1], axis=1) / np.diff(borders)
    winner = np.zeros(rows, dtype=np.int64)
    bounds = np.zeros((2, rows))
    live = np.flatnonzero(np.diagonal(problem.gram) > 0.0)
    finished = True
    if live.size:
        groups, counts = np.unique(np.searchsorted(borders, live, side="right") - 1, return_counts=True)
        fit = _Fit(
            problem.columns(live),
            np.append(0, np.cumsum(counts)),
            options,
            None if given is None else np.ascontiguousarray(given[:, live]),
            int(rng.integers(2**31)),
        )
        at_first = Best(fit.problem, fit.borders).fitted
        signs[:, live], scales[:, groups] = at_first.signs, at_first.scales
        reached = 0
        for done in fit.run(deadline, options.callback):
            signs[done.rows, live] = done.best.fitted.signs
            scales[done.rows, groups] = done.best.fitted.scales
            winner[done.rows], bounds[:, done.rows] = done.best.winner, done.bounds
            reached += len(done.best.winner)
        finished = reached == rows
    error = problem.error(spread(scales, borders) * signs)
    return BinaryLayer(
        signs=signs.astype(np.int8),
        scales=scales,
        error=error,
        energy=problem.energy,
        start=tuple(STARTS[index] for index in winner),
        scale_bound=np.minimum(bounds[0], error) if options.bounds else None,
        joint_bound=np.minimum(bounds[1], error) if options.bounds and len(borders) == 2 else None,
        group=options.group,
        seconds=time.perf_counter() - began,
        finished=finished,
    )


class _Fit:
    """The live columns of a layer, and all that its rows share."""

    def __init__(
        self,
        problem: LayerProblem,
        borders: NDArray[np.int64],
        options: Options,
        given: Matrix | None,
        seed: int,
    ) -> None:
        self.problem, self.borders = problem, borders
        self._options, self._given, self._seed = options, given, seed
        rows, columns = problem.weights.shape
        work = Work.of(rows, columns, options.effort)
        self._searcher = Searcher(problem, borders, work)
        shared = options.bounds and len(borders) == 2
        self._least_norm = least_image_norm(problem.gram) if shared else 0.0

    def run(self, deadline: float, callback: Callable[[int, int], None] | None) -> Iterator[_Rows]:
        """Rows as they are done, in order, until the deadline, a StopIteration of the callback or an interrupt."""
        total = len(self.problem.weights)
        pieces = [slice(first, min(first + ROWS_AT_ONCE, total)) for first in range(0, total, ROWS_AT_ONCE)]

        def work(rows: slice) -> _Rows | None:
            return None if time.perf_counter() > deadline else self._rows(rows)

        with (
            ThreadPoolExecutor(min(self._options.workers, len(pieces))) as pool,
            tqdm(total=total, unit="row", leave=False, disable=None) as bar,
        ):
            tasks = [pool.submit(work, rows) for rows in pieces]
            try:
                for task in tasks:
                    done = task.result()
                    if done is None:
                        break
                    yield done
                    bar.update(len(done.best.winner))
                    if callback is not None:
                        callback(done.rows.stop, total)
            except (KeyboardInterrupt, StopIteration):
                pass
            finally:
                pool.shutdown(cancel_futures=True)

    def _rows(self, rows: slice) -> _Rows:
        best = self._searcher.search(rows, self._given, self._seed)
        bounds = np.zeros((2, len(best.winner)))
        count = self._options.relaxations
        for number in range(count):
            self._relax(rows, best, 1.0 + APART * (number - 0.5 * (count - 1)))
        if self._options.bounds:
            for _ in range(MAX_RESCALED):
                before = best.fitted.scales
                bounds[0] = self._relax(rows, best, 1.0)
                if np.array_equal(before, best.fitted.scales):
                    break
            else:
                bounds[0] = self._relax(rows, best, 1.0, offer=False)
            if len(self.borders) == 2:
                bounds[1] = self._joint_bounds(best)
        return _Rows(rows, best, bounds)

    def _relax(self, rows: slice, best: Best, factor: float, *, offer: bool = True) -> Vector:
        """Bounds at this multiple of the scales; their roundings, improved, are offered."""
        scales = factor * best.column_scales
        found = [
            scale_bound(row, scales[place], error, np.random.default_rng([self._seed, rows.start + place]))
            for place, (row, error) in enumerate(zip(_each(best.problem), best.fitted.error, strict=True))
        ]
        if offer:
            for rounded in zip(*(one.signs for one in found), strict=True):
                signs = np.stack(rounded)
                best.offer("relaxation", signs)
                best.offer("relaxation", self._searcher.improved(rows, signs, self._seed))
        return np.array([one.bound for one in found])

    def _joint_bounds(self, best: Best) -> Vector:
        return np.array(
            [
                joint_bound(row, signs, error, self._least_norm)
                for row, signs, error in zip(
                    _each(best.problem), best.fitted.signs, best.fitted.error, strict=True
                )
            ]
        )


def _each(problem: LayerProblem) -> list[Row]:
    sizes = np.abs(problem.weights)
    reached = sizes @ np.abs(problem.gram)
    whole = np.einsum("ij,ij->i", reached, sizes)
    parts = zip(problem.linear, problem.energy, whole, reached.sum(axis=1), strict=True)
    return [Row(problem.gram, linear, *map(float, rest)) for linear, *rest in parts]
