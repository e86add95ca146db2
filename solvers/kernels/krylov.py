"""Steps of the Lanczos recurrence for C - Diag(y) with sparse C, without storing the basis."""

import numba
import numpy as np

compiled = numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)


@compiled
def lanczos_steps(
    indptr, indices, values, dual, previous, current, beta, diagonal, offdiagonal, coefficients, total
):
    """Run ``diagonal.size`` steps in place and return the last beta.

    ``previous`` and ``current`` hold the last two basis vectors before and after; ``coefficients``, where not
    empty, weight the basis vectors that are summed into ``total``.
    """
    order = current.shape[0]
    for step in range(diagonal.shape[0]):
        if coefficients.shape[0] > 0:
            for row in range(order):
                total[row] += coefficients[step] * current[row]
        alpha = 0.0
        for row in range(order):
            image = -dual[row] * current[row] - beta * previous[row]
            # an unsigned index needs no look at whether it counts from the end: half the time
            for position in range(np.uint64(indptr[row]), np.uint64(indptr[row + 1])):
                image += values[position] * current[np.uint64(indices[position])]
            previous[row] = image
            alpha += image * current[row]
        squared = 0.0
        for row in range(order):
            previous[row] -= alpha * current[row]
            squared += previous[row] * previous[row]
        beta = np.sqrt(squared)
        diagonal[step] = alpha
        offdiagonal[step] = beta
        scale = 1.0 / beta if beta > 0.0 else 0.0
        for row in range(order):
            following = previous[row] * scale
            previous[row] = current[row]
            current[row] = following
    return beta
