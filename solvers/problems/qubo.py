"""Quadratic forms over {0, 1} and in Ising's notation, as forms in signs, and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from solvers import checks
from solvers.problems.cost import Cost, symmetrise
from solvers.problems.enclosures import mean_error, product_with_error
from solvers.problems.foreign import as_plain


def signs_from_binary(Q: Any) -> tuple[Cost, NDArray[np.float64], float, float]:
    """A, b, the constant and an error: w^T A w + b^T w + constant is within it of x^T Q x at x = (1 + w)/2.

    A = Q/4, b = Q 1/2 and the constant 1^T Q 1/4, with Q replaced by (Q + Q^T)/2.
    """
    quarter, error = _quarter(Q)
    rows, errors = product_with_error(quarter, np.ones(quarter.shape[0]))
    constant, last = product_with_error(rows[None, :], np.ones(rows.shape[0]))
    return quarter, 2.0 * rows, float(constant[0]), error + 3.0 * math.fsum(errors) + float(last[0])


def _quarter(Q: Any) -> tuple[Cost, float]:
    """(Q + Q^T)/8, and how much its entries may be off by, all together."""
    given = as_plain("Q", Q)
    if sp.issparse(given):
        given = checks.square_sparse("Q", given)
        quarter = symmetrise(given)
        quarter.data = checks.exact_multiple("Q", quarter.data, 0.25)
        return quarter, mean_error(given.data, quarter.data)
    given = checks.square_dense("Q", given)
    quarter = checks.exact_multiple("Q", symmetrise(given), 0.25)
    return quarter, mean_error(given, quarter)


def binary_from_signs(A: Cost, b: NDArray[np.float64], constant: float) -> tuple[Cost, float]:
    """Q and the constant with x^T Q x + constant = w^T A w + b^T w + constant' at w = 2 x - 1.

    Q = 4 A + Diag(2 b - 4 A 1) and the constant is that of the signs plus 1^T A 1 - 1^T b.
    """
    rows = np.asarray(A @ np.ones(b.shape[0]))
    diagonal = 2.0 * b - 4.0 * rows
    offset = constant + float(rows.sum()) - float(b.sum())
    if sp.issparse(A):
        form = sp.csr_array(4.0 * A + sp.diags_array(diagonal))
        form.eliminate_zeros()
        return form, offset
    return 4.0 * np.asarray(A) + np.diag(diagonal), offset


def signs_from_ising(J: Any, h: ArrayLike | None) -> tuple[Cost, NDArray[np.float64] | None]:
    """A = (J + J^T)/2 and b = h of the energy sum_{i<j} J_ij s_i s_j + h^T s; J triangular.

    Raises
    ------
    ValueError
        If J has a diagonal, or entries on both sides of it: then nobody can tell how often a pair counts.
    """
    couplings = as_plain("J", J)
    matrix = sp.csr_array(
        checks.square_sparse("J", couplings)
        if sp.issparse(couplings)
        else checks.square_dense("J", couplings)
    )
    form = symmetrise(couplings)
    if np.any(matrix.diagonal()):
        raise ValueError("J must have a zero diagonal, since s_i^2 = 1; add the diagonal's sum to constant")
    if sp.triu(matrix, 1).count_nonzero() and sp.tril(matrix, -1).count_nonzero():
        raise ValueError(
            "J must be triangular, each pair given once; found entries on both sides of the diagonal. Pass "
            "np.triu(J, 1) for the energy sum_{i<j} J_ij s_i s_j, or use BinaryQuadratic(J, h) for s^T J s + h^T s"
        )
    return form, None if h is None else checks.vector("h", as_plain("h", h), length=form.shape[0])
