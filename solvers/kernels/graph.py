"""What a solve asks of the graph of its matrix before it starts."""

import numba
import numpy as np

compiled = numba.njit(cache=True, error_model="numpy", nogil=True)


@compiled
def component_labels(indptr, indices):
    """The number of connected components, and the component of each row; the pattern is symmetric."""
    rows = indptr.shape[0] - 1
    labels = np.full(rows, -1, np.int32)
    waiting = np.empty(rows, np.int32)
    count = 0
    for first in range(rows):
        if labels[first] >= 0:
            continue
        labels[first] = count
        waiting[0] = first
        size = 1
        while size > 0:
            size -= 1
            row = waiting[size]
            for position in range(indptr[row], indptr[row + 1]):
                neighbour = indices[position]
                if labels[neighbour] < 0:
                    labels[neighbour] = count
                    waiting[size] = neighbour
                    size += 1
        count += 1
    return count, labels


@compiled
def without_diagonal(indptr, indices, values):
    """The CSR arrays (values, indices, indptr) without their diagonal entries."""
    rows = indptr.shape[0] - 1
    starts = np.empty_like(indptr)
    kept_indices = np.empty_like(indices)
    kept_values = np.empty_like(values)
    count = 0
    starts[0] = 0
    for row in range(rows):
        for position in range(indptr[row], indptr[row + 1]):
            if indices[position] != row:
                kept_indices[count] = indices[position]
                kept_values[count] = values[position]
                count += 1
        starts[row + 1] = count
    return kept_values[:count], kept_indices[:count], starts


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
