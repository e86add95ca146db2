"""Compiled work on clique inequalities: their pairs, slacks and hashes, and the search for violated ones.

Cliques are rows of vertices with signs, both 0 beyond a clique's size.  Triangles are all looked through, larger
cliques are grown from smaller ones.
"""

import numpy as np

from solvers.kernels.compile import kernel

# no fast arithmetic: a triple is told by which of four sums is the least
compiled = kernel()
# a loop that only counts runs several at a time, if sums may be reordered
counting = kernel(fastmath={"reassoc", "contract", "nsz"})

# More than any sum over a clique.
TAKEN = 1e3


@compiled
def list_pairs(vertices, signs, order, starts, pairs, products, sides):
    """Write every clique's pairs as flat indices, their signs, and its right-hand side; return how many pairs."""
    count = 0
    for m in range(vertices.shape[0]):
        starts[m] = count
        size = 0
        while size < vertices.shape[1] and signs[m, size] != 0:
            size += 1
        for a in range(size):
            for b in range(a + 1, size):
                pairs[count] = vertices[m, a] * order + vertices[m, b]
                products[count] = signs[m, a] * signs[m, b]
                count += 1
        sides[m] = 0.5 * (1 - size)
    starts[vertices.shape[0]] = count
    return count


@compiled
def clique_slacks(gram, vertices, signs, slacks):
    """Write every clique's signed sum of entries of the Gram matrix, less its right-hand side."""
    for m in range(vertices.shape[0]):
        size = 0
        total = 0.0
        while size < vertices.shape[1] and signs[m, size] != 0:
            row = gram[vertices[m, size]]
            part = 0.0
            for b in range(size):
                part += signs[m, b] * row[vertices[m, b]]
            total += signs[m, size] * part
            size += 1
        slacks[m] = total - 0.5 * (1 - size)


@compiled
def hash_cliques(vertices, signs, factors, hashes):
    """Write a hash of each clique that depends on its vertices with their signs."""
    last = factors.shape[0] - 1
    for m in range(vertices.shape[0]):
        total = np.uint64(0)
        for a in range(vertices.shape[1]):
            if signs[m, a] == 0:
                break
            mixed = np.uint64(4 * vertices[m, a] + signs[m, a] + 2) * factors[a]
            mixed ^= mixed >> np.uint64(29)
            total += mixed * factors[last - a]
        hashes[m] = total


@counting
def _count_triangles(ij, i_row, j_row, threshold):
    """How many vertices k, with entries in two rows, make one of the four triangle sums less than the threshold."""
    count = 0.0
    for k in range(i_row.shape[0]):
        alike, apart = ij - abs(i_row[k] + j_row[k]), -ij - abs(i_row[k] - j_row[k])
        count += 1.0 if (alike if alike < apart else apart) < threshold else 0.0
    return count


@compiled
def count_violated(gram, threshold, stride):
    """Number of triples i < j < k, i a multiple of ``stride``, with a triangle sum below ``threshold``."""
    order = gram.shape[0]
    count = 0.0
    for i in range(0, order, stride):
        for j in range(i + 1, order):
            count += _count_triangles(gram[i, j], gram[i, j + 1 :], gram[j, j + 1 :], threshold)
    return int(count)


@compiled
def _least(ij, ik, jk):
    """Least signed sum of three products, the signs being those of a sign vector."""
    return min(min(ij + ik + jk, ij - ik - jk), min(ik - ij - jk, jk - ij - ik))


@compiled
def violated_triangles(gram, threshold, vertices, signs, values):
    """Write triples, their signs (the first is +1) and their least sum, where that is below ``threshold``."""
    order = gram.shape[0]
    found = 0
    for i in range(order):
        for j in range(i + 1, order):
            ij = gram[i, j]
            if not _count_triangles(ij, gram[i, j + 1 :], gram[j, j + 1 :], threshold):
                continue
            for k in range(j + 1, order):
                ik, jk = gram[i, k], gram[j, k]
                value = _least(ij, ik, jk)
                if not value < threshold:  # NaN is not counted either
                    continue
                vertices[found, 0], vertices[found, 1], vertices[found, 2] = i, j, k
                signs[found, 0] = 1
                signs[found, 1] = 1 if value == ij + ik + jk or value == ij - ik - jk else -1
                signs[found, 2] = 1 if value == ij + ik + jk or value == ik - ij - jk else -1
                values[found] = value
                found += 1
                if found == values.shape[0]:
                    return found
    return found


@counting
def _count_below(row, pulls, ends, pull, least):
    """How many vertices add less than ``least`` together with one that has this pull, each with its better sign."""
    count = 0.0
    for u in range(row.shape[0]):
        alike, apart = row[u] - abs(pull + pulls[u]), -row[u] - abs(pull - pulls[u])
        count += 1.0 if (alike if alike < apart else apart) + ends[u] < least else 0.0
    return count


@compiled
def _best_pair(gram, pulls, ends, least):
    """Least sum that two signed vertices add, and both, -1 where it is not below ``least``."""
    first, second = -1, -1
    for v in range(1, gram.shape[0]):
        pull = pulls[v]
        if ends[v] > 0.0 or not _count_below(gram[v, :v], pulls[:v], ends[:v], pull, least):
            continue
        for u in range(v):
            alike, apart = gram[v, u] - abs(pull + pulls[u]), -gram[v, u] - abs(pull - pulls[u])
            value = min(alike, apart) + ends[u]
            if value < least:
                least, first, second = value, v, u
    return least, first, second


@compiled
def grow(gram, vertices, signs, threshold, grown_vertices, grown_signs, values):
    """Add to each clique the two signed vertices that lower its sum most; keep those below ``threshold``.

    The first ``vertices.shape[1]`` columns of what is written are the clique's own.  Returns how many were kept.
    """
    order, size = gram.shape[0], vertices.shape[1]
    pulls = np.empty(order)
    ends = np.zeros(order)
    found = 0
    for m in range(vertices.shape[0]):
        own = 0.0
        pulls[:] = 0.0
        for a in range(size):
            row, sign = gram[vertices[m, a]], signs[m, a]
            for b in range(a):
                own += sign * signs[m, b] * row[vertices[m, b]]
            for v in range(order):
                pulls[v] += sign * row[v]
            ends[vertices[m, a]] = TAKEN
        least, first, second = _best_pair(gram, pulls, ends, threshold - own)
        for a in range(size):
            ends[vertices[m, a]] = 0.0
        if second < 0 or not own + least < threshold:
            continue
        entry, one, other = gram[first, second], pulls[first], pulls[second]
        alike = entry - abs(one + other) <= -entry - abs(one - other)
        grown_vertices[found, :size] = vertices[m]
        grown_signs[found, :size] = signs[m]
        grown_vertices[found, size], grown_vertices[found, size + 1] = first, second
        lead = -1 if (one + other if alike else one - other) > 0.0 else 1
        grown_signs[found, size] = lead
        grown_signs[found, size + 1] = lead if alike else -lead
        values[found] = own + least
        found += 1
    return found
