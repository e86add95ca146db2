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
import scipy.linalg as la
from numpy.typing import NDArray

from solvers.linalg.matvec import Matvec
from solvers.linalg.sphere import Factor, row_products
from solvers.linalg.threads import Matrix, RowBlocks

# Axes of V with a smaller share of the largest singular value are not in the range of the solution yet.
AXIS = 0.1
# Axes whose share is smaller still are noise.
NOISE = 0.01
# Of the matrix to be removed: what may be left of it, and the steps spent on that.
RESIDUAL = 1e-2
MAX_STEPS = 30
# Multiplications up to which it is faster to form the equations than to iterate, and what keeps them regular.
FORMED = 2_000_000
RIDGE = 1e-10
# Of the largest singular value of the coupling.
NEGLIGIBLE = 1e-6


class Multipliers(NamedTuple):
    """Multipliers y, and the smallest Ritz value of C - Diag(y) that was seen, with its vector."""

    dual: NDArray[np.float64]
    curvature: float
    vector: NDArray[np.float64]


class FactorRange:
    """The range of V, and C - Diag(y) on it.

    Parameters
    ----------
    matvec : Matvec
        With C.
    factor : (n, k) ndarray
        V, arranged for it.
    rank : int, optional
        Columns of V that are not there only to fill registers; k by default.

    Attributes
    ----------
    dual : (n,) ndarray
        y_i = <(C V)_i, v_i>.
    gradient_norm : float
        Of G = (C - Diag(y)) V.
    deficient : bool
        Whether V has axes to spare.  At a point to which descent has converged they would have grown along any
        negative curvature; a second-order point without them may be spurious (Boumal, Voroninski and Bandeira
        2016).

    Notes
    -----
    Memory for one more array of the size of V.
    """

    def __init__(self, matvec: Matvec, factor: Factor, rank: int | None = None) -> None:
        self._matvec = matvec
        self._factor = factor
        self._blocks = matvec.blocks(factor.shape[1])
        self.dual = np.empty(factor.shape[0])
        # the gradient, with other multipliers later, and what the range is coupled to at last
        self._image = np.empty_like(factor)
        gram, slack, squared = self._blocks.total(self._measure)
        self.gradient_norm = float(np.sqrt(squared))
        if not np.isfinite(self.gradient_norm):
            raise ValueError("cost must be finite; a product with it held NaN or infinite entries")
        # symmetric, so its transpose, which LAPACK need not copy, will do
        self._squares, self._axes, _ = la.lapack.dsyevd(gram.T, overwrite_a=1)
        spare = factor.shape[1] - (rank or factor.shape[1])
        self.deficient = bool(self._squares[spare] <= NOISE**2 * self._squares[-1])
        self._slack = self._axes.T @ slack @ self._axes

    def _measure(self, rows: slice) -> tuple[Matrix, Matrix, Matrix]:
        """V^T V, V^T G and |G|^2."""
        factor = self._factor[rows]
        gradient = self._matvec.rows(self._factor, rows)
        dual = self.dual[rows] = row_products(gradient, factor)
        gradient -= dual[:, None] * factor
        self._image[rows] = gradient
        return factor.T @ factor, factor.T @ gradient, np.asarray(np.vdot(gradient, gradient))

    def plain(self) -> Multipliers:
        """The multipliers as they are: near a solution the smallest eigenvalue almost equals the value here."""
        coordinates, inside = self._projected(NOISE)
        values, vectors = np.linalg.eigh(inside)
        return Multipliers(self.dual, float(values[0]), self._factor @ (coordinates @ vectors[:, 0]))

    def corrected(self) -> Multipliers:
        """The multipliers y + z, once.

        Notes
        -----
        O(n k^2) for each of about ten steps of conjugate gradient, and one product with the cost.
        """
        shift = self._least_shift()
        # axes on their way to noise were not corrected, and are often the most negative then
        coordinates, _ = self._projected(NOISE)
        return Multipliers(self.dual + shift, *self._smallest_ritz(coordinates, shift))

    def corrected_dual(self) -> NDArray[np.float64]:
        """The multipliers y + z alone, for who has a quick way to see what they are worth."""
        return self.dual + self._least_shift()

    def _least_shift(self) -> NDArray[np.float64]:
        """z, for the axes that belong to the solution."""
        coordinates, inside = self._projected(AXIS)
        kind = np.float64 if _is_formed(self._factor.shape[0], coordinates.shape[1]) else np.float32
        basis = self._blocks.map(lambda rows: (self._factor[rows] @ coordinates).astype(kind, copy=False))
        return least_shift(np.concatenate(basis), inside, workers=self._matvec.workers)

    def _projected(self, share: float) -> tuple[Matrix, Matrix]:
        """Coordinates of an orthonormal basis of the principal axes, and the slack matrix in them."""
        first = int(np.searchsorted(self._squares, share**2 * self._squares[-1], side="right"))
        scale = 1.0 / np.sqrt(self._squares[first:])
        inside = scale[:, None] * self._slack[first:, first:] * scale
        return self._axes[:, first:] * scale, 0.5 * (inside + inside.T)

    def _smallest_ritz(
        self, coordinates: Matrix, shift: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64]]:
        """The smallest Ritz value of S' = C - Diag(y + z) on the span of Q and S' Q, and its vector."""
        image, dual = self._image, self.dual + shift

        def shifted(rows: slice) -> tuple[Matrix, Matrix]:
            factor, block = self._factor[rows], image[rows]
            block -= shift[rows, None] * factor
            return factor.T @ block, block.T @ block

        across, squares = self._blocks.total(shifted)
        inside = coordinates.T @ across @ coordinates
        inside = 0.5 * (inside + inside.T)
        lengths, axes = _lengths(coordinates.T @ squares @ coordinates - inside @ inside)
        # S' Q - Q Q^T S' Q along its axes
        directions = np.zeros((2, *across.shape))
        directions[0, :, : lengths.size] = coordinates @ (axes / lengths)
        directions[1, :, : lengths.size] = -coordinates @ inside @ (axes / lengths)

        def coupled(rows: slice) -> None:
            image[rows] = image[rows] @ directions[0] + self._factor[rows] @ directions[1]

        def cornered(rows: slice) -> tuple[Matrix]:
            outside = image[rows]
            return (outside.T @ (self._matvec.rows(image, rows) - dual[rows, None] * outside),)

        self._blocks.map(coupled)
        (corner,) = self._blocks.total(cornered)
        rank = coordinates.shape[1]
        whole = np.zeros((rank + lengths.size,) * 2)
        whole[:rank, :rank] = inside
        # only the lower triangle is read
        whole[rank:, :rank] = (axes * lengths).T
        whole[rank:, rank:] = corner[: lengths.size, : lengths.size]
        values, vectors = np.linalg.eigh(whole)
        vector = self._factor @ (coordinates @ vectors[:rank, 0])
        vector += image[:, : lengths.size] @ vectors[rank:, 0]
        return float(values[0]), vector


def _lengths(gram: Matrix) -> tuple[NDArray[np.float64], Matrix]:
    """Singular values and right axes of a matrix E with this E^T E, but for the negligible."""
    squares, axes = np.linalg.eigh(gram)
    kept = squares > NEGLIGIBLE**2 * squares[-1]
    return np.sqrt(squares[kept]), axes[:, kept]


def least_shift(
    basis: NDArray[np.floating],
    target: NDArray[np.float64],
    share: float = RESIDUAL,
    max_steps: int = MAX_STEPS,
    workers: int = 1,
) -> NDArray[np.float64]:
    r"""The z of least norm with Q^T Diag(z) Q = target but for a share of it: z_i = <q_i, L q_i> for some L.

    L, symmetric like the target, solves :math:`\sum_i \langle q_i, L q_i\rangle q_i q_i^T` = target.

    Notes
    -----
    O(n k^2) a step of conjugate gradient, preconditioned by what the sum would be for Gaussian q_i.
    """
    rows, rank = basis.shape
    if _is_formed(rows, rank):
        return _formed_least_shift(basis, target)
    # any z gives a bound, and this one is wanted to a percent
    single = basis.astype(np.float32, copy=False)
    blocks = RowBlocks(rows, rank, workers)
    multiplier, residual = np.zeros_like(target), target.copy()
    direction = conditioned = _conditioned(residual, rows)
    product = np.vdot(residual, conditioned)
    goal = share**2 * np.vdot(residual, residual)
    for _ in range(max_steps):
        if np.vdot(residual, residual) <= goal:
            break
        image = _weighted_gram(single, direction, blocks)
        curvature = np.vdot(direction, image)
        if not curvature > 0.0:
            break
        multiplier += product / curvature * direction
        residual -= product / curvature * image
        conditioned = _conditioned(residual, rows)
        previous, product = product, np.vdot(residual, conditioned)
        direction = conditioned + product / previous * direction
    return np.concatenate(blocks.map(lambda block: _quadratic_forms(single[block], multiplier)))


def _is_formed(rows: int, rank: int) -> bool:
    return rows * (rank * (rank + 1) // 2) ** 2 <= FORMED


def _weighted_gram(basis: NDArray[np.float32], matrix: Matrix, blocks: RowBlocks) -> Matrix:
    """The sum of <q_i, M q_i> q_i q_i^T."""

    def block_of_it(rows: slice) -> tuple[Matrix]:
        block = basis[rows]
        weighted = block * _quadratic_forms(block, matrix).astype(np.float32)[:, None]
        return ((block.T @ weighted).astype(np.float64),)

    return blocks.total(block_of_it)[0]


def _formed_least_shift(basis: NDArray[np.floating], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """With the products q_ia q_ib, a <= b, as rows: their least-squares equations, one for each entry of L."""
    first, second = _pairs(basis.shape[1])
    axes = np.ascontiguousarray(basis.T)
    products = axes[first] * axes[second]
    equations = products @ products.T
    np.einsum("ii->i", equations)[:] *= 1.0 + RIDGE
    # the ridge is far above rounding, so this cannot fail
    _, solution, _ = la.lapack.dposv(equations.T, target[first, second], lower=1, overwrite_a=1)
    return np.asarray(solution @ products)


@cache
def _pairs(rank: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    first, second = np.triu_indices(rank)
    return first, second


def _quadratic_forms(basis: NDArray[np.float32], matrix: Matrix) -> NDArray[np.float64]:
    """<q_i, M q_i> for each row."""
    image = basis @ matrix.astype(np.float32)
    image *= basis
    return (image @ np.ones(basis.shape[1], np.float32)).astype(np.float64)


def _conditioned(matrix: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    """The inverse of L -> (2 L + tr(L) I) / n."""
    rank = matrix.shape[0]
    return 0.5 * rows * (matrix - np.trace(matrix) / (rank + 2.0) * np.eye(rank))
