"""Rows of a mean and a factor brought to one norm, read from memory once and written once."""

import numpy as np

from solvers.kernels.compile import kernel

compiled = kernel()

# Entries whose norms are accumulated together: they stay in a core's first-level cache with one column.
BLOCK = 512


@compiled
def scale_to_norm(mean, factor, weight, smallest, radius):
    """Multiply ``(mean_ij, factor_ikj for all k)`` so that ``mean_ij^2 + weight * sum_k factor_ikj^2 = radius^2``.

    ``mean`` has shape (n, m), ``factor`` (n, K, m); ``weight``, ``smallest`` and ``radius`` have their dtype.
    Squared norms below ``smallest`` count as ``smallest``.
    """
    buffer = np.empty(BLOCK, mean.dtype)
    for i in range(factor.shape[0]):
        for start in range(0, factor.shape[2], BLOCK):
            stop = min(start + BLOCK, factor.shape[2])
            row = mean[i, start:stop]
            ratio = buffer[: stop - start]
            ratio[:] = 0
            for k in range(factor.shape[1]):
                column = factor[i, k, start:stop]
                for j in range(column.size):
                    ratio[j] += column[j] * column[j]
            for j in range(row.size):
                square = row[j] * row[j] + weight * ratio[j]
                if square < smallest:
                    square = smallest
                ratio[j] = radius / np.sqrt(square)
                row[j] *= ratio[j]
            for k in range(factor.shape[1]):
                column = factor[i, k, start:stop]
                for j in range(column.size):
                    column[j] *= ratio[j]
