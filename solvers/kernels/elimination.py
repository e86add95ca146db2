"""Sparse Cholesky by minimum degree, down to a dense core: the order, what it fills, and the factorisation.

Arrays are made by the caller, and copied in loops: slices and ``np.full`` take several seconds to compile.
Plain arithmetic, without fast-math: error bounds rest on it.
"""

import numba
import numpy as np

compiled = numba.njit(cache=True, error_model="numpy", nogil=True)

# Eliminating a vertex of degree d here costs about as much as keeping it in a dense core of m vertices once d is
# this share of m: scattered updates, d^2 of them, against m^2 multiplications in a matrix product.
CORE_SHARE = 0.1
# Below this order LAPACK is faster than anything scattered.
SMALL_CORE = 64


@compiled
def _grown(array, length, needed):
    grown = np.empty(max(2 * array.shape[0], needed), array.dtype)
    for place in range(length):
        grown[place] = array[place]
    return grown


@compiled
def _unlink(vertex, degree, head, after, before):
    if before[vertex] >= 0:
        after[before[vertex]] = after[vertex]
    else:
        head[degree] = after[vertex]
    if after[vertex] >= 0:
        before[after[vertex]] = before[vertex]


@compiled
def _link(vertex, degree, head, after, before):
    before[vertex] = -1
    after[vertex] = head[degree]
    if head[degree] >= 0:
        before[head[degree]] = vertex
    head[degree] = vertex


@compiled
def _compacted(pool, start, length, alive, room):
    """The lists of living vertices, one after the other, in a new pool with room for more."""
    needed = 0
    for vertex in range(start.shape[0]):
        if alive[vertex]:
            needed += length[vertex]
    fresh = np.empty(2 * needed + room, pool.dtype)
    end = 0
    for vertex in range(start.shape[0]):
        if alive[vertex]:
            for place in range(length[vertex]):
                fresh[end + place] = pool[start[vertex] + place]
            start[vertex] = end
            end += length[vertex]
    return fresh, end


@compiled
def minimum_degree(
    indptr, indices, most_entries, start, length, alive, head, after, before, stamp, sequence, pointers
):
    """Eliminate vertices of least degree until the rest is nearly dense.

    Takes the pattern of a symmetric matrix without its diagonal, and arrays of its order: ``start``, ``length``
    to write to, ``alive`` of ones, ``head``, ``after``, ``before`` and ``stamp`` of -1.  The vertices are stored in
    ``sequence`` in the order of their elimination; the rest (the core) stays alive.  Returns how many there are,
    and for each one after the other its neighbours at that moment, which ``pointers`` delimit; a count of -1 where
    more than ``most_entries`` would have to be kept.
    """
    order = indptr.shape[0] - 1
    for vertex in range(order):
        start[vertex] = indptr[vertex]
        length[vertex] = indptr[vertex + 1] - indptr[vertex]
    pool = np.empty(2 * indices.shape[0] + order, np.int32)
    end = indices.shape[0]
    for place in range(end):
        pool[place] = indices[place]
    living = end
    for vertex in range(order - 1, -1, -1):
        _link(vertex, length[vertex], head, after, before)
    columns = np.empty(indices.shape[0] + 1, np.int32)
    pointers[0] = 0
    filled = 0
    least = 0
    count = 0
    mark = 0
    while count < order:
        while head[least] < 0:
            least += 1
        left = order - count
        if left <= SMALL_CORE or least >= CORE_SHARE * left:
            break
        pivot = head[least]
        degree = length[pivot]
        _unlink(pivot, degree, head, after, before)
        alive[pivot] = False
        if filled + degree > columns.shape[0]:
            columns = _grown(columns, filled, filled + degree)
        clique = filled
        for member in range(degree):
            columns[clique + member] = pool[start[pivot] + member]
        filled += degree
        living -= degree
        sequence[count] = pivot
        count += 1
        pointers[count] = filled
        for member in range(degree):
            vertex = columns[clique + member]
            _unlink(vertex, length[vertex], head, after, before)
            needed = length[vertex] + degree
            if end + needed > pool.shape[0]:
                pool, end = _compacted(pool, start, length, alive, needed)
            mark += 1
            fresh = end
            for position in range(start[vertex], start[vertex] + length[vertex]):
                neighbour = pool[position]
                if neighbour != pivot:
                    stamp[neighbour] = mark
                    pool[fresh] = neighbour
                    fresh += 1
            stamp[vertex] = mark
            for other in range(degree):
                if stamp[columns[clique + other]] != mark:
                    pool[fresh] = columns[clique + other]
                    fresh += 1
            living += fresh - end - length[vertex]
            if fresh - end <= length[vertex]:
                for place in range(fresh - end):
                    pool[start[vertex] + place] = pool[end + place]
                length[vertex] = fresh - end
            else:
                start[vertex] = end
                length[vertex] = fresh - end
                end = fresh
            _link(vertex, length[vertex], head, after, before)
            least = min(least, length[vertex])
        if filled + living > most_entries:
            return -1, columns
    return count, columns


@compiled
def eliminate(indptr, indices, values, diagonal, sequence, place, pointers, columns, core):
    """Factor the columns outside the core and subtract what they do to it, in place; False at a pivot <= 0.

    ``core`` comes with the entries of the matrix among the core's vertices; only its lower triangle changes.
    """
    count = sequence.shape[0]
    factor = np.empty(columns.shape[0])
    work = np.zeros(place.shape[0])
    # columns whose next row is the present one, as linked lists
    head = np.full(count, -1, np.int32)
    after = np.empty(count, np.int32)
    following = np.empty(count, np.int64)
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


@compiled
def _advance(number, position, count, pointers, columns, head, after, following):
    """Put a column into the list of its next row, unless that belongs to the core."""
    if position < pointers[number + 1] and columns[position] < count:
        row = columns[position]
        following[number] = position
        after[number] = head[row]
        head[row] = number
