r"""Triangle inequalities: among three signs, the products of pairs never sum below -1.

For i < j < k and signs s with product +1, every point of the cube satisfies
:math:`s_{ij} Y_{ij} + s_{ik} Y_{ik} + s_{jk} Y_{jk} \ge -1`, which the elliptope alone does not imply.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

# The four sign patterns (ij, ik, jk) whose product is +1.
PATTERNS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Triangles:
    """Triangle inequalities <T_m, Y> >= -1.

    Attributes
    ----------
    vertices : (m, 3) int64 ndarray
        Rows i < j < k.
    signs : (m, 3) float64 ndarray
        +-1 for the pairs ij, ik, jk.
    """

    vertices: NDArray[np.int64]
    signs: NDArray[np.float64]

    @property
    def count(self) -> int:
        """Number of inequalities."""
        return int(self.vertices.shape[0])

    def values(self, gram: NDArray[np.float64]) -> NDArray[np.float64]:
        """<T_m, Y> for every inequality; below -1 where violated."""
        i, j, k = self.vertices.T
        pairs = np.column_stack([gram[i, j], gram[i, k], gram[j, k]])
        return np.asarray((pairs * self.signs).sum(axis=1))

    def combine(self, multipliers: NDArray[np.float64], order: int) -> sp.csr_array:
        """Sum of multiplier_m T_m, symmetric (order, order)."""
        columns = self.vectorised(order) @ multipliers
        return sp.csr_array(np.reshape(columns, (order, order)))

    def vectorised(self, order: int) -> sp.csc_array:
        """Columns vec(T_m), shape (order^2, m)."""
        i, j, k = self.vertices.T
        first, second = np.column_stack([i, i, j]), np.column_stack([j, k, k])
        rows = np.stack([first * order + second, second * order + first])
        columns = np.broadcast_to(np.arange(self.count)[None, :, None], rows.shape)
        entries = np.broadcast_to(0.5 * self.signs, rows.shape)
        shape = (order * order, self.count)
        return sp.csc_array((entries.ravel(), (rows.ravel(), columns.ravel())), shape=shape)

    def join(self, other: Triangles) -> Triangles:
        """Both sets, without repetitions."""
        rows = np.vstack([np.hstack([t.vertices, t.signs.astype(np.int64)]) for t in (self, other)])
        rows = np.unique(rows, axis=0)
        return Triangles(rows[:, :3], rows[:, 3:].astype(np.float64))


def no_triangles() -> Triangles:
    """Return the empty set."""
    return Triangles(np.empty((0, 3), np.int64), np.empty((0, 3)))


def all_triangles(order: int) -> Triangles:
    """All 4 order (order - 1)(order - 2)/6 inequalities.

    Examples
    --------
    >>> all_triangles(4).count
    16
    """
    upper = np.arange(order)
    i, j, k = np.nonzero((upper[:, None, None] < upper[:, None]) & (upper[:, None] < upper))
    vertices = np.repeat(np.column_stack([i, j, k]), 4, axis=0)
    return Triangles(vertices, np.tile(PATTERNS, (i.shape[0], 1)))


def most_violated(gram: NDArray[np.float64], count: int, tolerance: float) -> Triangles:
    """Return the ``count`` inequalities most violated, by more than ``tolerance``.

    O(N^3) time, O(N^2) memory.
    """
    order = gram.shape[0]
    kept = np.empty((0, 5))
    for i in range(order - 2):
        kept = np.vstack([kept, _violated_at(gram, i, tolerance)])
        if kept.shape[0] > 4 * count:
            kept = kept[np.argsort(kept[:, 4], kind="stable")[:count]]
    kept = kept[np.argsort(kept[:, 4], kind="stable")[:count]]
    if kept.shape[0] == 0:
        return no_triangles()
    vertices = kept[:, :3].astype(np.int64)
    return Triangles(vertices, PATTERNS[kept[:, 3].astype(np.int64)])


def _violated_at(gram: NDArray[np.float64], i: int, tolerance: float) -> NDArray[np.float64]:
    """Rows (i, j, k, pattern, value) of the violated inequalities whose lowest vertex is i."""
    row, block = gram[i, i + 1 :], gram[i + 1 :, i + 1 :]
    found = []
    for pattern, (ij, ik, jk) in enumerate(PATTERNS):
        values = ij * row[:, None] + ik * row[None, :] + jk * block
        j, k = np.nonzero(np.triu(values < -1.0 - tolerance, 1))
        indices = [np.full(j.shape[0], i), i + 1 + j, i + 1 + k, np.full(j.shape[0], pattern)]
        found.append(np.column_stack([*indices, values[j, k]]))
    return np.vstack(found)
