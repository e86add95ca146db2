"""New starting points from good ones: the better of two wherever they differ independently, or a stirred region."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import breadth_first_order, connected_components

from solvers.problems.problem import Cost

Signs = NDArray[np.float64]


def align(first: Signs, second: Signs, even: bool) -> Signs:
    """Return ``second``, or its negative where the objective is ``even`` and that is nearer to ``first``."""
    return -second if even and first @ second < 0 else second


def combine(
    hollow: Cost, half_b: NDArray[np.float64], first: Signs, second: Signs, generator: np.random.Generator
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
    if not sp.issparse(hollow):
        clusters, label = 1, np.zeros(differ.size, np.intp)
        inner = hollow[np.ix_(differ, differ)] @ first[differ]
    else:
        coupled = hollow[differ][:, differ]
        clusters, label = connected_components(coupled, directed=False)
        inner = coupled @ first[differ]
    outer = (hollow @ first + half_b)[differ] - inner
    gains = np.bincount(label, weights=first[differ] * outer, minlength=clusters)
    sizes = np.bincount(label, weights=np.abs(outer), minlength=clusters)
    tied = np.abs(gains) <= 1e-9 * sizes
    flip = np.where(tied, generator.random(clusters) < 0.5, gains > 0)
    child = first.copy()
    child[differ[flip[label]]] *= -1.0
    return child


def stir_difference(first: Signs, second: Signs, generator: np.random.Generator) -> Signs:
    """Keep what two points agree on, and draw the rest."""
    drawn = np.where(generator.random(first.size) < 0.5, first, second)
    return np.asarray(drawn)


def stir_region(hollow: Cost, signs: Signs, share: float, generator: np.random.Generator) -> Signs:
    """Draw anew the signs around a random one, a share of all; any signs where A is dense."""
    size = max(1, round(share * signs.size))
    if sp.issparse(hollow):
        centre = int(generator.integers(signs.size))
        region = breadth_first_order(hollow, centre, return_predecessors=False)[:size]
    else:
        region = generator.choice(signs.size, size, replace=False)
    child = signs.copy()
    child[region] = generator.choice([-1.0, 1.0], region.size)
    return child


def shake(signs: Signs, share: float, generator: np.random.Generator) -> Signs:
    """Flip each sign with probability ``share``."""
    return np.where(generator.random(signs.size) < share, -signs, signs)
