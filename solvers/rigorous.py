"""Proved lower bounds: a completed Cholesky factorisation with Rump's error bound, everything rounded outward.

If floating-point Cholesky of S + delta I runs to completion, then lambda_min(S) >= -delta - epsilon, where
epsilon bounds the backward error of the factorisation: at most gamma_{n+3} / (1 - gamma_{n+3}) times the trace
(S. M. Rump, "Verification of positive definiteness", BIT 46, 2006, in the form that allows any order of
summation and multiplication by rounded reciprocals).  A sum over y is taken without rounding and then rounded
down.  Nothing here is estimated, so the bound holds as a theorem about the stored C, provided that the
linear algebra library computes inner products by multiplying and adding.
"""

from __future__ import annotations

import math
from itertools import count

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from solvers import checks
from solvers.certificate import dense_cost
from solvers.parts import split_components, split_diagonal
from solvers.problem import Cost, as_cost

# A dense factor of this order takes 800 MB and some ten seconds.
MAX_ORDER = 10_000

# Up to this order an eigenvalue is cheaper than a shift that was guessed too large or too small.
MEASURED_ORDER = 500

UNIT_ROUNDOFF = 2.0**-53
# The first shifts grow little, because the estimate is usually nearly right and the bound pays for every excess.
CAREFUL_GROWTH = 1.2
CAREFUL_ATTEMPTS = 4
GROWTH = 4.0


def rigorous_bound(cost: Cost, dual: NDArray[np.float64], *, smallest_eigenvalue: float = 0.0) -> float:
    r"""A proved lower bound on <C, Y> over the elliptope, from any dual vector y.

    Parameters
    ----------
    cost : (N, N) ndarray or sparse array
        Symmetric C, N <= 10,000.
    dual : (N,) ndarray
        Any finite vector; the bound is good where C - Diag(y) is nearly PSD.
    smallest_eigenvalue : float, optional
        An estimate of the smallest eigenvalue of C - Diag(y): where to begin the search for a shift that makes
        the factorisation run through, in components of more than 500 rows.  It cannot make the result wrong.

    Returns
    -------
    float
        :math:`1^T y - N(\delta + \varepsilon)`, rounded down.

    Raises
    ------
    TypeError
        For a LinearOperator, whose entries cannot be enclosed.
    ValueError
        Above N = 10,000, and where cost or dual are not finite or do not fit.

    Notes
    -----
    O(N^3) time and O(N^2) memory for each shift tried, usually one or two, with N the order of the largest
    connected component.

    Examples
    --------
    >>> bound = rigorous_bound(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([-1.0, -1.0]))
    >>> -2.0 - 1e-13 < bound <= -2.0
    True
    """
    cost = as_cost("cost", cost)
    check_provable(cost)
    dual = checks.vector("dual", dual, length=cost.shape[0])
    hollow, diagonal = split_diagonal(cost)
    alone = np.ones(cost.shape[0], dtype=bool)
    bounds = []
    for part in split_components(hollow):
        alone[part.rows] = False
        bounds.extend(_part_bound(part.cost, diagonal[part.rows], dual[part.rows], smallest_eigenvalue))
    # a row that meets no other contributes its diagonal entry, exactly
    bounds.extend(diagonal[alone])
    return math.nextafter(math.fsum(bounds), -math.inf)


def check_provable(cost: Cost) -> None:
    """Refuse costs for which no rigorous bound is offered, before any work is done."""
    if isinstance(cost, LinearOperator):
        raise TypeError(
            "a rigorous certificate needs the entries of the cost; found a LinearOperator. "
            "Pass an array, or certificate='estimate'"
        )
    if cost.shape[0] > MAX_ORDER:
        raise ValueError(
            f"a rigorous certificate is offered up to N = {MAX_ORDER}; found N = {cost.shape[0]}"
        )


def _part_bound(
    hollow: Cost, diagonal: NDArray[np.float64], dual: NDArray[np.float64], smallest_eigenvalue: float
) -> list[float]:
    """Terms whose sum is a proved bound on one part: its y, and what the factorisation may have missed."""
    order = int(hollow.shape[0])
    slack = dense_cost(hollow)
    entries = np.diag_indices(order)
    slack_diagonal = diagonal - dual
    magnitude = float(np.abs(slack_diagonal).max())
    slack[entries] = slack_diagonal
    if order <= MEASURED_ORDER:
        smallest_eigenvalue = float(la.eigvalsh(slack, subset_by_index=[0, 0])[0])
    shift = max(-1.01 * smallest_eigenvalue, 0.0) + 2.0 * _backward_error(order, slack_diagonal)
    for attempt in count():
        slack[entries] = slack_diagonal + shift
        if np.all(slack[entries] >= 0) and _factorises(slack):
            break
        growth = CAREFUL_GROWTH if attempt < CAREFUL_ATTEMPTS else GROWTH
        shift = max(growth * shift, UNIT_ROUNDOFF * magnitude, np.finfo(float).tiny)
    # forming c_ii - y_i and adding the shift each round once
    forming = 2.0 * UNIT_ROUNDOFF * (magnitude + float(np.abs(slack[entries]).max()))
    backward = _backward_error(order, slack[entries])
    loss = order * (shift + backward + forming) * (1.0 + 16.0 * UNIT_ROUNDOFF)
    return [*dual, -loss]


def _backward_error(order: int, diagonal: NDArray[np.float64]) -> float:
    operations = (order + 3) * UNIT_ROUNDOFF
    gamma = operations / (1.0 - operations)
    trace = float(np.abs(diagonal).sum()) * (1.0 + 2.0 * order * UNIT_ROUNDOFF)
    # products may underflow, each by less than the smallest normal number
    return 1.01 * gamma / (1.0 - gamma) * trace + order * order * float(np.finfo(float).tiny)


def _factorises(matrix: NDArray[np.float64]) -> bool:
    try:
        la.cholesky(matrix, lower=True, check_finite=False)
    except la.LinAlgError:
        return False
    return True
