"""Over-relaxed coordinate sweeps over the rows of a factor.

With every other row fixed, row i enters the objective through 2 <g_i, v_i>, where g_i = sum_j c_ij v_j over
j != i; its minimiser on the sphere is -g_i/|g_i|.  Each update goes past that point by a factor 1 + beta, as
successive over-relaxation does for linear systems; for beta < 1 the objective still never increases.
"""

import numba
import numpy as np

compiled = numba.njit(cache=True, fastmath=True, error_model="numpy")

# beta_t = t / (t + DELAY): the schedule of accelerated gradient methods, which needs no estimate of the
# spectrum and is within a few sweeps of the best fixed beta on random and on toroidal graphs alike.
DELAY = 6.0


@compiled
def relax_row(factor, row, pull, beta):
    """Move one row past its minimiser; return the decrease of the objective."""
    width = factor.shape[1]
    squared = 0.0
    aligned = 0.0
    for column in range(width):
        squared += pull[column] * pull[column]
        aligned += pull[column] * factor[row, column]
    if squared == 0.0:
        return 0.0
    length = np.sqrt(squared)
    ahead = 1.0 + beta
    # |ahead * (-pull/length) - beta * row|^2, expanded: the row and the pull's direction have unit length
    norm = np.sqrt(ahead * ahead + beta * beta + 2.0 * ahead * beta * aligned / length)
    toward = -ahead / (length * norm)
    back = beta / norm
    changed = 0.0
    for column in range(width):
        updated = toward * pull[column] - back * factor[row, column]
        changed += updated * pull[column]
        factor[row, column] = updated
    return 2.0 * (aligned - changed)


@compiled
def sweep_sparse(indptr, indices, values, factor, first, count):
    """Run sweeps ``first`` .. ``first + count - 1`` in place; return the decrease in the last one and in all.

    The matrix is symmetric CSR without its diagonal.
    """
    rows, width = factor.shape
    pull = np.empty(width)
    decrease = 0.0
    total = 0.0
    for number in range(first, first + count):
        beta = number / (number + DELAY)
        decrease = 0.0
        for row in range(rows):
            pull[:] = 0.0
            position = indptr[row]
            end = indptr[row + 1]
            # two neighbours at a time: half the loads and stores of the accumulator
            while position + 1 < end:
                one = indices[position]
                two = indices[position + 1]
                weight_one = values[position]
                weight_two = values[position + 1]
                for column in range(width):
                    pull[column] += weight_one * factor[one, column] + weight_two * factor[two, column]
                position += 2
            if position < end:
                one = indices[position]
                weight_one = values[position]
                for column in range(width):
                    pull[column] += weight_one * factor[one, column]
            decrease += relax_row(factor, row, pull, beta)
        total += decrease
    return decrease, total


@compiled
def sweep_dense(matrix, factor, first, count):
    """The same for a dense symmetric matrix with a zero diagonal."""
    rows, width = factor.shape
    pull = np.empty(width)
    decrease = 0.0
    total = 0.0
    for number in range(first, first + count):
        beta = number / (number + DELAY)
        decrease = 0.0
        for row in range(rows):
            pull[:] = 0.0
            for other in range(rows):
                weight = matrix[row, other]
                for column in range(width):
                    pull[column] += weight * factor[other, column]
            decrease += relax_row(factor, row, pull, beta)
        total += decrease
    return decrease, total


@compiled
def normalise_rows(factor):
    """Divide each row by its length, in place: thousands of sweeps drift by rounding."""
    rows, width = factor.shape
    for row in range(rows):
        squared = 0.0
        for column in range(width):
            squared += factor[row, column] * factor[row, column]
        scale = 1.0 / np.sqrt(squared)
        for column in range(width):
            factor[row, column] *= scale
