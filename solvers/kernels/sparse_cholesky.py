"""Sparse Cholesky by minimum degree, down to a dense core: the order, what it fills, and the factorisation.

Arrays are made by the caller, and copied in loops: slices and ``np.full`` take several seconds to compile.
Plain arithmetic, without fast-math: error bounds rest on it.
"""

import numpy as np

from solvers.kernels.compile import kernel

compiled = kernel()
# called by kernels alone: what unpacks arguments for the interpreter takes half the time to compile
inner = kernel(no_cpython_wrapper=True)

# Eliminating a vertex of degree d here costs about as much as keeping it in a dense core of m vertices once d is
# this share of m: scattered updates, d^2 of them, against m^2 multiplications in a matrix product.
CORE_SHARE = 0.1
# Below this order LAPACK is faster than anything scattered.
SMALL_CORE = 64


@inner
def _unlink(vertex, degree, head, after, before):
    if before[vertex] >= 0:
        after[before[vertex]] = after[vertex]
    else:
        head[degree] = after[vertex]
    if after[vertex] >= 0:
        before[after[vertex]] = before[vertex]


@inner
def _link(vertex, degree, head, after, before):
    before[vertex] = -1
    after[vertex] = head[degree]
    if head[degree] >= 0:
        before[head[degree]] = vertex
    head[degree] = vertex


@compiled
def minimum_degree(pool, end, start, length, room, head, after, before, stamp, sequence):
    """Eliminate vertices of least degree until the rest, the core, is nearly dense; return how many they were.

    ``pool`` holds the neighbours of each vertex, ``length`` of them in as much ``room``, from ``start`` on, and
    nothing from ``end`` on.  The vertices are stored in ``sequence`` in the order of their elimination; their
    lists are left as they were at that moment.  ``head``, ``after``, ``before`` and ``stamp`` come filled with -1.
    Where the pool is too small the count is -1.
    """
    order = start.shape[0]
    for vertex in range(order - 1, -1, -1):
        _link(np.int32(vertex), length[vertex], head, after, before)
    least = 0
    mark = 0
    for count in range(order):
        while head[least] < 0:
            least += 1
        left = order - count
        if left <= SMALL_CORE or least >= CORE_SHARE * left:
            return count
        pivot = head[least]
        _unlink(pivot, length[pivot], head, after, before)
        sequence[count] = pivot
        clique, last = start[pivot], start[pivot] + length[pivot]
        for member in range(clique, last):
            vertex = pool[member]
            _unlink(vertex, length[vertex], head, after, before)
            if end + 2 * (length[vertex] + last - clique) > pool.shape[0]:
                return -1
            mark += 1
            fresh = end
            for position in range(start[vertex], start[vertex] + length[vertex]):
                neighbour = pool[position]
                if neighbour != pivot:
                    stamp[neighbour] = mark
                    pool[fresh] = neighbour
                    fresh += 1
            stamp[vertex] = mark
            for position in range(clique, last):
                if stamp[pool[position]] != mark:
                    pool[fresh] = pool[position]
                    fresh += 1
            size = fresh - end
            length[vertex] = size
            if size <= room[vertex]:
                for place in range(size):
                    pool[start[vertex] + place] = pool[end + place]
            else:
                # twice the room, so that what is left behind is no more than what is in use
                start[vertex] = end
                room[vertex] = 2 * size
                end += 2 * size
            _link(vertex, size, head, after, before)
            least = min(least, size)
    return order


@compiled
def eliminate(
    indptr,
    indices,
    values,
    diagonal,
    sequence,
    place,
    pointers,
    columns,
    core,
    factor,
    work,
    head,
    after,
    following,
):
    """Factor the columns outside the core and subtract what they do to it, in place; False at a pivot <= 0.

    ``core`` comes with the entries of the matrix among the core's vertices; only its lower triangle changes.
    ``factor`` has room for the columns, ``work`` is zero for each vertex; ``head``, of -1, ``after`` and
    ``following`` are of the length of the sequence: columns whose next row is the present one, as linked lists.
    """
    count = sequence.shape[0]
    for number in range(count):
        vertex = sequence[number]
        lower, upper = pointers[number], pointers[number + 1]
        pivot = diagonal[vertex]
        for position in range(indptr[vertex], indptr[vertex + 1]):
            row = place[indices[position]]
            if row > number:
                work[row] = values[position]
        earlier = head[number]
        while earlier >= 0:
            then = after[earlier]
            position = following[earlier]
            multiplier = factor[position]
            pivot -= multiplier * multiplier
            for below in range(position + 1, pointers[earlier + 1]):
                work[columns[below]] -= multiplier * factor[below]
            _advance(earlier, position + 1, count, pointers, columns, head, after, following)
            earlier = then
        if not pivot > 0.0:
            return False
        root = np.sqrt(pivot)
        for position in range(lower, upper):
            factor[position] = work[columns[position]] / root
            work[columns[position]] = 0.0
        first = lower
        while first < upper and columns[first] < count:
            first += 1
        for right in range(first, upper):
            column = columns[right] - count
            for left in range(right, upper):
                core[columns[left] - count, column] -= factor[left] * factor[right]
        _advance(number, lower, count, pointers, columns, head, after, following)
    return True


@inner
def _advance(number, position, count, pointers, columns, head, after, following):
    """Put a column into the list of its next row, unless that belongs to the core."""
    if position < pointers[number + 1] and columns[position] < count:
        row = columns[position]
        following[number] = position
        after[number] = head[row]
        head[row] = number
