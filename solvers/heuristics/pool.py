"""The pool of a tabu search: few good points, far enough from one another, and their offspring."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from solvers.heuristics.recombine import align, combine, shake, stir_difference, stir_region
from solvers.problems.binary_form import BinaryForm
from solvers.problems.problem import Cost

CAPACITY = 10
# Points that differ in fewer than this share of the signs count as one: the pool must not fill with near copies.
_APART = 0.01
# Shares of the signs that are drawn anew: of a region, and of everything while the pool fills.
_REGION = 0.2
_SHAKE = 0.3


class Elite:
    """At most ``CAPACITY`` points, best first.

    Parameters
    ----------
    form : BinaryForm
    hollow : ndarray or csr_array
        A without its diagonal.
    generator : numpy Generator
    """

    def __init__(self, form: BinaryForm, hollow: Cost, generator: np.random.Generator) -> None:
        self.form = form
        self.capacity = CAPACITY
        self._hollow, self._generator = hollow, generator
        self._half_b = 0.5 * form.b
        self._even = not np.any(form.b)
        self._points: list[tuple[float, NDArray[np.float64]]] = []

    @property
    def best(self) -> NDArray[np.float64]:
        """The best point so far."""
        return self._points[0][1]

    @property
    def best_value(self) -> float:
        """Its objective; inf while there is none."""
        return self._points[0][0] if self._points else math.inf

    def add(self, signs: NDArray[np.float64]) -> None:
        """Take a point in; of points close to one another the best one stays."""
        value = float(self.form.evaluate(signs[None, :])[0])
        apart = _APART * self.form.n
        close = [entry for entry in self._points if self._distance(entry[1], signs) <= apart]
        if any(entry[0] <= value for entry in close):
            return
        kept = [entry for entry in self._points if all(entry is not other for other in close)]
        self._points = sorted([*kept, (value, signs.copy())], key=lambda entry: entry[0])[: self.capacity]

    def refine(self, signs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Put a point together with the pool's best and with any of the pool."""
        for other in (self.best, self._any()):
            signs = self._combine(signs, other)
        return signs

    def offspring(self) -> NDArray[np.float64]:
        """A point to start the next walk from."""
        if len(self._points) < self.capacity and self._generator.random() < 0.5:
            return shake(self._any(), _SHAKE, self._generator)
        first, second = self._any(), self._any()
        child = self._combine(first, second)
        if self._generator.random() < 0.5 or first is second:
            return stir_region(self._hollow, child, _REGION, self._generator)
        return stir_difference(child, align(child, second, self._even), self._generator)

    def _any(self) -> NDArray[np.float64]:
        return self._points[int(self._generator.integers(len(self._points)))][1]

    def _combine(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
        other = align(first, second, self._even)
        return combine(self._hollow, self._half_b, first, other, self._generator)

    def _distance(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
        differing = float(np.count_nonzero(first != second))
        return min(differing, self.form.n - differing) if self._even else differing
