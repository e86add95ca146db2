r"""Multipliers of second order: what makes a certificate need half the iterations.

At an approximate solution V the multipliers y_i = <(C V)_i, v_i> leave S = C - Diag(y) as negative on the range of
V as its gradient S V is large.  With Q an orthonormal basis of that range, the z of least norm among those with
:math:`Q^T (S - Diag(z)) Q = 0` removes all of it to first order.  What is left is the coupling E = S' Q of the
range with its complement, S' = S - Diag(z), which moves eigenvalues by its square only.  The sum of z is the
trace of :math:`V^T S V = 0` where Q spans all of V, so the correction costs nothing in the bound.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.products import Products
from solvers.sphere import Factor

# Axes of V with a smaller share of the largest singular value are not in the range of the solution yet.
AXIS = 0.1
# Axes whose share is smaller still are noise.
NOISE = 0.01
# Of the matrix to be removed: what may be left of it, and the steps spent on that.
RESIDUAL = 1e-2
MAX_STEPS = 30
# Multiplications up to which it is faster to form the equations than to iterate, and what keeps them regular.
FORMED = 2_000_000
RIDGE = 1e-12
# Of the largest singular value of the coupling.
NEGLIGIBLE = 1e-6


class Multipliers(NamedTuple):
    """Multipliers y, and the smallest Ritz value of C - Diag(y) that was seen, with its vector."""

    dual: NDArray[np.float64]
    curvature: float
    vector: NDArray[np.float64]


class FactorRange:
    """The range of V, and C - Diag(y) on it, from the gradient alone.

    Parameters
    ----------
    factor, gradient : (n, k) ndarray
        V and G = (C - Diag(y)) V.
    dual : (n,) ndarray
        y.
    rank : int, optional
        Columns of V that are not there only to fill registers; k by default.

    Attributes
    ----------
    deficient : bool
        Whether V has axes to spare.  At a point to which descent has converged they would have grown along any
        negative curvature; a second-order point without them may be spurious (Boumal, Voroninski and Bandeira
        2016).
    """

    def __init__(
        self, factor: Factor, gradient: Factor, dual: NDArray[np.float64], rank: int | None = None
    ) -> None:
        self._factor = factor
        self._gradient = gradient
        self._dual = dual
        self._squares, self._axes = np.linalg.eigh(factor.T @ factor)
        spare = factor.shape[1] - (rank or factor.shape[1])
        self.deficient = bool(self._squares[spare] <= NOISE**2 * self._squares[-1])
        self._slack = self._axes.T @ (factor.T @ gradient) @ self._axes

    def plain(self) -> Multipliers:
        """The multipliers as they are: near a solution the smallest eigenvalue almost equals the value here."""
        coordinates, inside = self._projected(NOISE)
        values, vectors = np.linalg.eigh(inside)
        return Multipliers(self._dual, float(values[0]), self._factor @ (coordinates @ vectors[:, 0]))

    def corrected(self, products: Products) -> Multipliers:
        """The multipliers y + z.

        Notes
        -----
        O(n k^2) for each of about ten steps of conjugate gradient, and one product with the cost.
        """
        shift = self._least_shift()
        dual = self._dual + shift
        # axes on their way to noise were not corrected, and are often the most negative then
        coordinates, _ = self._projected(NOISE)
        image = (self._gradient - shift[:, None] * self._factor) @ coordinates
        return Multipliers(dual, *_smallest_ritz(products, self._factor @ coordinates, image, dual))

    def corrected_dual(self) -> NDArray[np.float64]:
        """The multipliers y + z alone, for who has a quick way to see what they are worth."""
        return self._dual + self._least_shift()

    def _least_shift(self) -> NDArray[np.float64]:
        """z, for the axes that belong to the solution."""
        coordinates, inside = self._projected(AXIS)
        return least_shift(self._factor @ coordinates, inside)

    def _projected(self, share: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Coordinates of an orthonormal basis of the principal axes, and the slack matrix in them."""
        first = int(np.searchsorted(self._squares, share**2 * self._squares[-1], side="right"))
        scale = 1.0 / np.sqrt(self._squares[first:])
        inside = scale[:, None] * self._slack[first:, first:] * scale
        return self._axes[:, first:] * scale, 0.5 * (inside + inside.T)


def least_shift(
    basis: Factor, target: NDArray[np.float64], share: float = RESIDUAL, max_steps: int = MAX_STEPS
) -> NDArray[np.float64]:
    r"""The z of least norm with Q^T Diag(z) Q = target but for a share of it: z_i = <q_i, L q_i> for some L.

    L, symmetric like the target, solves :math:`\sum_i \langle q_i, L q_i\rangle q_i q_i^T` = target.

    Notes
    -----
    O(n k^2) a step of conjugate gradient, preconditioned by what the sum would be for Gaussian q_i.
    """
    rows, rank = basis.shape
    if rows * (rank * (rank + 1) // 2) ** 2 <= FORMED:
        return _formed_least_shift(basis, target)
    # any z gives a bound, and this one is wanted to a percent
    single = basis.astype(np.float32)
    multiplier, residual = np.zeros_like(target), target.copy()
    direction = conditioned = _conditioned(residual, rows)
    product = np.vdot(residual, conditioned)
    goal = share**2 * np.vdot(residual, residual)
    for _ in range(max_steps):
        if np.vdot(residual, residual) <= goal:
            break
        weighted = single * _quadratic_forms(single, direction)[:, None]
        image = (single.T @ weighted).astype(np.float64)
        curvature = np.vdot(direction, image)
        if not curvature > 0.0:
            break
        multiplier += product / curvature * direction
        residual -= product / curvature * image
        conditioned = _conditioned(residual, rows)
        previous, product = product, np.vdot(residual, conditioned)
        direction = conditioned + product / previous * direction
    return _quadratic_forms(single, multiplier).astype(np.float64)


def _formed_least_shift(basis: Factor, target: NDArray[np.float64]) -> NDArray[np.float64]:
    """With the products q_ia q_ib, a <= b, as rows: their least-squares equations, one for each entry of L."""
    first, second = _pairs(basis.shape[1])
    axes = np.ascontiguousarray(basis.T)
    products = axes[first] * axes[second]
    equations = products @ products.T
    equations.flat[:: first.size + 1] *= 1.0 + RIDGE
    return np.linalg.solve(equations, target[first, second]) @ products


@cache
def _pairs(rank: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    first, second = np.triu_indices(rank)
    return first, second


def _quadratic_forms(basis: NDArray[np.float32], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """<q_i, M q_i> for each row."""
    image = basis @ matrix.astype(np.float32)
    image *= basis
    return image @ np.ones(basis.shape[1], np.float32)


def _conditioned(matrix: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    """The inverse of L -> (2 L + tr(L) I) / n."""
    rank = matrix.shape[0]
    return 0.5 * rows * (matrix - np.trace(matrix) / (rank + 2.0) * np.eye(rank))


def _smallest_ritz(
    products: Products, basis: Factor, image: Factor, dual: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """The smallest Ritz value of S' on the span of Q and S' Q, and its vector."""
    inside = basis.T @ image
    coupling = image - basis @ inside
    squares, axes = np.linalg.eigh(coupling.T @ coupling)
    kept = squares > NEGLIGIBLE**2 * squares[-1]
    lengths = np.sqrt(squares[kept])
    outside = coupling @ (axes[:, kept] / lengths)
    across = axes[:, kept] * lengths
    corner = outside.T @ (products @ outside - dual[:, None] * outside)
    rank = basis.shape[1]
    whole = np.empty((rank + lengths.size,) * 2)
    whole[:rank, :rank] = inside
    whole[:rank, rank:] = across
    whole[rank:, :rank] = across.T
    whole[rank:, rank:] = corner
    # only the lower triangle is read
    values, vectors = np.linalg.eigh(whole)
    return float(values[0]), basis @ vectors[:rank, 0] + outside @ vectors[rank:, 0]
