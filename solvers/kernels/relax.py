"""Over-relaxed coordinate sweeps over many small dense problems, a problem after the other.

The mathematics is that of `solvers.tensors.relaxation`, which does the same on tensors.
"""

import numba
import numpy as np

# The interpreter's lock is let go, so that threads can share a batch.
compiled = numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)


@compiled
def relax_row(factor, row, pull, beta):
    """Move one row past its minimiser; return the decrease of the objective.

    The decrease is formed from half the squared distance to the minimiser, which keeps its digits in float32.
    """
    width = factor.shape[1]
    zero = pull[0] * 0
    squared = zero
    for column in range(width):
        squared += pull[column] * pull[column]
    if squared == zero:
        return zero
    length = np.sqrt(squared)
    toward = -1 / length
    distance = zero
    for column in range(width):
        apart = factor[row, column] - toward * pull[column]
        distance += apart * apart
    distance *= zero + 0.5
    ahead = 1 + beta * distance
    norm = np.sqrt(1 + 2 * (1 + beta) * beta * distance)
    shrink = 1 / norm
    for column in range(width):
        minimiser = toward * pull[column]
        factor[row, column] = ((1 + beta) * minimiser - beta * factor[row, column]) * shrink
    after = beta * beta * distance * (2 - distance) / (norm * (norm + ahead))
    return 2 * length * (distance - after)


@compiled
def sweep(matrix, factor, pull, beta):
    """One sweep over a problem with a zero diagonal; return the decrease."""
    rows, width = factor.shape
    decrease = 0.0
    for row in range(rows):
        pull[:] = 0
        other = 0
        # four neighbours at a time: a quarter of the loads and stores of the accumulator
        while other + 3 < rows:
            one = matrix[row, other]
            two = matrix[row, other + 1]
            three = matrix[row, other + 2]
            four = matrix[row, other + 3]
            for column in range(width):
                pull[column] += (
                    one * factor[other, column]
                    + two * factor[other + 1, column]
                    + three * factor[other + 2, column]
                    + four * factor[other + 3, column]
                )
            other += 4
        while other < rows:
            one = matrix[row, other]
            for column in range(width):
                pull[column] += one * factor[other, column]
            other += 1
        decrease += relax_row(factor, row, pull, beta)
    return decrease


@compiled
def sweep_batch(matrices, factors, betas, decreases):
    """Sweep each problem with each relaxation factor of its row of ``betas``, in place.

    Matrices are (B, N, N), factors (B, N, k), betas (B, count), all of one dtype; ``decreases`` (B,) receives
    the decrease of the last sweep.
    """
    pull = np.empty(factors.shape[2], dtype=factors.dtype)
    for problem in range(factors.shape[0]):
        last = 0.0
        for number in range(betas.shape[1]):
            last = sweep(matrices[problem], factors[problem], pull, betas[problem, number])
        decreases[problem] = last
