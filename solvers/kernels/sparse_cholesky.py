"""Sparse Cholesky by minimum degree, down to a dense core: the order, what it fills, and the factorisation.

Arrays are made by the caller, and what NumPy can prepare it does: every array, loop and branch here takes a first
user's time to compile, and slices and ``np.full`` several seconds.  Plain arithmetic, without fast-math: error
bounds rest on it.
"""

import numpy as np

from solvers.kernels.compile import kernel

compiled = kernel()

# Eliminating a vertex of degree d here costs about as much as keeping it in a dense core of m vertices once d is
# this share of m: scattered updates, d^2 of them, against m^2 multiplications in a matrix product.
CORE_SHARE = 0.1
# Below this order LAPACK is faster than anything scattered.
SMALL_CORE = 64


@compiled
def minimum_degree(pool, end, start, length, room, after, before, stamp, sequence):
    """Eliminate vertices of least degree until the rest, the core, is nearly dense; return how many they were.

    ``pool`` holds the neighbours of each vertex, ``length`` of them in as much ``room``, from ``start`` on, and
    nothing from ``end`` on.  The vertices are stored in ``sequence`` in the order of their elimination; their
    lists are left as they were at that moment.  Rings lead ``after`` and ``before`` from each degree d to the
    vertices v of that degree, as n + v, and back to d.  ``stamp`` comes filled with 0.  Where the pool is too small
    the count is -1.
    """
    order = start.shape[0]
    least = mark = 0
    for count in range(order):
        while after[least] == least:
            least += 1
        if order - count <= SMALL_CORE or least >= CORE_SHARE * (order - count):
            return count
        pivot = sequence[count] = after[least] - order
        after[least] = after[order + pivot]
        before[after[least]] = least
        clique = start[pivot]
        last = clique + length[pivot]
        for member in range(clique, last):
            vertex = pool[member]
            node = order + vertex
            after[before[node]] = after[node]
            before[after[node]] = before[node]
            first = start[vertex]
            most = length[vertex] + last - clique
            if most > room[vertex]:
                # twice the room, so that what is left behind is no more than what is in use
                start[vertex] = end
                room[vertex] = 2 * most
                end += 2 * most
                if end > pool.shape[0]:
                    return -1
            fresh = start[vertex]
            mark += 1
            stamp[vertex] = mark
            for position in range(first, first + length[vertex]):
                neighbour = pool[position]
                if neighbour != pivot:
                    stamp[neighbour] = mark
                    pool[fresh] = neighbour
                    fresh += 1
            for position in range(clique, last):
                neighbour = pool[position]
                if stamp[neighbour] != mark:
                    pool[fresh] = neighbour
                    fresh += 1
            degree = length[vertex] = fresh - start[vertex]
            after[node] = after[degree]
            before[after[node]] = node
            after[degree] = node
            before[node] = degree
            if degree < least:
                least = degree
    return order


@compiled
def eliminate(diagonal, pointers, columns, rows, owners, following, factor, work):
    """Factor the columns outside the core and subtract what they do to it, in place; False at a pivot <= 0.

    Vertices are numbered in the order of their elimination, those of the core last. ``columns`` holds the rows
    of each of the factor's columns outside the core, ascending, from ``pointers`` on, and ``owners`` the
    columns of each of its rows, from ``rows`` on; ``following`` is where each column begins. ``factor`` comes
    with the entries of the matrix, ``work`` with a zero for each vertex and after them the core, by columns; of
    that only the lower triangle changes.
    """
    count, order = following.shape[0], diagonal.shape[0]
    for number in range(order):
        # where the sums for this column stand, its row 0 being there: those of the core are in their place already
        base = 0
        if number >= count:
            base = order + (number - count) * (order - count) - count
        pivot = diagonal[number]
        for entry in range(rows[number], rows[number + 1]):
            owner = owners[entry]
            position = following[owner]
            following[owner] = position + 1
            multiplier = factor[position]
            pivot -= multiplier * multiplier
            for below in range(position + 1, pointers[owner + 1]):
                work[base + columns[below]] -= multiplier * factor[below]
        if number >= count:
            work[base + number] = pivot
        elif pivot > 0.0:
            root = np.sqrt(pivot)
            for position in range(pointers[number], pointers[number + 1]):
                row = columns[position]
                factor[position] = (factor[position] + work[row]) / root
                work[row] = 0.0
        else:
            return False
    return True
