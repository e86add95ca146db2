"""How far a positive definite matrix can move along a direction, by a short Lanczos recurrence (Toh 2002)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray

Vector = NDArray[np.float64]

MAX_STEPS = 12
# The Ritz value's error, as a share of it, that a step length may carry: the Cholesky test that follows decides.
SHARP = 0.03
CHECK_EVERY = 6
BREAKDOWN = 1e-12


def step_to_boundary(
    lower: NDArray[np.float64], direction: Callable[[Vector], Vector], start: Vector
) -> float:
    """About the largest a >= 0 with L L^T + a D positive semidefinite; never much more, infinity for all.

    Parameters
    ----------
    lower : (n, n) ndarray
        The Cholesky factor L in its lower triangle, columns contiguous; the rest is not read.
    direction : callable
        The product of the symmetric D with a vector.
    start : (n,) ndarray
        Any vector that does not avoid the wanted eigenvector, such as a random one.

    Notes
    -----
    1 / max(-lambda, 0) for the smallest eigenvalue lambda of L^-1 D L^-T.  The residual's norm is subtracted from
    its Ritz value, which bounds some eigenvalue from below.  12 products with D and L^-1 at most, O(n^2) each, and
    orthogonalisation against all vectors so far.

    Examples
    --------
    >>> bool(np.isclose(step_to_boundary(np.eye(2), lambda v: np.array([-0.5, 1.0]) * v, np.ones(2)), 2.0))
    True
    """
    solve = la.blas.dtrsv
    count = min(MAX_STEPS, len(start))
    basis = np.empty((count + 1, len(start)))
    basis[0] = start / math.sqrt(start @ start)
    alphas, betas = np.empty(count), np.empty(count)
    for step in range(count):
        vector = basis[step]
        image = solve(lower, direction(solve(lower, vector, lower=1, trans=1)), lower=1, overwrite_x=1)
        alphas[step] = image @ vector
        known = basis[: step + 1]
        image -= (known @ image) @ known
        betas[step] = math.sqrt(image @ image)
        last = step + 1 == count or betas[step] <= BREAKDOWN * max(abs(alphas[step]), 1.0)
        if last or step % CHECK_EVERY == CHECK_EVERY - 1:
            values, vectors, _ = la.lapack.dstev(alphas[: step + 1], betas[: max(step, 1)])
            smallest, error = float(values[0]), float(betas[step] * abs(vectors[-1, 0]))
            if last or error <= SHARP * max(abs(smallest), 1.0):
                break
        basis[step + 1] = image / betas[step]
    reach = -(smallest - error)
    return 1.0 / reach if reach > 0.0 else math.inf
