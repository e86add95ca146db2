"""Compiled enumeration of the cube in Gray-code order: consecutive points differ in one sign."""

from __future__ import annotations

import numpy as np

from solvers.kernels.compile import kernel

# Steps between exact recomputations of value and local fields; a power of two.
REFRESH = 64


@kernel(inline="always")
def _signs_of(code, signs):
    """Write the signs of Gray code ``code``: bit i set means w_i = -1."""
    for i in range(signs.shape[0]):
        signs[i] = -1.0 if (code >> np.uint64(i)) & np.uint64(1) else 1.0


@kernel()
def _fields_of(A, b, signs, fields):
    """Set fields_i = 2 sum_{j != i} A_ij w_j + b_i; return the value w^T A w + b^T w."""
    n = signs.shape[0]
    value = 0.0
    for i in range(n):
        total = 0.0
        for j in range(n):
            if j != i:
                total += A[i, j] * signs[j]
        fields[i] = 2.0 * total + b[i]
        value += signs[i] * (total + b[i]) + A[i, i]
    return value


@kernel()
def _add(high, low, term):
    """Add ``term`` to the unevaluated sum high + low (Knuth's two-sum)."""
    total = high + term
    part = total - high
    return total, low + ((high - (total - part)) + (term - part))


@kernel()
def exact_value(A, b, signs):
    """w^T A w + b^T w with twice the working precision, rounded once."""
    n = signs.shape[0]
    high = 0.0
    low = 0.0
    for i in range(n):
        high, low = _add(high, low, A[i, i])
        high, low = _add(high, low, signs[i] * b[i])
        for j in range(i):
            high, low = _add(high, low, 2.0 * (A[i, j] * signs[i] * signs[j]))
    return high + low


@kernel()
def enumerate_cube(A, b, free, slack, ceiling, codes, values):
    """Visit all 2^free settings of the first ``free`` signs, the others being +1.

    With an empty ``codes``: return the Gray code of a point within ``slack`` of the minimum.  Otherwise: fill
    ``codes`` and ``values`` with the points whose value is at most ``ceiling + slack``, up to its length.

    Returns
    -------
    code : uint64
        Of the best point seen.
    found : int
        Number of points written, or -1 where ``codes`` was too short.
    """
    n = A.shape[0]
    signs = np.ones(n)
    fields = np.empty(n)
    doubled = 2.0 * A
    best_code = np.uint64(0)
    _signs_of(best_code, signs)
    best = exact_value(A, b, signs)
    collecting = codes.shape[0] > 0
    found = 0
    value = 0.0
    code = np.uint64(0)
    for step in range(1 << free):
        if step % REFRESH == 0:
            code = np.uint64(step) ^ (np.uint64(step) >> np.uint64(1))
            _signs_of(code, signs)
            value = _fields_of(A, b, signs, fields)
        else:
            flipped = 0
            rest = step
            while rest & 1 == 0:
                rest >>= 1
                flipped += 1
            code ^= np.uint64(1) << np.uint64(flipped)
            value -= 2.0 * signs[flipped] * fields[flipped]
            signs[flipped] = -signs[flipped]
            change = 2.0 * signs[flipped]
            own = fields[flipped]
            for j in range(n):
                fields[j] += change * doubled[flipped, j]
            fields[flipped] = own
        if collecting:
            if value <= ceiling + slack:
                if found == codes.shape[0]:
                    return best_code, -1
                codes[found] = code
                values[found] = exact_value(A, b, signs)
                found += 1
        elif value < best - slack:
            exact = exact_value(A, b, signs)
            if exact < best:
                best = exact
                best_code = code
    return best_code, found
