"""One-flip and two-flip local search on the cube."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from solvers.problems.binary_form import BinaryForm, binary_form, dense_matrix, diagonal
from solvers.problems.problem import Problem, as_points, as_problem

# Improves rows of signs (m, n) in place.
Search = Callable[[NDArray[np.float64]], None]

# An operator is formed densely up to this order where rows of A are needed: 128 MB.
MAX_OPERATOR = 4096


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
    >>> from solvers.problems.problem import MaxCut
    >>> one_flip(MaxCut([[0, 1], [1, 0]]), [1, 1])
    array([-1,  1], dtype=int8)
    """
    return _improve(local_search, problem, signs)


def two_flip(problem: Problem, signs: ArrayLike) -> NDArray[np.int8]:
    r"""Improve a point until no flip of one sign or of two lowers the objective.

    With local fields :math:`f_i = \sum_{j \ne i} A_{ij} w_j + b_i / 2`, flipping both w_i and w_j changes the
    objective by :math:`-4 (w_i f_i + w_j f_j - 2 A_{ij} w_i w_j)`.  At a one-flip minimum the first two terms are
    at most zero, so only pairs with :math:`A_{ij} w_i w_j < 0` can gain: the search runs to a one-flip minimum
    first, and then visits each sign with those that A couples to it, O(degree) a visit and a flip.  Gains below
    1e-12 of the coefficients at the signs count as rounding.

    Parameters
    ----------
    problem : BinaryQuadratic, MaxCut or Elliptope
        Dense or sparse; a LinearOperator is formed densely, which is allowed up to n = 4096.
    signs : (n,) or (m, n) array_like
        Points of the cube; not changed.

    Returns
    -------
    (n,) or (m, n) int8 ndarray
        One- and two-flip local minima, none worse than its start.  Row 0 of a homogenised Elliptope may come out
        as -1.

    Raises
    ------
    ValueError
        If ``signs`` does not fit or holds anything but +-1, or if a LinearOperator is too large.

    Examples
    --------
    No single flip helps the square cut in half beside itself, but flipping one edge's ends does.

    >>> from solvers.problems.problem import MaxCut
    >>> square = MaxCut([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]])
    >>> one_flip(square, [1, 1, -1, -1]), two_flip(square, [1, 1, -1, -1])
    (array([ 1,  1, -1, -1], dtype=int8), array([-1,  1, -1,  1], dtype=int8))
    """
    return _improve(pair_search, problem, signs)


def _improve(prepare: Callable[[BinaryForm], Search], problem: Problem, signs: ArrayLike) -> NDArray[np.int8]:
    form = binary_form(as_problem(problem))
    points = as_points(signs, form.n)
    rows = np.array(points.reshape(-1, form.n), order="C")
    prepare(form)(rows)
    return rows.reshape(points.shape).astype(np.int8)


def explicit_form(form: BinaryForm) -> BinaryForm:
    """Return the form with A as an array, for searches that read its rows; an operator is formed densely.

    Raises
    ------
    ValueError
        If an operator's order exceeds ``MAX_OPERATOR``.
    """
    if not isinstance(form.A, LinearOperator):
        return form
    if form.n > MAX_OPERATOR:
        raise ValueError(
            f"this search reads the rows of A: a LinearOperator is formed densely, up to order {MAX_OPERATOR}; "
            f"found {form.n}. Pass a dense or sparse A, or use one_flip"
        )
    return BinaryForm(dense_matrix("A", form.A, limit=MAX_OPERATOR), form.b, form.constant)


def pair_search(form: BinaryForm) -> Search:
    """Prepare the two-flip search once; apply it to any number of batches."""
    from solvers.kernels.pair_flips import search_pairs_dense, search_pairs_sparse

    form = explicit_form(form)
    matrix, fixed = _arguments(form)
    if sp.issparse(form.A):
        return lambda rows: search_pairs_sparse(*matrix, *fixed, rows)
    return lambda rows: search_pairs_dense(*matrix, *fixed, rows)


def local_search(form: BinaryForm) -> Search:
    """Prepare the search once; apply it to any number of batches."""
    if isinstance(form.A, LinearOperator):
        return _operator_search(form)
    from solvers.kernels.flips import search_dense, search_sparse

    matrix, fixed = _arguments(form)
    if sp.issparse(form.A):
        return lambda rows: search_sparse(*matrix, *fixed, rows)
    return lambda rows: search_dense(*matrix, *fixed, rows)


def _arguments(form: BinaryForm) -> tuple[tuple[NDArray[Any], ...], tuple[NDArray[np.float64], ...]]:
    """Arrays of A as the kernels take them; its diagonal, b, and the size of the coefficients at each sign."""
    weight = np.asarray(abs(form.A).sum(axis=1)).ravel() + 0.5 * np.abs(form.b)
    fixed = (diagonal(form.A), form.b, weight)
    if sp.issparse(form.A):
        matrix = sp.csr_array(form.A)
        return (matrix.data, matrix.indices, matrix.indptr), fixed
    return (np.ascontiguousarray(form.A),), fixed


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
