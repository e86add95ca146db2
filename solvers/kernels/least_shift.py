"""The diagonal of least norm that a range sees as a given matrix: conjugate gradient on its multiplier."""

import numba

compiled = numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)


@compiled
def weighted_gram(basis, matrix, result, weights):
    """Store the weights <q_i, M q_i>, and in ``result`` the sum of the q_i q_i^T with them."""
    rows, rank = basis.shape
    # plain loops: the linear algebra library is hardly faster here, and its wrappers take seconds to compile
    for one in range(rank):
        for two in range(rank):
            result[one, two] = 0.0
    for row in range(rows):
        weight = 0.0
        for one in range(rank):
            partial = 0.0
            for two in range(rank):
                partial += matrix[one, two] * basis[row, two]
            weight += partial * basis[row, one]
        weights[row] = weight
        for one in range(rank):
            scaled = weight * basis[row, one]
            for two in range(rank):
                result[one, two] += scaled * basis[row, two]


@compiled
def least_shift(basis, residual, share, max_steps, multiplier, image, conditioned, direction, shift):
    """Store the z of least norm with Q^T Diag(z) Q = target but for a share of it: z_i = <q_i, L q_i> for some L.

    ``residual`` is the target, symmetric, and is used up; ``multiplier`` and ``direction`` are zero at first; the
    other arrays are written to.  The preconditioner inverts L -> (2 L + tr(L) I) / N, which the sum would be for
    Gaussian q_i.
    """
    rows, rank = basis.shape
    goal = -1.0
    previous = 1.0
    for _ in range(max_steps):
        trace, squared, product = 0.0, 0.0, 0.0
        for one in range(rank):
            trace += residual[one, one]
        for one in range(rank):
            for two in range(rank):
                entry = residual[one, two] - (trace / (rank + 2.0) if one == two else 0.0)
                conditioned[one, two] = 0.5 * rows * entry
                product += residual[one, two] * conditioned[one, two]
                squared += residual[one, two] * residual[one, two]
        if goal < 0.0:
            goal = share * share * squared
        elif squared <= goal:
            break
        curvature = 0.0
        for one in range(rank):
            for two in range(rank):
                direction[one, two] = conditioned[one, two] + product / previous * direction[one, two]
        weighted_gram(basis, direction, image, shift)
        for one in range(rank):
            for two in range(rank):
                curvature += direction[one, two] * image[one, two]
        if not curvature > 0.0:
            break
        for one in range(rank):
            for two in range(rank):
                multiplier[one, two] += product / curvature * direction[one, two]
                residual[one, two] -= product / curvature * image[one, two]
        previous = product
    weighted_gram(basis, multiplier, image, shift)
