"""Rows of a mean and a factor divided by their norms, read from memory once and written once."""

import numpy as np

from solvers.kernels.compile import kernel

compiled = kernel()

# Entries whose norms are accumulated together: they stay in a core's first-level cache with one column.
BLOCK = 512


@compiled
def divide_by_norms(mean, factor, weight, smallest):
    """Divide ``(mean_ij, factor_ikj for all k)`` by ``sqrt(mean_ij^2 + weight * sum_k factor_ikj^2)``, in place.

    ``mean`` has shape (n, m), ``factor`` (n, K, m); ``weight`` and ``smallest`` have their dtype. Squared norms
    below ``smallest`` count as ``smallest``.
    """
    one = weight / weight
    buffer = np.empty(BLOCK, mean.dtype)
    for i in range(factor.shape[0]):
        for start in range(0, factor.shape[2], BLOCK):
            stop = min(start + BLOCK, factor.shape[2])
            row = mean[i, start:stop]
            inverse = buffer[: stop - start]
            inverse[:] = 0
            for k in range(factor.shape[1]):
                column = factor[i, k, start:stop]
                for j in range(column.size):
                    inverse[j] += column[j] * column[j]
            for j in range(row.size):
                square = row[j] * row[j] + weight * inverse[j]
                if square < smallest:
                    square = smallest
                inverse[j] = one / np.sqrt(square)
                row[j] *= inverse[j]
            for k in range(factor.shape[1]):
                column = factor[i, k, start:stop]
                for j in range(column.size):
                    column[j] *= inverse[j]
