"""What a solve asks of the graph of its matrix and SciPy does not answer."""

import numpy as np

from solvers.kernels.compile import kernel

compiled = kernel()


@compiled
def peel(indptr, indices, degree, ends, leaves, positions):
    """Take leaves away until there are none, or no room for one more; lower the degrees; return how many fell.

    The pattern is symmetric, without a diagonal, and its rows of degree 1 are ``ends``.  ``leaves`` receives the
    rows that fall, in order, and ``positions`` where the entry with their only neighbour at that time is stored.
    """
    count = 0
    for end in range(ends.shape[0]):
        row = ends[end]
        while degree[row] == 1 and count < leaves.shape[0]:
            position = indptr[row]
            while degree[indices[position]] == 0:
                position += 1
            leaves[count] = row
            positions[count] = position
            count += 1
            degree[row] = 0
            row = indices[position]
            degree[row] -= 1
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
