r"""Predictor-corrector interior point for dense costs with unit diagonal: no conditioning of the cost slows it.

The pair  min <C, X>, diag(X) = 1, X PSD  and  max 1^T y, S = C - Diag(y) PSD  has strictly feasible points on both
sides, and on its central path X S = mu I.  Linearised, with S moving by -Diag(dy) (Helmberg, Rendl, Vanderbei and
Wolkowicz, SIAM J. Optim. 1996),

    dX = mu S^-1 - X + (X Diag(dy) + R) S^-1, symmetrised,    (S^-1 o X) dy = 1 - mu diag(S^-1) - diag(R S^-1).

With X = mu S^-1 and R = 0 the second is Newton's step of the dual alone, (S^-1 o S^-1) dy = 1 / mu - diag(S^-1):
`solvers.torch_backend.dense` takes it for whole batches, and keeps no X.  Here both sides are kept.  The predictor
takes mu = 0 and R = 0; the corrector aims at the mu that the predictor earns and at R = dX Diag(dy) of the
predictor, the product that linearising left out (Mehrotra 1992).  Both sides stay feasible, so
<C, X> - 1^T y = <X, S> is the gap at any moment.  A step costs one inverse, one n x n solve, two products of n x n
matrices and a Cholesky factorisation of either side: about 6 n^3; 8 to 20 steps suffice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray

from solvers.linalg.sphere import normalise
from solvers.linalg.step_to_boundary import step_to_boundary

Matrix = NDArray[np.float64]

MAX_STEPS = 100
# The first slack matrix is this diagonally dominant; a row of zeros gets this share of the largest row.
DOMINANCE = 1.1
FLOOR = 1e-3
# Of the way to the boundary: a longer predictor is trusted to go further.
CAUTIOUS, BOLDER = 0.9, 0.09
# Shorter steps than this mean that rounding has the last word.
SHORTEST = 1e-8
BACKTRACK = 0.8
# Steps without a gap that is smaller by a tenth end the attempt.
PATIENCE = 6
PROGRESS = 0.9
# Of the gap that is allowed: what the path closes, so that dropping columns may cost the rest.
CLOSED = 0.5
# Eigenvalues of X below these shares of the largest are dropped, the first that leaves the value as good as wanted.
NARROWER = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8, 1e-10, 0.0)


class InteriorPoint(NamedTuple):
    """A feasible pair: unit rows with their value, and multipliers with their bound.

    Attributes
    ----------
    factor : (n, k) ndarray
        Unit rows V, the widest principal axes first.
    dual : (n,) ndarray
        Multipliers y; C - Diag(y) has a Cholesky factorisation.
    value, bound : float
        <C, V V^T> and 1^T y, less what rounding may have cost.
    steps : int
        Steps taken along the path.
    """

    factor: Matrix
    dual: NDArray[np.float64]
    value: float
    bound: float
    steps: int


class _Side(NamedTuple):
    """A point inside the cone with its Cholesky factor."""

    matrix: Matrix
    lower: Matrix


def interior_point(
    cost: Matrix,
    allowed: float,
    *,
    stop: Callable[[float, float], bool] = lambda value, bound: False,
    max_steps: int = MAX_STEPS,
) -> InteriorPoint:
    """Factor, multipliers, value and bound of min <C, X> with unit diagonal, as near each other as allowed.

    Parameters
    ----------
    cost : (n, n) ndarray
        Symmetric and finite; it is not changed.
    allowed : float
        The gap value - bound to reach; what float64 allows, where that is more.
    stop : callable, optional
        Given value and bound before every step; True ends the path where it is.
    max_steps : int, optional
        Steps at most.

    Returns
    -------
    InteriorPoint

    Notes
    -----
    O(n^3) a step, O(n^2) memory: about eight matrices.

    Examples
    --------
    >>> pentagon = np.roll(np.eye(5), 1, axis=1)
    >>> found = interior_point(pentagon + pentagon.T, 1e-8)
    >>> round(found.value, 6), round(found.bound, 6), found.factor.shape
    (-8.09017, -8.09017, (5, 2))
    """
    diagonal = np.diagonal(cost).copy()
    trace = float(diagonal.sum())
    zero_diagonal = np.array(cost, dtype=np.float64, order="C")
    np.fill_diagonal(zero_diagonal, 0.0)
    scale = float(np.abs(zero_diagonal).max(initial=0.0))
    if scale == 0.0:
        return InteriorPoint(np.ones((len(zero_diagonal), 1)), diagonal, trace, trace, 0)
    zero_diagonal /= scale
    path = _Path(zero_diagonal)
    wanted = CLOSED * allowed / scale
    while not path.ended and path.gap > wanted and path.steps < max_steps:
        if stop(path.value * scale + trace, path.bound * scale + trace):
            break
        path.step()
    dual = path.dual * scale + diagonal
    factor, value = _narrow(zero_diagonal, path.point.matrix, float(path.dual.sum()) + 0.95 * allowed / scale)
    return InteriorPoint(factor, dual, value * scale + trace, path.bound * scale + trace, path.steps)


class _Path:
    """The iterates of one solve: X and S = C - Diag(y), both strictly inside, the best of each kept."""

    def __init__(self, cost: Matrix) -> None:
        self._cost = cost
        self._order = len(cost)
        radii = np.abs(cost).sum(axis=1)
        self.dual = -DOMINANCE * np.maximum(radii, FLOOR * radii.max())
        self.point = _Side(np.eye(self._order), np.eye(self._order))
        slack = self._slack_at(self.dual)
        assert slack is not None  # it is diagonally dominant
        self._slack = slack
        self.value = 0.0
        self.steps = 0
        self.ended = False
        self._milestone, self._reached_at = np.inf, 0
        self._generator = np.random.default_rng(0)

    @property
    def gap(self) -> float:
        return self.value - float(self.dual.sum())

    @property
    def bound(self) -> float:
        """1^T y, less what an eigenvalue of S below zero costs that its Cholesky factorisation overlooked."""
        rounding = 4.0 * float(np.finfo(np.float64).eps) * float(np.abs(self.dual).max())
        return float(self.dual.sum()) - self._order * rounding

    def step(self) -> None:
        """Move both sides along one corrected direction."""
        self.steps += 1
        inverse = _inverse(self._slack.lower)
        schur, failed = la.lapack.dpotrf((inverse * self.point.matrix).T, lower=1, clean=0, overwrite_a=1)
        if failed:
            self.ended = True
            return
        mu = self.gap / self._order
        move, turn = self._direction(inverse, schur, 0.0, None)
        primal, dual = self._lengths(move, turn, 1.0)
        reached = self.gap + primal * float(np.vdot(self._cost, move)) - dual * float(turn.sum())
        share = min(max(reached / self.gap, 0.0), 1.0) ** 2
        move *= turn[:, None]
        move, turn = self._direction(inverse, schur, share * mu, move)
        primal, dual = self._lengths(move, turn, CAUTIOUS + BOLDER * min(primal, dual))
        self._advance(move, turn, primal, dual)

    def _direction(
        self, inverse: Matrix, schur: Matrix, mu: float, remainder: Matrix | None
    ) -> tuple[Matrix, NDArray[np.float64]]:
        """(dX, dy) toward X S = mu I; the remainder is the transpose of R."""
        right = 1.0 - mu * np.diagonal(inverse)
        if remainder is not None:
            right = right - np.einsum("ij,ij->i", inverse, remainder.T)
        turn = la.lapack.dpotrs(schur, right, lower=1)[0]
        moved = self.point.matrix * turn[:, None]
        if remainder is not None:
            moved += remainder
        half = inverse @ moved
        move = half + half.T
        move *= 0.5
        move -= self.point.matrix
        if mu > 0.0:
            move += mu * inverse
        return move, turn

    def _lengths(self, move: Matrix, turn: NDArray[np.float64], share: float) -> tuple[float, float]:
        """Steps of at most one, this share of the way to the boundary on either side."""
        start = self._generator.standard_normal(self._order)
        primal = step_to_boundary(self.point.lower, lambda vector: move @ vector, start)
        dual = step_to_boundary(self._slack.lower, lambda vector: -turn * vector, start)
        return min(1.0, share * primal), min(1.0, share * dual)

    def _advance(self, move: Matrix, turn: NDArray[np.float64], primal: float, dual: float) -> None:
        """Take the steps, shortened until a Cholesky factorisation runs through on either side."""
        point = slack = None
        while point is None and primal > SHORTEST:
            point = _side(_with_unit_diagonal(self.point.matrix + primal * move))
            primal *= BACKTRACK
        while slack is None and dual > SHORTEST:
            trial = self.dual + dual * turn
            slack = self._slack_at(trial)
            dual *= BACKTRACK
        if point is not None:
            self.point, self.value = point, float(np.vdot(self._cost, point.matrix))
        if slack is not None:
            self._slack, self.dual = slack, trial
        if self.gap <= PROGRESS * self._milestone:
            self._milestone, self._reached_at = self.gap, self.steps
        self.ended = (point is None and slack is None) or self.steps - self._reached_at >= PATIENCE

    def _slack_at(self, dual: NDArray[np.float64]) -> _Side | None:
        slack = self._cost.copy()
        np.einsum("ii->i", slack)[:] -= dual
        return _side(slack)


def _side(matrix: Matrix) -> _Side | None:
    """The matrix with its Cholesky factor, or None where it is not positive definite."""
    # symmetric, so that its transpose, which LAPACK reads without a copy of its own making, will do
    lower, failed = la.lapack.dpotrf(matrix.T, lower=1, clean=0)
    return None if failed else _Side(matrix, lower)


def _inverse(lower: Matrix) -> Matrix:
    """(L L^T)^-1, all of it."""
    inverse = la.lapack.dpotri(lower, lower=1)[0]
    return _mirrored(inverse)


def _mirrored(lower: Matrix) -> Matrix:
    """The symmetric matrix of a lower triangle."""
    whole = np.tril(lower)
    whole += np.tril(lower, -1).T
    return whole


def _with_unit_diagonal(matrix: Matrix) -> Matrix:
    """D^-1/2 X D^-1/2 with D the diagonal of X, which differs from ones by rounding."""
    scale = 1.0 / np.sqrt(np.diagonal(matrix))
    matrix *= scale[:, None]
    matrix *= scale
    return matrix


def _narrow(cost: Matrix, point: Matrix, target: float) -> tuple[Matrix, float]:
    """Unit rows of as few principal axes as keep the value at the target, and their value."""
    values, vectors = la.eigh(point, driver="evd", overwrite_a=True, check_finite=False)
    values, axes = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    best: tuple[Matrix, float] | None = None
    for share in NARROWER:
        width = int(np.count_nonzero(values > share * values[0]))
        rows = axes[:, :width] * np.sqrt(values[:width])
        lengths = np.einsum("ij,ij->i", rows, rows)
        if not lengths.min() > 0.0:
            continue
        factor = normalise(rows)
        reached = float(np.vdot(cost @ factor, factor))
        if best is None or reached < best[1]:
            best = factor, reached
        if reached <= target:
            break
    assert best is not None
    return best
