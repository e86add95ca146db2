"""Lower bounds from a dual vector: the smallest eigenvalue of C - Diag(y) decides.

For any y, 1^T y + N lambda_min(C - Diag(y)) bounds <C, Y> from below on the elliptope, because Y is PSD with
trace N.  With y_i = <(C V)_i, v_i> the first term is the value at V, so the second is the whole gap.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from solvers import checks
from solvers.linalg.lanczos import Krylov, smallest_eigenpair, start_vector
from solvers.linalg.sphere import row_products
from solvers.problems.problem import Cost, Elliptope, as_cost

# Up to this order LAPACK's eigenvalues cost little and are accurate to rounding.
DENSE_ORDER = 200


class DualBound(NamedTuple):
    """A lower bound, the eigenvalue estimate behind it (at unit diagonal), and how far that may be off."""

    bound: float
    smallest_eigenvalue: float
    error: float


def dual_vector(cost: Cost, factor: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""y_i = <(C V)_i, v_i>: the multipliers at a critical factor; their sum is <C, V V^T>.

    Raises
    ------
    TypeError, ValueError
        If cost or factor do not fit each other, or hold what is not a finite real number.

    Examples
    --------
    >>> dual_vector(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[1.0], [-1.0]]))
    array([-1., -1.])
    """
    cost = as_cost("cost", cost)
    rows = checks.real_array("factor", factor, dimensions=2)
    if rows.shape[0] != cost.shape[0]:
        raise ValueError(f"factor must have {cost.shape[0]} rows; found shape {rows.shape}")
    return row_products(np.asarray(cost @ rows), rows)


def dual_bound(
    cost: Cost,
    dual: NDArray[np.float64],
    *,
    diagonal: ArrayLike | None = None,
    rng: np.random.Generator | int | None = None,
) -> DualBound:
    r"""Estimated lower bound :math:`1^T y + N \min(\lambda_{\min}(C - Diag(y)), 0)` on the elliptope.

    With diag(Y) = a it is :math:`a^T y + N \min(\lambda_{\min}(D^{1/2} (C - Diag(y)) D^{1/2}), 0)`, D = Diag(a).

    Parameters
    ----------
    cost : (N, N) ndarray, sparse array or LinearOperator
        Symmetric C.
    dual : (N,) ndarray
        Any vector y.
    diagonal : (N,) array_like, optional
        The a > 0 of diag(Y) = a; ones by default.
    rng : numpy Generator or seed, optional
        For the start of the Lanczos recurrence, used above N = 200.

    Returns
    -------
    DualBound
        The eigenvalue's error is subtracted before the bound is formed.  LAPACK's eigenvalues are accurate
        to rounding; a Lanczos value comes from above, and its error says only that some eigenvalue is so near.
        One that hides from the start vector, or that 5,000 products do not reach, leaves the bound too high by up
        to N times its distance: this is an estimate.  `solvers.certificates.rigorous.rigorous_bound` is a proof.

    Examples
    --------
    >>> round(dual_bound(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([-1.0, -1.0])).bound, 12)
    -2.0
    """
    problem = Elliptope(cost, diagonal=diagonal)
    cost, order = problem.unit().cost, problem.size
    dual = problem.diagonal * checks.vector("dual", dual, length=order)
    if order <= DENSE_ORDER:
        slack = dense_slack(cost, dual)
        smallest = float(la.eigvalsh(slack, subset_by_index=[0, 0])[0])
        error = float(np.finfo(np.float64).eps * np.linalg.norm(slack))
    else:
        start = start_vector(order, checks.generator("rng", rng))
        pair = smallest_eigenpair(Krylov(cost, dual, start))
        smallest, error = pair.value, pair.error
    bound = float(np.sum(dual)) + order * min(smallest - error, 0.0)
    return DualBound(bound, smallest, error)


def cholesky_proves(cost: Cost, dual: NDArray[np.float64], threshold: float) -> bool:
    """Whether C - Diag(y) - threshold I has a Cholesky factorisation, so no eigenvalue is below the threshold.

    It is a proof but for rounding, of the order of 1e-16 N times the largest entry; O(N^3 / 3).
    """
    slack = dense_slack(cost, dual + threshold)
    # symmetric, so its transpose, which LAPACK need not copy, will do
    return bool(la.lapack.dpotrf(slack.T, lower=1, clean=0, overwrite_a=1)[1] == 0)


def dense_slack(cost: Cost, dual: NDArray[np.float64]) -> NDArray[np.float64]:
    """C - Diag(y) as a dense array."""
    slack = dense_cost(cost)
    np.einsum("ii->i", slack)[:] -= dual
    return slack


def dense_cost(cost: Cost) -> NDArray[np.float64]:
    """C as a new dense array; an operator is applied to the identity and symmetrised."""
    if isinstance(cost, LinearOperator):
        dense = np.asarray(cost @ np.eye(cost.shape[0]), dtype=np.float64)
        return 0.5 * dense + 0.5 * dense.T
    return np.asarray(cost.toarray() if sp.issparse(cost) else np.array(cost))
