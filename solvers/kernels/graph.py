"""What a solve asks of the graph of its matrix before it starts."""

import numba
import numpy as np

compiled = numba.njit(cache=True, error_model="numpy", nogil=True)


@compiled
def survey(indptr, indices, values):
    """Diagonal, degrees, leaves and components of a symmetric pattern.

    Returns
    -------
    diagonal : (n,) of values
    degree : (n,) of neighbours that are left once the leaves have fallen
    leaves, neighbours, weights
        The rows that fall, in order, each with its only neighbour at that time and their entry.
    labels : (n,) component of each row that is left with neighbours; the others have -1
    sizes : rows of each component
    """
    rows = indptr.shape[0] - 1
    diagonal = np.zeros(rows, values.dtype)
    degree = np.zeros(rows, np.int64)
    for row in range(rows):
        for position in range(indptr[row], indptr[row + 1]):
            if indices[position] == row:
                diagonal[row] += values[position]
            else:
                degree[row] += 1
    leaves, neighbours, weights = peel(indptr, indices, values, degree)
    labels, sizes = components(indptr, indices, degree)
    return diagonal, degree, leaves, neighbours, weights, labels, sizes


@compiled
def peel(indptr, indices, values, degree):
    """Take leaves away until there are none, and lower the degrees, in place."""
    rows = degree.shape[0]
    leaves = np.empty(rows, np.int64)
    neighbours = np.empty(rows, np.int64)
    weights = np.empty(rows, values.dtype)
    count = 0
    for first in range(rows):
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
    return leaves[:count], neighbours[:count], weights[:count]


@compiled
def components(indptr, indices, degree):
    """The connected component of each row with a degree, and the sizes of the components."""
    rows = degree.shape[0]
    labels = np.full(rows, -1, np.int64)
    sizes = np.empty(rows, np.int64)
    waiting = np.empty(rows, np.int64)
    count = 0
    for first in range(rows):
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
    return labels, sizes[:count]


@compiled
def group(indptr, indices, values, degree, labels, part_of, sizes):
    """Bring the rows of each part together, with their own numbers.

    ``part_of`` holds the part of each component, ``sizes`` the rows of each part.  Returned are the rows in
    their new order and the CSR arrays (values, indices, indptr) of the parts, one after the other; the indptr of
    each part begins with its own zero.
    """
    parts = sizes.shape[0]
    first = np.zeros(parts + 1, np.int64)
    for part in range(parts):
        first[part + 1] = first[part] + sizes[part]
    order = np.empty(first[parts], np.int64)
    place = np.empty(labels.shape[0], indices.dtype)
    reached = first[:parts].copy()
    entries = 0
    for row in range(labels.shape[0]):
        if labels[row] >= 0:
            part = part_of[labels[row]]
            order[reached[part]] = row
            place[row] = reached[part] - first[part]
            reached[part] += 1
            entries += degree[row]
    starts = np.empty(first[parts] + parts, indptr.dtype)
    kept_indices = np.empty(entries, indices.dtype)
    kept_values = np.empty(entries, values.dtype)
    count = 0
    for part in range(parts):
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
    return order, kept_values, kept_indices, starts


@compiled
def hang(leaves, neighbours, weights, factor):
    """Point each leaf away from its neighbour, or with it where their entry is negative; the last to fall first."""
    for number in range(leaves.shape[0] - 1, -1, -1):
        sign = 1.0 if weights[number] < 0.0 else -1.0
        for column in range(factor.shape[1]):
            factor[leaves[number], column] = sign * factor[neighbours[number], column]


@compiled
def widest_level(indptr, indices):
    """The most rows at one distance from row 0, or from the first row of another component."""
    rows = indptr.shape[0] - 1
    seen = np.zeros(rows, np.bool_)
    queue = np.empty(rows, np.int64)
    widest, reached, head = 0, 0, 0
    for first in range(rows):
        if seen[first]:
            continue
        seen[first] = True
        queue[reached] = first
        reached += 1
        while head < reached:
            end = reached
            widest = max(widest, end - head)
            for place in range(head, end):
                row = queue[place]
                for position in range(indptr[row], indptr[row + 1]):
                    neighbour = indices[position]
                    if not seen[neighbour]:
                        seen[neighbour] = True
                        queue[reached] = neighbour
                        reached += 1
            head = end
    return widest


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
