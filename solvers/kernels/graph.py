"""What a solve asks of the graph of its matrix and SciPy does not answer."""

import numpy as np

from solvers.kernels.compile import kernel

compiled = kernel()


@compiled
def peel(indptr, indices, degree, leaves, positions):
    """Take leaves away until there are none, and lower the degrees, in place; return how many fell.

    The pattern is symmetric, without a diagonal.  ``leaves`` receives the rows that fall, in order, and
    ``positions`` where the entry with their only neighbour at that time is stored.
    """
    count = 0
    for first in range(degree.shape[0]):
        row = first
        while degree[row] == 1:
            position = indptr[row]
            while degree[indices[position]] == 0:
                position += 1
            neighbour = indices[position]
            leaves[count], positions[count] = row, position
            count += 1
            degree[row] = 0
            degree[neighbour] -= 1
            # a later row has its turn still
            if neighbour > first:
                break
            row = neighbour
    return count


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
