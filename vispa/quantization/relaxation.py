"""The semidefinite relaxation of a layer's row: signs rounded from it, and bounds on what any signs can reach.

At fixed scales D the error of signs s is s^T D A D s - 2 (D a)^T s + E, a quadratic whose relaxation bounds it at
these scales (claim L2).  Over all scales too, one a row, the error is at least E - t wherever
v(t) = max <a a^T - t A, Y> over the elliptope is not positive (claim L3): its root is found by Dinkelbach's steps
t <- <a a^T, Y> / <A, Y>.  Every relaxation is solved by `solvers.methods.interior_point`, whose multipliers prove
the bound but for rounding, which is subtracted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.methods.interior_point import InteriorPoint, interior_point
from vispa.quantization.layer_problem import Matrix

Vector = NDArray[np.float64]

# Of a row's error: how near the relaxation's value its bound must come.
CLOSE = 1e-3
# Roundings of a factor, and how many of them are kept.
SAMPLES = 64
KEPT = 2
MAX_DINKELBACH = 8
# What sums of a row's products may be off by, as a share of the sum of their sizes.
ROUNDING = 8.0 * float(np.finfo(np.float64).eps)


class Row(NamedTuple):
    """One row of a `LayerProblem`.

    Attributes
    ----------
    gram, linear, energy
        Its A, a and E.
    size, reach : float, optional
        Sums of sizes behind E and a, |w|^T |A| |w| and 1^T |A| |w|: where outputs cancel, both are known to so many
        roundings only.
    """

    gram: Matrix
    linear: Vector
    energy: float
    size: float = 0.0
    reach: float = 0.0

    def image_norm(self, signs: Vector) -> float:
        """s^T A s."""
        return float(signs @ (self.gram @ signs))

    def scaled(self) -> tuple[Row, float, float]:
        """The row with entries of size one at most, its Gram matrix and its errors being so many times these.

        Both are powers of two, so that nothing is rounded; a a^T neither overflows nor vanishes then.
        """
        gram = 2.0 ** np.frexp(float(np.diagonal(self.gram).max()))[1]
        linear = 2.0 ** np.frexp(float(np.abs(self.linear).max()))[1]
        errors = linear / gram * linear
        row = Row(
            self.gram / gram,
            self.linear / linear,
            self.energy / errors,
            self.size / errors,
            self.reach / linear,
        )
        return row, float(gram), float(errors)


class ScaleBound(NamedTuple):
    """A lower bound of the error at fixed scales, and signs (KEPT, n) rounded from the relaxation."""

    bound: float
    signs: Matrix


def scale_bound(row: Row, scales: Vector, error: float, rng: np.random.Generator) -> ScaleBound:
    """Bound the error of any signs at these scales (n,), and round the relaxation; O(n^3) some fifteen times."""
    cost = _cost_at(row, scales)
    found = interior_point(cost, CLOSE * error)
    lost = ROUNDING * (row.energy + row.size + float(np.abs(cost).sum()))
    return ScaleBound(max(found.bound + row.energy - lost, 0.0), _rounded(found, cost, rng))


def joint_bound(row: Row, signs: Vector, error: float, least_norm: float) -> float:
    """Bound the error of any signs at any scale; ``signs`` and their error are the best known.

    Parameters
    ----------
    least_norm : float
        A lower bound of s^T A s over all signs, such as `least_image_norm`; 0 where none is known.
    """
    if not error > 0.0 or not np.any(row.linear):
        return 0.0
    row, of_gram, of_errors = row.scaled()
    return of_errors * _scaled_bound(row, signs, error / of_errors, least_norm / of_gram)


def _scaled_bound(row: Row, signs: Vector, error: float, least_norm: float) -> float:
    outer = np.outer(row.linear, row.linear)
    norm = row.image_norm(signs)
    root = float(row.linear @ signs) ** 2 / norm if norm > 0.0 else 0.0
    reach = max(row.reach, float(np.abs(row.linear).sum()))
    lost = ROUNDING * (row.energy + row.size + reach**2 / max(norm, least_norm, np.finfo(float).tiny))
    for _ in range(MAX_DINKELBACH):
        found = interior_point(root * row.gram - outer, CLOSE * error * norm)
        if found.bound >= 0.0:
            return max(row.energy - root - lost, 0.0)
        if least_norm > 0.0 and -found.bound / least_norm <= 10.0 * CLOSE * error:
            return max(row.energy - root + found.bound / least_norm - lost, 0.0)
        step, norm = _ratio(row, found.factor)
        # a little further, so that the last multipliers can prove it
        root = max(step, root) + CLOSE * error
        if root >= row.energy:
            break
    return 0.0


def _cost_at(row: Row, scales: Vector) -> Matrix:
    """The homogenised quadratic s^T D A D s - 2 (D a)^T s, the constant one first."""
    cost = np.pad(row.gram * scales[:, None] * scales, (1, 0))
    cost[0, 1:] = cost[1:, 0] = -scales * row.linear
    return cost


def _ratio(row: Row, factor: Matrix) -> tuple[float, float]:
    """<a a^T, Y> / <A, Y> and <A, Y> for Y = V V^T."""
    norm = float(np.vdot(row.gram @ factor, factor))
    projected = row.linear @ factor
    return float(projected @ projected) / max(norm, np.finfo(float).tiny), norm


def least_image_norm(gram: Matrix) -> float:
    """A lower bound of s^T A s over all signs, by its relaxation; once a layer."""
    found = interior_point(gram, 1e-6 * float(np.trace(gram)))
    return max(found.bound - ROUNDING * float(np.abs(gram).sum()), 0.0)


def _rounded(found: InteriorPoint, cost: Matrix, rng: np.random.Generator) -> Matrix:
    """The best of some roundings of a factor whose row 0 stands for the constant one."""
    drawn = found.factor @ rng.standard_normal((found.factor.shape[1], SAMPLES))
    signs = np.where(drawn * np.where(drawn[:1] >= 0.0, 1.0, -1.0) >= 0.0, 1.0, -1.0)
    values = np.einsum("ij,ij->j", cost @ signs, signs)
    return np.ascontiguousarray(signs[1:, np.argsort(values, kind="stable")[:KEPT]].T)
