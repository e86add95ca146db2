r"""Clique inequalities: signs on p vertices, p odd, never cancel out altogether.

For vertices i_1 < ... < i_p and signs b, every sign vector w has :math:`|b^T w| \ge 1` on them, so
:math:`\sum_{a<c} b_a b_c Y_{i_a i_c} \ge (1 - p)/2`: triangle inequalities for p = 3, pentagonal ones for 5 and
heptagonal ones for 7 (Deza and Laurent, "Geometry of Cuts and Metrics", 1997).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGEST = 7
SIZES = (3, 5, LARGEST)
# Odd numbers whose multiples, modulo 2^64, tell cliques apart.
_HASH = np.array([3**40 | 1, 5**27, 7**22, 11**18, 13**17, 17**15, 19**15], dtype=np.uint64)

Arrays = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class CliqueCuts:
    """Inequalities <T_m, Y> >= r_m over cliques of three, five or seven vertices.

    Attributes
    ----------
    vertices : (m, 7) int64 ndarray
        In ascending order; 0 beyond the size of the clique.
    signs : (m, 7) int64 ndarray
        +-1, the first +1; 0 beyond the size of the clique.
    """

    vertices: NDArray[np.int64]
    signs: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Number of inequalities."""
        return int(self.vertices.shape[0])

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of vertices of each clique."""
        return np.count_nonzero(self.signs, axis=1)

    @property
    def sides(self) -> NDArray[np.float64]:
        """Right-hand sides r_m = (1 - p)/2."""
        return np.asarray(0.5 * (1.0 - self.sizes), dtype=np.float64)

    def arrays(self, order: int) -> Arrays:
        """Starts, flat indices i N + j of pairs, their signs, and right-hand sides, as the kernels take them."""
        from solvers.kernels.clique_cuts import list_pairs

        most = self.count * (LARGEST * (LARGEST - 1) // 2)
        starts, sides = np.empty(self.count + 1, np.int64), np.empty(self.count)
        pairs, products = np.empty(most, np.int64), np.empty(most)
        found = list_pairs(self.vertices, self.signs, order, starts, pairs, products, sides)
        return starts, pairs[:found], products[:found], sides

    def slacks(self, gram: NDArray[np.float64]) -> NDArray[np.float64]:
        """<T_m, Y> - r_m; negative where violated."""
        from solvers.kernels.clique_cuts import clique_slacks

        slacks = np.empty(self.count)
        clique_slacks(gram, self.vertices, self.signs, slacks)
        return slacks

    def priced(self, cost: NDArray[np.float64], multipliers: NDArray[np.float64]) -> NDArray[np.float64]:
        """C - sum_m multiplier_m T_m, symmetric."""
        order = cost.shape[0]
        starts, pairs, signs, _ = self.arrays(order)
        weights = np.repeat(multipliers, np.diff(starts)) * signs
        halves = 0.5 * np.bincount(pairs, weights, minlength=order * order).reshape(order, order)
        return np.asarray(cost - halves - halves.T)

    def select(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> CliqueCuts:
        """Some of them."""
        return CliqueCuts(self.vertices[which], self.signs[which])

    def join(self, other: CliqueCuts) -> CliqueCuts:
        """The inequalities of this list, followed by the others."""
        return CliqueCuts(np.vstack([self.vertices, other.vertices]), np.vstack([self.signs, other.signs]))

    def keys(self) -> NDArray[np.uint64]:
        """Hash of each: equal cliques have equal keys, and others, but for accidents, do not."""
        from solvers.kernels.clique_cuts import hash_cliques

        hashes = np.empty(self.count, np.uint64)
        hash_cliques(self.vertices, self.signs, _HASH, hashes)
        return hashes

    def merged(
        self, labels: NDArray[np.int64], flips: NDArray[np.int64]
    ) -> tuple[CliqueCuts, NDArray[np.bool_]]:
        """The inequalities after y_i = flip_i z_label_i, and which of them are left.

        One that meets a merged vertex twice is implied by smaller ones and is left out.
        """
        there = self.signs != 0
        cuts = canonical(labels[self.vertices], np.where(there, self.signs * flips[self.vertices], 0))
        later = cuts.signs[:, 1:] != 0
        distinct = ~np.any((cuts.vertices[:, 1:] == cuts.vertices[:, :-1]) & later, axis=1)
        return cuts.select(distinct), distinct


def canonical(vertices: NDArray[np.int64], signs: NDArray[np.int64]) -> CliqueCuts:
    """Cuts from cliques (m, p) in any order, with any first sign; 0 in ``signs`` marks a place as empty."""
    missing = LARGEST - vertices.shape[1]
    signs = np.pad(signs, ((0, 0), (0, missing)))
    vertices = np.pad(vertices, ((0, 0), (0, missing)))
    order = np.argsort(np.where(signs == 0, np.iinfo(np.int64).max, vertices), axis=1, kind="stable")
    signs = np.take_along_axis(signs, order, axis=1)
    vertices = np.where(signs == 0, 0, np.take_along_axis(vertices, order, axis=1))
    return CliqueCuts(vertices.astype(np.int64), (signs * signs[:, :1]).astype(np.int64))


def no_cuts() -> CliqueCuts:
    """The empty set."""
    empty = np.empty((0, LARGEST), np.int64)
    return CliqueCuts(empty, empty.copy())
