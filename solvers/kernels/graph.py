"""What a solve asks of the graph of its matrix before it starts.

The caller makes the arrays: ``np.full`` and slices take seconds to compile.
"""

import numpy as np

from solvers.kernels.compile import kernel

# part of who calls it: a function of its own takes a third of a second to compile
inlined = kernel(inline="always")
compiled = kernel()


@compiled
def survey(indptr, indices, values, diagonal, degree, leaves, neighbours, weights, labels, sizes, waiting):
    """Diagonal, degrees, leaves and components of a symmetric pattern, stored in arrays of its order.

    ``degree`` counts the neighbours that are left once the leaves have fallen.  ``leaves``, ``neighbours`` and
    ``weights`` receive the rows that fall, in order, each with its only neighbour at that time and their entry;
    ``labels`` the component of each row that is left with neighbours, -1 for the others; ``sizes`` the rows of each
    component.  Returned are the numbers of leaves and of components.
    """
    for row in range(degree.shape[0]):
        diagonal[row] = 0.0
        degree[row] = 0
        for position in range(indptr[row], indptr[row + 1]):
            if indices[position] == row:
                diagonal[row] += values[position]
            else:
                degree[row] += 1
    fallen = peel(indptr, indices, values, degree, leaves, neighbours, weights)
    return fallen, components(indptr, indices, degree, labels, sizes, waiting)


@inlined
def peel(indptr, indices, values, degree, leaves, neighbours, weights):
    """Take leaves away until there are none, and lower the degrees, in place; return how many fell."""
    count = 0
    for first in range(degree.shape[0]):
        row = first
        while degree[row] == 1:
            position = indptr[row]
            while indices[position] == row or degree[indices[position]] == 0:
                position += 1
            neighbour = indices[position]
            leaves[count], neighbours[count], weights[count] = row, neighbour, values[position]
            count += 1
            degree[row] = 0
            degree[neighbour] -= 1
            # a later row has its turn still
            if neighbour > first:
                break
            row = neighbour
    return count


@inlined
def components(indptr, indices, degree, labels, sizes, waiting):
    """Store the component of each row with a degree, and the components' sizes; return their number."""
    count = 0
    for row in range(degree.shape[0]):
        labels[row] = -1
    for first in range(degree.shape[0]):
        if labels[first] >= 0 or degree[first] == 0:
            continue
        labels[first] = count
        waiting[0] = first
        size, found = 1, 1
        while size > 0:
            size -= 1
            row = waiting[size]
            for position in range(indptr[row], indptr[row + 1]):
                neighbour = indices[position]
                if labels[neighbour] < 0 and degree[neighbour] > 0:
                    labels[neighbour] = count
                    waiting[size] = neighbour
                    size += 1
                    found += 1
        sizes[count] = found
        count += 1
    return count


@compiled
def group(
    indptr,
    indices,
    values,
    degree,
    labels,
    part_of,
    first,
    reached,
    place,
    order,
    kept_values,
    kept_indices,
    starts,
):
    """Bring the rows of each part together, with their own numbers.

    ``part_of`` holds the part of each component, ``first`` where each part begins among all rows that are left,
    and ``reached`` a copy of that.  Stored are those rows in their new ``order`` and the CSR arrays of the parts,
    one after the other; the indptr of each part begins with its own zero.
    """
    for row in range(labels.shape[0]):
        if labels[row] >= 0:
            part = part_of[labels[row]]
            order[reached[part]] = row
            place[row] = reached[part] - first[part]
            reached[part] += 1
    count = 0
    for part in range(first.shape[0] - 1):
        origin = count
        starts[first[part] + part] = 0
        for number in range(first[part], first[part + 1]):
            row = order[number]
            for position in range(indptr[row], indptr[row + 1]):
                column = indices[position]
                if column != row and degree[column] > 0:
                    kept_indices[count] = place[column]
                    kept_values[count] = values[position]
                    count += 1
            starts[number + part + 1] = count - origin


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
