"""Violated clique inequalities of a Gram matrix: all triangles, and larger cliques grown from given ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solvers.cuts.cliques import CliqueCuts, canonical, no_cuts

# Rows that are looked through to see how many triangles are violated, and how many are listed at most.
SAMPLED, MOST = 600, 2_000_000


def most_violated_triangles(gram: NDArray[np.float64], count: int, tolerance: float) -> CliqueCuts:
    """The ``count`` triangle inequalities most violated, by more than ``tolerance``, the worst first.

    Of the four inequalities of a triple only the worst is looked at; where one is violated the others hold.
    O(N^3): about a millisecond for N = 200, seconds for N = 3,000, where the tolerance is raised until the violated
    ones fit into memory.

    Examples
    --------
    >>> cuts = most_violated_triangles(np.array([[1, -0.5, -0.5], [-0.5, 1, -0.5], [-0.5, -0.5, 1]]), 9, 0.0)
    >>> cuts.vertices[:, :3].tolist(), cuts.signs[:, :3].tolist()
    ([[0, 1, 2]], [[1, 1, 1]])
    """
    from solvers.kernels.clique_cuts import count_violated, violated_triangles

    threshold = -1.0 - tolerance
    stride = 1 + gram.shape[0] // SAMPLED
    while (total := stride * count_violated(gram, threshold, stride)) > MOST:
        threshold -= 0.25 * (1.5 + threshold)
    total = total if stride == 1 else 2 * total + count
    vertices, signs = np.empty((total, 3), np.int64), np.empty((total, 3), np.int64)
    values = np.empty(total)
    found = violated_triangles(gram, threshold, vertices, signs, values)
    return _worst(vertices[:found], signs[:found], values[:found], count)


def grown(gram: NDArray[np.float64], cuts: CliqueCuts, size: int, count: int, tolerance: float) -> CliqueCuts:
    """Violated inequalities over two vertices more than those of ``cuts`` that have the given size.

    Every clique is grown by the best two vertices: O(N^2) for each.
    """
    from solvers.kernels.clique_cuts import grow

    cuts = cuts.select(cuts.sizes == size)
    shape = (cuts.count, size + 2)
    vertices, signs, values = np.empty(shape, np.int64), np.empty(shape, np.int64), np.empty(cuts.count)
    own = np.ascontiguousarray(cuts.vertices[:, :size]), np.ascontiguousarray(cuts.signs[:, :size])
    found = grow(gram, *own, -0.5 * (size + 1) - tolerance, vertices, signs, values)
    return _worst(vertices[:found], signs[:found], values[:found], count)


def fresh(found: CliqueCuts, known: CliqueCuts) -> CliqueCuts:
    """The inequalities found that are not known yet, each once."""
    keys = found.keys()
    order = np.argsort(keys, kind="stable")
    keys, there = keys[order], np.sort(known.keys())
    first = np.ones(keys.size, np.bool_)
    first[1:] = keys[1:] != keys[:-1]
    if there.size:
        first &= there[np.minimum(np.searchsorted(there, keys), there.size - 1)] != keys
    new = np.sort(order[first])
    return found.select(new)


def _worst(
    vertices: NDArray[np.int64], signs: NDArray[np.int64], values: NDArray[np.float64], count: int
) -> CliqueCuts:
    if not values.shape[0]:
        return no_cuts()
    order = np.argsort(values, kind="stable")[:count]
    return canonical(vertices[order], signs[order])
