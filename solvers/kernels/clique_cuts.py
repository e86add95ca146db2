"""Compiled search for violated clique inequalities: all triangles, and larger cliques grown from smaller ones."""

import numpy as np

from solvers.kernels.compile import kernel

# no fast arithmetic: a triple is told by which of four sums is the least
compiled = kernel()


@compiled
def count_violated(gram, threshold):
    """Number of triples i < j < k for which one of the four triangle sums is below ``threshold``."""
    order = gram.shape[0]
    count = 0
    for i in range(order):
        for j in range(i + 1, order):
            for k in range(j + 1, order):
                if _least(gram[i, j], gram[i, k], gram[j, k]) < threshold:
                    count += 1
    return count


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


@compiled
def grow(gram, vertices, signs, threshold, grown_vertices, grown_signs, values):
    """Add to each clique the two signed vertices that lower its sum most; keep those below ``threshold``.

    The first ``vertices.shape[1]`` columns of what is written are the clique's own.  Returns how many were kept.
    """
    order, size = gram.shape[0], vertices.shape[1]
    pulls = np.empty(order)
    taken = np.zeros(order, np.bool_)
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
            taken[vertices[m, a]] = True
        least, first, second = np.inf, -1, -1
        for v in range(order):
            if taken[v]:
                continue
            for u in range(v):
                entry = gram[v, u]
                value = min(entry - abs(pulls[v] + pulls[u]), -entry - abs(pulls[v] - pulls[u]))
                if value < least and not taken[u]:
                    least, first, second = value, u, v
        for a in range(size):
            taken[vertices[m, a]] = False
        if first < 0 or own + least >= threshold:
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
