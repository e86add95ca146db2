"""Signs and scales of a layer that leave little error: many starts, each improved on the joint error.

Every start's signs are judged by the error at their own best scales, before and after flips, and each row keeps its
best; so no row ends above sgn(w) at its best scale, or above GPTQ's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vispa.quantization.gptq import LIGHT_DAMPING, PUBLISHED_DAMPING, Triangle, gptq_signs, triangle
from vispa.quantization.layer_problem import LayerProblem, Matrix
from vispa.quantization.scales import Fitted, fit_scales, mean_scales, spread

STARTS = ("weights", "sgn", "gptq", "beam", "relaxation", "given")
# Scales about the best so far at which the beam search is run.
SPREAD = (0.9, 1.0, 1.1)
# Multiplications that all beams, and all walks, may take at effort one; together some ten seconds of one core.
BEAM_WORK = 3e10
WALK_WORK = 2e10
MAX_WIDTH = 256
# Steps of a walk, in columns.
MAX_WALK = 20
PAIRS_UP_TO = 1024
PAIRS = 32
# Passes over the groups.
ROUNDS = 2


class Work(NamedTuple):
    """How much a row is worth: choices the beam keeps, steps of a walk, pairs that may be flipped."""

    width: int
    steps: int
    pairs: int

    @classmethod
    def of(cls, rows: int, columns: int, effort: float) -> Work:
        """What a layer of this size can be given: a fixed amount of work, so that large layers end too."""
        size = float(rows) * columns * columns
        beam = effort * BEAM_WORK / (len(SPREAD) * size)
        walk = effort * WALK_WORK / (2.0 * (len(SPREAD) + 2) * size)
        width = 2 ** int(math.log2(min(max(beam, 1.0), MAX_WIDTH * max(effort, 1.0))))
        steps = int(columns * min(walk, MAX_WALK * max(effort, 1.0)))
        return cls(width, steps, PAIRS if columns <= PAIRS_UP_TO and walk >= 1.0 else 0)


class Best:
    """The best signs so far of some rows, and where they came from."""

    def __init__(self, problem: LayerProblem, borders: NDArray[np.int64]) -> None:
        self.problem, self.borders = problem, borders
        self.fitted = fit_scales(problem, mean_scales(problem, borders).signs, borders)
        self.winner = np.full(len(problem.weights), STARTS.index("weights"))

    def offer(self, start: str, signs: Matrix) -> Fitted:
        """Take these signs for the rows where they are better; return them with their scales."""
        found = fit_scales(self.problem, signs, self.borders)
        better = found.error < self.fitted.error
        self.winner[better] = STARTS.index(start)
        self.fitted = _chosen(better, found, self.fitted)
        return found

    @property
    def column_scales(self) -> Matrix:
        """(J, n)."""
        return spread(self.fitted.scales, self.borders)


class Searcher:
    """One layer's columns and triangles, for searching any of its rows.

    Parameters
    ----------
    problem : LayerProblem
        Without dead columns.
    borders : (g + 1,) ndarray
        Of the groups.
    work : Work
        What every row is given.
    """

    def __init__(self, problem: LayerProblem, borders: NDArray[np.int64], work: Work) -> None:
        self._problem, self._borders, self._work = problem, borders, work
        self._published = triangle(problem, PUBLISHED_DAMPING)
        self._light = triangle(problem, LIGHT_DAMPING)

    def search(self, rows: slice, given: Matrix | None, seed: int) -> Best:
        """The best that all starts lead to."""
        best = Best(self._problem.rows(rows), self._borders)
        first = best.fitted.signs
        if given is not None:
            best.offer("given", given[rows])
            best.offer("given", self.improved(rows, given[rows], seed))
        best.offer("sgn", self.improved(rows, first, seed))
        mean = spread(mean_scales(best.problem, self._borders).scales, self._borders)
        greedy = gptq_signs(_rows(self._published, rows), mean)
        best.offer("gptq", greedy)
        best.offer("gptq", self.improved(rows, greedy, seed))
        about = best.column_scales
        for factor in SPREAD:
            kept = gptq_signs(_rows(self._light, rows), factor * about, width=self._work.width)
            best.offer("beam", kept)
            best.offer("beam", self.improved(rows, kept, seed))
        return best

    def improved(self, rows: slice, signs: Matrix, seed: int) -> Matrix:
        """Signs of these rows after descents and walks on the joint error; the given ones are not changed."""
        from vispa.quantization.kernels.joint_flips import improve, improve_groups

        signs = np.ascontiguousarray(signs).copy()
        gram, linear = self._problem.gram, self._problem.linear[rows]
        seeds = seed + np.arange(rows.start, rows.stop, dtype=np.int64)
        steps, pairs = self._work.steps, self._work.pairs
        if len(self._borders) == 2:
            improve(gram, linear, signs, steps, pairs, seeds)
        else:
            improve_groups(gram, linear, signs, self._borders, steps, pairs, ROUNDS, seeds)
        return signs


def _rows(shape: Triangle, rows: slice) -> Triangle:
    return Triangle(shape.order, shape.upper, shape.targets[rows])


def _chosen(first: NDArray[np.bool_], left: Fitted, right: Fitted) -> Fitted:
    """Row by row one of the two."""
    return Fitted(
        np.where(first[:, None], left.signs, right.signs),
        np.where(first[:, None], left.scales, right.scales),
        np.where(first, left.error, right.error),
    )
