"""The pool of a tabu search: few good points, far enough from one another, and their offspring."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import breadth_first_order, connected_components

from solvers.problems.binary_form import BinaryForm
from solvers.problems.problem import Cost

CAPACITY = 10
# Points that differ in fewer than this share of the signs count as one: the pool must not fill with near copies.
_APART = 0.01
# Shares of the signs that are drawn anew: of a region, and of everything while the pool fills.
_REGION = 0.2
_PERTURBED = 0.3

Signs = NDArray[np.float64]


class Pool:
    """At most ``CAPACITY`` points, best first.

    Parameters
    ----------
    form : BinaryForm
    zero_diagonal : ndarray or csr_array
        A without its diagonal.
    generator : numpy Generator
    """

    def __init__(self, form: BinaryForm, zero_diagonal: Cost, generator: np.random.Generator) -> None:
        self.form = form
        self.capacity = CAPACITY
        self._zero_diagonal, self._generator = zero_diagonal, generator
        self._half_b = 0.5 * form.b
        self._even = not np.any(form.b)
        self._points: list[tuple[float, NDArray[np.float64]]] = []

    @property
    def best(self) -> NDArray[np.float64]:
        """The best point so far."""
        return self._points[0][1]

    @property
    def best_value(self) -> float:
        """The objective of the best point; inf while there is none."""
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
            signs = self._crossover(signs, other)
        return signs

    def offspring(self) -> NDArray[np.float64]:
        """A point to start the next walk from."""
        if len(self._points) < self.capacity and self._generator.random() < 0.5:
            return perturb(self._any(), _PERTURBED, self._generator)
        first, second = self._any(), self._any()
        child = self._crossover(first, second)
        if self._generator.random() < 0.5 or first is second:
            return perturb_region(self._zero_diagonal, child, _REGION, self._generator)
        return perturb_difference(child, align(child, second, self._even), self._generator)

    def _any(self) -> NDArray[np.float64]:
        return self._points[int(self._generator.integers(len(self._points)))][1]

    def _crossover(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
        other = align(first, second, self._even)
        return partition_crossover(self._zero_diagonal, self._half_b, first, other, self._generator)

    def _distance(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
        differing = float(np.count_nonzero(first != second))
        return min(differing, self.form.n - differing) if self._even else differing


def align(first: Signs, second: Signs, even: bool) -> Signs:
    """Return ``second``, or its negative where the objective is ``even`` and that is nearer to ``first``."""
    return -second if even and first @ second < 0 else second


def partition_crossover(
    zero_diagonal: Cost,
    half_b: NDArray[np.float64],
    first: Signs,
    second: Signs,
    generator: np.random.Generator,
) -> Signs:
    """Return the best point among all that differ from ``first`` by clusters on which ``second`` differs.

    A cluster is a connected component of the graph of A on the signs in which the two points differ.  No
    coefficient couples two clusters, so each can be decided alone: the best of 2^clusters points, none worse than
    ``first``, in O(nnz) time.  Ties are decided by lot.  On grids and other graphs of small separators there
    are many clusters; where A is dense there is only one.  Houdayer (2001); Whitley, Hains and Howe (2009).
    """
    differ = np.flatnonzero(first != second)
    if not differ.size:
        return first.copy()
    if not sp.issparse(zero_diagonal):
        clusters, label = 1, np.zeros(differ.size, np.intp)
        inner = zero_diagonal[np.ix_(differ, differ)] @ first[differ]
    else:
        coupled = zero_diagonal[differ][:, differ]
        clusters, label = connected_components(coupled, directed=False)
        inner = coupled @ first[differ]
    outer = (zero_diagonal @ first + half_b)[differ] - inner
    gains = np.bincount(label, weights=first[differ] * outer, minlength=clusters)
    sizes = np.bincount(label, weights=np.abs(outer), minlength=clusters)
    tied = np.abs(gains) <= 1e-9 * sizes
    flip = np.where(tied, generator.random(clusters) < 0.5, gains > 0)
    child = first.copy()
    child[differ[flip[label]]] *= -1.0
    return child


def perturb_difference(first: Signs, second: Signs, generator: np.random.Generator) -> Signs:
    """Keep what two points agree on, and draw the rest."""
    drawn = np.where(generator.random(first.size) < 0.5, first, second)
    return np.asarray(drawn)


def perturb_region(zero_diagonal: Cost, signs: Signs, share: float, generator: np.random.Generator) -> Signs:
    """Draw anew the signs around a random one, a share of all; any signs where A is dense."""
    size = max(1, round(share * signs.size))
    if sp.issparse(zero_diagonal):
        centre = int(generator.integers(signs.size))
        region = breadth_first_order(zero_diagonal, centre, return_predecessors=False)[:size]
    else:
        region = generator.choice(signs.size, size, replace=False)
    child = signs.copy()
    child[region] = generator.choice([-1.0, 1.0], region.size)
    return child


def perturb(signs: Signs, share: float, generator: np.random.Generator) -> Signs:
    """Flip each sign with probability ``share``."""
    return np.where(generator.random(signs.size) < share, -signs, signs)
