"""The diagonal of least norm that a range sees as a given matrix: conjugate gradient on its multiplier."""

import numba

compiled = numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)


@compiled
def quadratic_form(basis, row, matrix):
    """<q, M q> for one row q."""
    rank = matrix.shape[0]
    total = 0.0
    for one in range(rank):
        partial = 0.0
        for two in range(rank):
            partial += matrix[one, two] * basis[row, two]
        total += partial * basis[row, one]
    return total


@compiled
def weighted_gram(basis, matrix, result):
    """Store sum_i <q_i, M q_i> q_i q_i^T in ``result``."""
    rows, rank = basis.shape
    # plain loops: the linear algebra library is hardly faster here, and its wrappers take seconds to compile
    for one in range(rank):
        for two in range(rank):
            result[one, two] = 0.0
    for row in range(rows):
        weight = quadratic_form(basis, row, matrix)
        for one in range(rank):
            scaled = weight * basis[row, one]
            for two in range(rank):
                result[one, two] += scaled * basis[row, two]


@compiled
def inner(left, right):
    """<A, B> of two matrices."""
    total = 0.0
    for one in range(left.shape[0]):
        for two in range(left.shape[1]):
            total += left[one, two] * right[one, two]
    return total


@compiled
def add_multiple(target, factor, matrix):
    """Add a multiple of a matrix in place."""
    for one in range(target.shape[0]):
        for two in range(target.shape[1]):
            target[one, two] += factor * matrix[one, two]


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
def least_shift(basis, residual, share, max_steps, multiplier, image, conditioned, direction, shift):
    """Store the z of least norm with Q^T Diag(z) Q = target but for a share of it: z_i = <q_i, L q_i> for some L.

    ``residual`` is the target, symmetric, and is used up; ``multiplier`` is zero at first, and the arrays after it
    are written to.
    """
    rank = residual.shape[0]
    precondition(residual, basis.shape[0], direction)
    product = inner(residual, direction)
    goal = share * share * inner(residual, residual)
    for _ in range(max_steps):
        if inner(residual, residual) <= goal:
            break
        weighted_gram(basis, direction, image)
        curvature = inner(direction, image)
        if not curvature > 0.0:
            break
        length = product / curvature
        add_multiple(multiplier, length, direction)
        add_multiple(residual, -length, image)
        precondition(residual, basis.shape[0], conditioned)
        previous = product
        product = inner(residual, conditioned)
        for one in range(rank):
            for two in range(rank):
                direction[one, two] = conditioned[one, two] + product / previous * direction[one, two]
    for row in range(basis.shape[0]):
        shift[row] = quadratic_form(basis, row, multiplier)
