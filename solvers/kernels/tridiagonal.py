"""The two smallest eigenvalues of a symmetric tridiagonal matrix, only as accurate as they are needed."""

import numba
import numpy as np

# part of who calls it: a function of its own takes a third of a second to compile
inlined = numba.njit(inline="always")
compiled = numba.njit(cache=True, error_model="numpy", nogil=True)

# Halvings of a bracket: enough for any accuracy that float64 has.
MAX_HALVINGS = 100
INVERSE_ITERATIONS = 3
# A pivot below this share of the spectrum is rounding; it must not divide.
PIVOT = 1e-20
SMALLEST = 1e-300


@inlined
def count_below(diagonal, squares, shift, tiny):
    """Sylvester's law of inertia: how many eigenvalues lie below ``shift``, two counting as many."""
    count = 0
    pivot = 1.0
    for place in range(diagonal.shape[0]):
        coupled = squares[place - 1] / pivot if place > 0 else 0.0
        pivot = diagonal[place] - shift - coupled
        if abs(pivot) < tiny:
            pivot = -tiny
        if pivot < 0.0:
            count += 1
            if count == 2:
                break
    return count


@inlined
def bisect(diagonal, squares, number, origin, high, width, share, tiny):
    """Narrow a bracket around eigenvalue ``number``, 0 or 1, to ``width`` or a share of its way from the left."""
    low = origin
    for _ in range(MAX_HALVINGS):
        middle = 0.5 * (low + high)
        if high - low <= max(width, share * (low - origin)) or middle <= low or middle >= high:
            break
        if count_below(diagonal, squares, middle, tiny) > number:
            high = middle
        else:
            low = middle
    return low, high


@compiled
def two_smallest(diagonal, offdiagonal, width, squares, pivots, vector):
    """A bracket of the smallest eigenvalue, ``width`` wide, a lower bound on the second, and the first's vector.

    The second is bounded to a twentieth of its distance from the first.  ``offdiagonal`` has one entry fewer than
    ``diagonal``; the last three arguments are arrays of the order to write to, because it takes long to compile
    what makes them.
    """
    order = diagonal.shape[0]
    low, high = diagonal[0], diagonal[0]
    for place in range(order):
        radius = 0.0
        if place + 1 < order:
            radius += abs(offdiagonal[place])
            squares[place] = offdiagonal[place] * offdiagonal[place]
        if place > 0:
            radius += abs(offdiagonal[place - 1])
        low = min(low, diagonal[place] - radius)
        high = max(high, diagonal[place] + radius)
    tiny = SMALLEST + PIVOT * (high - low)
    first, above = bisect(diagonal, squares, 0, low, high, width, 0.0, tiny)
    second, _ = bisect(diagonal, squares, 1, first, high, width, 0.05, tiny)
    eigenvector(diagonal, offdiagonal, first, tiny, pivots, vector)
    return first, above, second


@inlined
def eigenvector(diagonal, offdiagonal, shift, tiny, pivots, vector):
    """By inverse iteration just below the smallest eigenvalue, where elimination needs no pivoting."""
    order = diagonal.shape[0]
    for place in range(order):
        pivot = diagonal[place] - shift
        if place > 0:
            pivot -= offdiagonal[place - 1] * offdiagonal[place - 1] / pivots[place - 1]
        pivots[place] = pivot if pivot > tiny else tiny
        vector[place] = 1.0
    for _ in range(INVERSE_ITERATIONS):
        for place in range(1, order):
            vector[place] -= offdiagonal[place - 1] / pivots[place - 1] * vector[place - 1]
        vector[order - 1] /= pivots[order - 1]
        squared = vector[order - 1] * vector[order - 1]
        for place in range(order - 2, -1, -1):
            vector[place] = (vector[place] - offdiagonal[place] * vector[place + 1]) / pivots[place]
            squared += vector[place] * vector[place]
        scale = 1.0 / np.sqrt(squared)
        for place in range(order):
            vector[place] *= scale
