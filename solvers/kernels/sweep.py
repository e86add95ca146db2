"""Over-relaxed coordinate sweeps over the rows of a factor, and products with them.

With every other row fixed, row i enters the objective through 2 <g_i, v_i>, where g_i = sum_j c_ij v_j over
j != i; its minimiser on the sphere is -g_i/|g_i|.  Each update goes past that point by a factor 1 + beta, as
successive over-relaxation does for linear systems; for beta < 1 the objective still never increases.

Factors are C-contiguous with a multiple of eight columns.  The matrix is CSR without its diagonal; a dense one
passes its rows as ``values``, the column numbers as ``indices``, and an empty ``indptr``.
"""

import numba
import numpy as np

from solvers.kernels.vectors import combine_with_row, pull_on_row

compiled = numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)


@compiled
def relax_rows(indptr, indices, values, factor, rows, beta):
    """Move some rows, in their order, past their minimisers in place; return the decrease of the objective."""
    width = factor.shape[1]
    sparse, order = indptr.shape[0] > 0, indices.shape[0]
    flat = factor.reshape(factor.shape[0] * width)
    pull = np.empty(width, factor.dtype)
    ahead = 1.0 + beta
    decrease = 0.0
    for row in rows:
        start, stop, shift = np.int64(0), np.int64(order), row * order
        if sparse:
            start, stop, shift = np.int64(indptr[row]), np.int64(indptr[row + 1]), 0
        squared, aligned = pull_on_row(flat, indices, values, start, stop, shift, width, row, pull)
        if squared == 0.0:
            continue
        # -(ahead * pull + lean * row) is the update times the pull's length
        lean = beta * np.sqrt(squared)
        norm = np.sqrt(ahead * ahead * squared + lean * lean + 2.0 * ahead * lean * aligned)
        toward = -ahead / norm
        keep = -lean / norm
        combine_with_row(flat, row, width, pull, toward, keep)
        decrease += 2.0 * (aligned - (toward * squared + keep * aligned))
    return decrease


@compiled
def sweep(indptr, indices, values, factor, first, count, delay):
    """Run sweeps ``first`` .. ``first + count - 1`` in place; return the decrease in the last one and in all."""
    rows = np.arange(factor.shape[0])
    decrease = 0.0
    total = 0.0
    for number in range(first, first + count):
        decrease = relax_rows(indptr, indices, values, factor, rows, number / (number + delay))
        total += decrease
    return decrease, total


@compiled
def product(indptr, indices, values, factor, first, last, result):
    """Store rows ``first`` .. ``last - 1`` of C V in ``result``."""
    width = factor.shape[1]
    sparse, order = indptr.shape[0] > 0, indices.shape[0]
    flat = factor.reshape(factor.shape[0] * width)
    pull = np.empty(width, factor.dtype)
    for row in range(first, last):
        start, stop, shift = np.int64(0), np.int64(order), row * order
        if sparse:
            start, stop, shift = np.int64(indptr[row]), np.int64(indptr[row + 1]), 0
        pull_on_row(flat, indices, values, start, stop, shift, width, row, pull)
        for column in range(width):
            result[row, column] = pull[column]


@compiled
def normalise_rows(factor):
    """Divide each row by its length, in place: thousands of sweeps drift by rounding."""
    rows, width = factor.shape
    for row in range(rows):
        squared = 0.0
        for column in range(width):
            squared += factor[row, column] * factor[row, column]
        scale = 1.0 / np.sqrt(squared)
        for column in range(width):
            factor[row, column] *= scale
