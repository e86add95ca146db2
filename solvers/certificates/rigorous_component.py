"""A proved bound on one connected part of a problem, from a Cholesky factorisation that runs through."""

from __future__ import annotations

import math

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.certificates.dual_bound import dense_cost, dense_slack
from solvers.certificates.shift_ladder import rising
from solvers.linalg.lanczos import Krylov, smallest_eigenpair, start_vector
from solvers.linalg.sparse_cholesky import SparseCholesky, dense_factorises
from solvers.problems.cost import Cost, scale_symmetrically

Vector = NDArray[np.float64]

# Up to this order an eigenvalue is cheaper than a shift that was guessed too large or too small.
MEASURED_ORDER = 200

UNIT_ROUNDOFF = 2.0**-53
TINY = float(np.finfo(np.float64).tiny)
# Shifts that grow carefully.
CAREFUL_ATTEMPTS = 4


class RigorousComponent:
    """One connected part of a scaled problem.

    Parameters
    ----------
    zero_diagonal : (n, n) ndarray or csr_array
        C without its diagonal, entries below one.
    diagonal, dual : (n,) ndarray
        The diagonal of C, and y.
    weights : (n,) ndarray
        a in [1, 4).
    uncertainty : float
        A bound on the spectral norm of what C may be off by.
    """

    def __init__(
        self, zero_diagonal: Cost, diagonal: Vector, dual: Vector, weights: Vector, uncertainty: float
    ) -> None:
        self._zero_diagonal = zero_diagonal
        self._diagonal = diagonal
        self._dual = dual
        self._weights = weights
        self._uncertainty = uncertainty
        self._factorisation: SparseCholesky | _DenseFactorisation
        if sp.issparse(zero_diagonal) and dual.shape[0] > MEASURED_ORDER:
            self._factorisation = SparseCholesky(zero_diagonal)
        else:
            self._factorisation = _DenseFactorisation(zero_diagonal)

    def terms(self, smallest_eigenvalue: float | None) -> list[float]:
        """Numbers whose sum is a proved bound: a_i z_i, and what the factorisation may have missed."""
        slack = self._diagonal - self._dual
        if smallest_eigenvalue is None or slack.shape[0] <= MEASURED_ORDER:
            smallest_eigenvalue = self._smallest_eigenvalue()
        else:
            smallest_eigenvalue *= 1.01
        magnitude = float(np.abs(slack).max())
        margin = 2.0 * float(self._weights.max()) * self._backward_error(slack)
        first = max(-smallest_eigenvalue, 0.0) + margin
        for shift in rising(first, CAREFUL_ATTEMPTS, max(UNIT_ROUNDOFF * magnitude, TINY)):
            lowered = self._dual - shift / self._weights
            slack = self._diagonal - lowered
            if np.all(slack >= 0) and self._factorisation.factorises(slack):
                break
        # forming c_ii - z_i rounds once
        missed = self._backward_error(slack) + UNIT_ROUNDOFF * float(slack.max()) + TINY + self._uncertainty
        trace = math.fsum(self._weights) * (1.0 + 4.0 * UNIT_ROUNDOFF)
        loss = trace * missed * (1.0 + 16.0 * UNIT_ROUNDOFF)
        return [*products_below(self._weights, lowered), -loss]

    def _smallest_eigenvalue(self) -> float:
        """The smallest eigenvalue of the slack matrix at unit diagonal, as an estimate."""
        unit = np.all(self._weights == 1.0)
        cost = (
            self._zero_diagonal if unit else scale_symmetrically(self._zero_diagonal, np.sqrt(self._weights))
        )
        dual = self._weights * (self._dual - self._diagonal)
        if dual.shape[0] <= MEASURED_ORDER:
            return float(la.eigvalsh(dense_slack(cost, dual), subset_by_index=[0, 0])[0])
        start = start_vector(dual.shape[0], np.random.default_rng(0))
        # its error is left out: that is often a hundred times too large, and factorisations have the last word
        return smallest_eigenpair(Krylov(cost, dual, start), tolerance=1e-10).value

    def _backward_error(self, diagonal: Vector) -> float:
        r"""A bound on :math:`|S - L L^T|_2` for a factorisation of S that ran through, from the diagonal of S.

        The sums of an entry (i, j) have at most min(s_i, s_j) terms, and row i of L is no longer than the square
        root of s_ii / (1 - gamma_i): so the entry is off by at most the product of d_i and d_j, where d_i^2 is
        gamma_i / (1 - gamma_i) times s_ii, and the matrix of these products has norm sum d_i^2.
        """
        lengths = self._factorisation.row_lengths
        operations = (lengths + 3.0) * UNIT_ROUNDOFF
        gamma = operations / (1.0 - operations)
        total = float(np.sum(gamma / (1.0 - gamma) * np.abs(diagonal)))
        # adding up rounds, too, and products may underflow, each by less than the smallest normal number
        return 1.01 * total + float(lengths.max()) * diagonal.shape[0] * TINY


class _DenseFactorisation:
    """A factorisation like `SparseCholesky`, of a matrix that is dense, or too small for another order to pay."""

    def __init__(self, zero_diagonal: Cost) -> None:
        self._matrix = dense_cost(zero_diagonal)
        # LAPACK may go by blocks from either end
        self.row_lengths = np.full(self._matrix.shape[0], self._matrix.shape[0])

    def factorises(self, diagonal: Vector) -> bool:
        self._matrix[np.diag_indices_from(self._matrix)] = diagonal
        return dense_factorises(self._matrix)


def products_below(weights: Vector, values: Vector) -> Vector:
    """a_i z_i rounded down; exact where a_i = 1."""
    with np.errstate(under="ignore"):
        products = weights * values
    return np.where(weights == 1.0, values, np.nextafter(products, -np.inf))
