"""Lower bounds by triangle inequalities on ill-conditioned costs: an interior point method that holds the cuts.

min <C, Y>, diag(Y) = 1, Y PSD, and +-Y_ij +-Y_ik +-Y_jk >= -1 with an even number of minus signs for the triples
that are violated (claim T1 of the proofs; Helmberg and Rendl, Math. Programming 1998).  The first-order method of
`vispa.strengthen` ends where the cost is badly conditioned; this one does not feel it, at O(m^3 + m n^2) a step for
m cuts, which an experiment can afford and a library should not for every row of a layer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

SIGNS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=float)
MAX_STEPS, BOLD, VIOLATED, IDLE = 60, 0.95, 1e-3, 1e-6


class Cuts(NamedTuple):
    """Triples (m, 3) of rows i < j < k and signs (m, 3) of Y_ij, Y_ik, Y_jk."""

    rows: NDArray[np.intp]
    signs: Matrix

    def of(self, matrix: Matrix) -> Vector:
        """The left sides."""
        i, j, k = self.rows.T
        return np.einsum("mc,mc->m", self.signs, np.stack([matrix[i, j], matrix[i, k], matrix[j, k]], axis=1))

    def blocks(self) -> NDArray[np.float64]:
        """(m, 3, 3), the symmetric matrix of each cut on its triple."""
        blocks = np.zeros((len(self.rows), 3, 3))
        for place, (a, b) in enumerate(((0, 1), (0, 2), (1, 2))):
            blocks[:, a, b] = blocks[:, b, a] = 0.5 * self.signs[:, place]
        return blocks

    def adjoint(self, weights: Vector, order: int) -> Matrix:
        """The sum of the cuts' matrices."""
        total = np.zeros((order, order))
        blocks = weights[:, None, None] * self.blocks()
        np.add.at(total, (self.rows[:, :, None], self.rows[:, None, :]), blocks)
        return total

    def joined(self, other: Cuts) -> Cuts:
        """Both, each cut once."""
        rows, signs = np.vstack([self.rows, other.rows]), np.vstack([self.signs, other.signs])
        kept = np.unique(np.hstack([rows, signs]), axis=0, return_index=True)[1]
        return Cuts(rows[np.sort(kept)], signs[np.sort(kept)])

    def take(self, chosen: NDArray[np.intp]) -> Cuts:
        """Some of them."""
        return Cuts(self.rows[chosen], self.signs[chosen])


def no_cuts() -> Cuts:
    """None yet."""
    return Cuts(np.zeros((0, 3), dtype=np.intp), np.zeros((0, 3)))


def violated(point: Matrix, most: int) -> Cuts:
    """The most violated triangles."""
    order = len(point)
    i, j, k = np.array([t for t in np.ndindex(order, order, order) if t[0] < t[1] < t[2]]).T
    sides = np.stack([point[i, j], point[i, k], point[j, k]], axis=1) @ SIGNS.T
    triple, kind = np.nonzero(sides < -1.0 - VIOLATED)
    worst = np.argsort(sides[triple, kind], kind="stable")[:most]
    rows = np.stack([i, j, k], axis=1)[triple[worst]]
    return Cuts(rows, SIGNS[kind[worst]])


class Solved(NamedTuple):
    """A primal point, its cuts' multipliers, and value and proved bound (but for rounding)."""

    point: Matrix
    multipliers: Vector
    value: float
    bound: float


def solve(cost: Matrix, cuts: Cuts, allowed: float) -> Solved:
    """The relaxation with these cuts, to this gap."""
    order, count = len(cost), len(cuts.rows)
    unit = float(np.abs(cost).max())
    cost = cost / unit
    point, slack = np.eye(order), np.ones(count)
    multipliers = np.full(count, 1e-3)
    rest = cost - cuts.adjoint(multipliers, order)
    dual = -1.1 * np.abs(rest).sum(axis=1) + 0.0
    blocks = cuts.blocks()
    bound = -np.inf
    for _ in range(MAX_STEPS):
        matrix = cost - cuts.adjoint(multipliers, order) - np.diag(dual)
        bound = max(bound, float(dual.sum() - multipliers.sum()))
        value = float(np.vdot(cost, point))
        if (value - bound) * unit <= allowed:
            break
        inverse = la.inv(matrix)
        inverse = 0.5 * (inverse + inverse.T)
        mu = (value - float(dual.sum() - multipliers.sum())) / (order + count)
        schur = _schur(point, inverse, slack, multipliers, cuts, blocks)
        try:
            factor = la.cho_factor(schur)
        except la.LinAlgError:
            break
        lengths = 1.0, 1.0
        second = np.zeros((order, order)), np.zeros(count)
        for target in (0.0, None):
            if target is None:
                target = mu * (1.0 - min(lengths)) ** 2 * max(1.0 - min(lengths), 0.1)
            move = _direction(point, inverse, slack, multipliers, cuts, factor, target, second)
            lengths = _lengths(point, matrix, slack, multipliers, cuts, move)
            if target == 0.0:
                away = np.diag(move.dual) + cuts.adjoint(move.multipliers, order)
                second = move.point @ away, move.slack * move.multipliers
        primal, turned = (min(1.0, BOLD * length) for length in lengths)
        point = point + primal * move.point
        slack = slack + primal * move.slack
        dual, multipliers = dual + turned * move.dual, multipliers + turned * move.multipliers
        if max(primal, turned) < 1e-7:
            break
    return Solved(point, multipliers, value * unit, bound * unit)


class _Move(NamedTuple):
    point: Matrix
    slack: Vector
    dual: Vector
    multipliers: Vector


def _schur(
    point: Matrix, inverse: Matrix, slack: Vector, multipliers: Vector, cuts: Cuts, blocks: Matrix
) -> Matrix:
    order, count = len(point), len(slack)
    schur = np.empty((order + count, order + count))
    schur[:order, :order] = point * inverse
    for first in range(0, count, 200):
        some = slice(first, min(first + 200, count))
        rows = cuts.rows[some]
        # X T S^-1 of each cut, symmetrised
        images = np.einsum("nma,mab,mbk->mnk", point[:, rows], blocks[some], inverse[rows])
        images = 0.5 * (images + images.transpose(0, 2, 1))
        schur[order + first : order + some.stop, :order] = np.einsum("mnn->mn", images)
        i, j, k = cuts.rows.T
        sides = np.stack([images[:, i, j], images[:, i, k], images[:, j, k]], axis=2)
        schur[order + first : order + some.stop, order:] = np.einsum("mkc,kc->mk", sides, cuts.signs)
    schur[:order, order:] = schur[order:, :order].T
    schur[order:, order:] = 0.5 * (schur[order:, order:] + schur[order:, order:].T)
    schur[np.arange(order, order + count), np.arange(order, order + count)] += slack / multipliers
    return schur


def _direction(
    point: Matrix,
    inverse: Matrix,
    slack: Vector,
    multipliers: Vector,
    cuts: Cuts,
    factor: tuple[Matrix, bool],
    mu: float,
    second: tuple[Matrix, Vector],
) -> _Move:
    order = len(point)
    remainder = second[0] @ inverse
    still = mu * inverse + 0.5 * (remainder + remainder.T) - point
    eased = (mu - second[1]) / multipliers - slack
    right = np.concatenate([-np.diagonal(still), eased - cuts.of(still)])
    found = la.cho_solve(factor, right)
    dual, moved = found[:order], found[order:]
    away = np.diag(dual) + cuts.adjoint(moved, order)
    half = point @ away @ inverse
    move = still + 0.5 * (half + half.T)
    return _Move(move, cuts.of(move), dual, moved)


def _lengths(
    point: Matrix, matrix: Matrix, slack: Vector, multipliers: Vector, cuts: Cuts, move: _Move
) -> tuple[float, float]:
    away = -np.diag(move.dual) - cuts.adjoint(move.multipliers, len(point))
    return (
        min(_to_boundary(point, move.point), _to_zero(slack, move.slack)),
        min(_to_boundary(matrix, away), _to_zero(multipliers, move.multipliers)),
    )


def _to_boundary(matrix: Matrix, move: Matrix) -> float:
    try:
        lower = la.cholesky(matrix, lower=True)
    except la.LinAlgError:
        return 0.0
    half = la.solve_triangular(lower, move, lower=True)
    least = float(la.eigvalsh(la.solve_triangular(lower, half.T, lower=True), subset_by_index=[0, 0])[0])
    return 1.0 if least > -1.0 else -1.0 / least


def _to_zero(values: Vector, move: Vector) -> float:
    falling = move < 0.0
    return float(np.min(-values[falling] / move[falling], initial=1.0))


def tightened(cost: Matrix, allowed: float, *, rounds: int = 8, cuts_a_round: int | None = None) -> Solved:
    """The bound after some rounds of cuts; those without a multiplier leave again."""
    cuts, found = no_cuts(), solve(cost, no_cuts(), allowed)
    for _ in range(rounds):
        more = violated(found.point, cuts_a_round or 3 * len(cost))
        if not len(more.rows):
            break
        busy = np.flatnonzero(found.multipliers > IDLE * found.multipliers.max(initial=0.0))
        cuts = cuts.take(busy).joined(more)
        now = solve(cost, cuts, allowed)
        found = Solved(now.point, now.multipliers, now.value, max(now.bound, found.bound))
    return found
