"""What a solve asks of the graph of its matrix before it starts."""

import numba
import numpy as np

compiled = numba.njit(cache=True, error_model="numpy", nogil=True)


@compiled
def absolute_row_sums(indptr, values):
    """sum_j |c_ij| for every row."""
    sums = np.zeros(indptr.shape[0] - 1)
    for row in range(sums.shape[0]):
        for position in range(indptr[row], indptr[row + 1]):
            sums[row] += abs(values[position])
    return sums


@compiled
def greedy_colours(indptr, indices, most):
    """The number of colours, and for each row the smallest that no row it meets has; more than ``most`` ends it."""
    rows = indptr.shape[0] - 1
    colours = np.full(rows, -1, np.int32)
    taken = np.full(most + 1, -1, np.int64)
    count = 0
    for row in range(rows):
        for position in range(indptr[row], indptr[row + 1]):
            colour = colours[indices[position]]
            if colour >= 0:
                taken[colour] = row
        colour = 0
        while taken[colour] == row:
            colour += 1
        colours[row] = colour
        count = max(count, colour + 1)
        if count > most:
            break
    return count, colours
