"""The diagonal of least norm that a range sees as a given matrix: conjugate gradient on its multiplier."""

import numba
import numpy as np

compiled = numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)

# Rows whose products are formed together: they stay in the cache from one product to the next.
BLOCK = 1024


@compiled
def quadratic_forms(rows, matrix):
    """<q, M q> for each row q."""
    images = np.dot(rows, matrix)
    forms = np.empty(rows.shape[0])
    for row in range(rows.shape[0]):
        total = 0.0
        for column in range(rows.shape[1]):
            total += images[row, column] * rows[row, column]
        forms[row] = total
    return forms


@compiled
def weighted_gram(basis, matrix, result):
    """Store sum_i <q_i, M q_i> q_i q_i^T in ``result``."""
    result[:] = 0.0
    for start in range(0, basis.shape[0], BLOCK):
        rows = basis[start : start + BLOCK]
        forms = quadratic_forms(rows, matrix)
        weighted = np.empty_like(rows)
        for row in range(rows.shape[0]):
            for column in range(rows.shape[1]):
                weighted[row, column] = forms[row] * rows[row, column]
        result += np.dot(rows.T, weighted)


@compiled
def precondition(matrix, rows, result):
    """The inverse of L -> sum_i <q_i, L q_i> q_i q_i^T where the q_i are Gaussian: (2 L + tr(L) I) / N."""
    rank = matrix.shape[0]
    trace = 0.0
    for place in range(rank):
        trace += matrix[place, place]
    for one in range(rank):
        for two in range(rank):
            result[one, two] = 0.5 * rows * matrix[one, two]
        result[one, one] -= 0.5 * rows * trace / (rank + 2.0)


@compiled
def least_shift(basis, target, share, max_steps):
    """The z of least norm with Q^T Diag(z) Q = target but for a share of it: z_i = <q_i, L q_i> for some L.

    ``target`` is symmetric.
    """
    rows, rank = basis.shape
    residual = target.copy()
    multiplier = np.zeros((rank, rank))
    image = np.empty((rank, rank))
    conditioned = np.empty((rank, rank))
    precondition(residual, rows, conditioned)
    direction = conditioned.copy()
    product = np.sum(residual * conditioned)
    goal = share * share * np.sum(residual * residual)
    for _ in range(max_steps):
        if np.sum(residual * residual) <= goal:
            break
        weighted_gram(basis, direction, image)
        curvature = np.sum(direction * image)
        if not curvature > 0.0:
            break
        length = product / curvature
        multiplier += length * direction
        residual -= length * image
        precondition(residual, rows, conditioned)
        previous = product
        product = np.sum(residual * conditioned)
        direction = conditioned + product / previous * direction
    return quadratic_forms(basis, multiplier)
