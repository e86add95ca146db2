"""The two halves of a Lanczos step for C - Diag(y) with sparse C, over some rows, so that threads can share it.

Between them, and after them, their sums over all rows are needed.  Basis vectors are not normalised: what is made
of them is scaled instead, which saves a pass.
"""

import numpy as np

from solvers.kernels.compile import kernel

compiled = kernel(fastmath=True)


@compiled
def image_rows(indptr, indices, values, dual, previous, current, first, last, scale, back):
    """Replace ``previous`` by scale (C - Diag(y)) current - back previous; return its product with ``current``."""
    product = 0.0
    # an unsigned index needs no look at whether it counts from the end: half the time
    for row in range(np.uint64(first), np.uint64(last)):
        image = -dual[row] * current[row]
        for position in range(np.uint64(indptr[row]), np.uint64(indptr[row + np.uint64(1)])):
            image += values[position] * current[np.uint64(indices[position])]
        image = scale * image - back * previous[row]
        previous[row] = image
        product += image * current[row]
    return product


@compiled
def subtract_rows(previous, current, first, last, weight):
    """Subtract weight current from ``previous``; return what is left, squared."""
    squared = 0.0
    for row in range(np.uint64(first), np.uint64(last)):
        left = previous[row] - weight * current[row]
        previous[row] = left
        squared += left * left
    return squared
