"""One-flip local search on the cube."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from solvers.binary import BinaryForm, binary_form, diagonal
from solvers.problem import Problem, as_points, as_problem

# Improves rows of signs (m, n) in place.
Search = Callable[[NDArray[np.float64]], None]


def one_flip(problem: Problem, signs: ArrayLike) -> NDArray[np.int8]:
    r"""Improve a point until no single flip lowers the objective.

    Dense and sparse costs: the signs are visited in turn, any flip that gains is made, and the local fields
    follow, O(1) a visit and O(degree) a flip.  A LinearOperator: the best flip of all, at one product each.
    Flips that gain less than 1e-12 of the coefficients at their sign count as rounding.

    Parameters
    ----------
    problem : BinaryQuadratic, MaxCut or Elliptope
    signs : (n,) or (m, n) array_like
        Points of the cube; not changed.

    Returns
    -------
    (n,) or (m, n) int8 ndarray
        One-flip local minima, none worse than its start.  Row 0 of a homogenised Elliptope may come out as -1.

    Raises
    ------
    ValueError
        If ``signs`` does not fit or holds anything but +-1.

    Examples
    --------
    >>> from solvers.problem import MaxCut
    >>> one_flip(MaxCut([[0, 1], [1, 0]]), [1, 1])
    array([-1,  1], dtype=int8)
    """
    form = binary_form(as_problem(problem))
    points = as_points(signs, form.n)
    rows = np.array(points.reshape(-1, form.n), order="C")
    local_search(form)(rows)
    return rows.reshape(points.shape).astype(np.int8)


def local_search(form: BinaryForm) -> Search:
    """Prepare the search once; apply it to any number of batches."""
    if isinstance(form.A, LinearOperator):
        return _operator_search(form)
    from solvers.kernels.flips import search_dense, search_sparse

    b, entries = form.b, diagonal(form.A)
    absolute = abs(form.A)
    weight = np.asarray(absolute.sum(axis=1)).ravel() + 0.5 * np.abs(b)
    if sp.issparse(form.A):
        matrix = sp.csr_array(form.A)
        csr = (matrix.data, matrix.indices, matrix.indptr)
        return lambda rows: search_sparse(*csr, entries, b, weight, rows)
    dense = np.ascontiguousarray(form.A)
    return lambda rows: search_dense(dense, entries, b, weight, rows)


def _operator_search(form: BinaryForm) -> Search:
    """Flip the best sign of each row until none gains; all rows share a product with the operator."""
    entries = diagonal(form.A)

    def search(rows: NDArray[np.float64]) -> None:
        active = np.arange(rows.shape[0])
        while active.shape[0]:
            points = rows[active]
            fields = np.asarray(form.A @ points.T).T - entries * points + 0.5 * form.b
            gains = points * fields
            best = np.argmax(gains, axis=1)
            margin = 1e-12 * np.abs(fields).max(axis=1, initial=0.0)
            better = gains[np.arange(active.shape[0]), best] > margin
            active, best = active[better], best[better]
            rows[active, best] *= -1.0

    return search
