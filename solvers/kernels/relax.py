"""Over-relaxed coordinate sweeps over many small dense problems, a problem after the other.

`solvers.torch_backend.dense.over_relaxation` does the same on tensors.
"""

import numpy as np

from solvers.kernels.compile import kernel
from solvers.kernels.row_update import by_distance
from solvers.kernels.vectors import combine_with_row, gradient_of_row, squared_distance

# The interpreter's lock is let go, so that threads can share a batch.
compiled = kernel(fastmath=True)


@compiled
def sweep(matrix, everything, factor, width, gradient, beta):
    """One sweep over a problem with a zero diagonal; return the decrease.

    Matrix and factor are flat, ``everything`` is 0 .. N - 1.  The decrease is formed from half the squared distance
    of each row to its minimiser, which keeps its digits in float32.
    """
    rows = everything.shape[0]
    decrease = 0.0
    for row in range(rows):
        squared, _ = gradient_of_row(
            factor, everything, matrix, np.int64(0), np.int64(rows), row * rows, width, row, gradient
        )
        if squared == 0.0:
            continue
        length = np.sqrt(squared)
        distance = 0.5 * squared_distance(factor, row, width, gradient, -1.0 / length)
        toward, keep, fall = by_distance(length, distance, beta)
        combine_with_row(factor, row, width, gradient, toward, keep)
        decrease += fall
    return decrease


@compiled
def sweep_batch(matrices, factors, betas, decreases):
    """Sweep each problem with each relaxation factor of its row of ``betas``, in place.

    Matrices are (B, N, N), factors (B, N, k) with k a multiple of eight, both C-contiguous and of one dtype; betas
    (B, count) and ``decreases`` (B,), which receives the decrease of the last sweep, are float64.
    """
    rows, width = factors.shape[1], factors.shape[2]
    everything = np.arange(rows)
    gradient = np.empty(width, factors.dtype)
    for problem in range(factors.shape[0]):
        matrix = matrices[problem].reshape(rows * rows)
        factor = factors[problem].reshape(rows * width)
        for number in range(betas.shape[1]):
            decreases[problem] = sweep(matrix, everything, factor, width, gradient, betas[problem, number])


@compiled
def relax_rows(block, gradients, rows, width, betas, decreases):
    """Relax the rows of a block one after the other, in place, in every problem that shares it.

    ``block`` (R, R) holds the costs among the rows, with ones on its diagonal; ``gradients`` and ``rows`` are flat
    (R, J, k), with k a multiple of eight: the gradients from outside the block, which are overwritten, and the unit
    rows.  Betas (J,) are of the dtype of the rows; the decrease of each objective is added to ``decreases`` (J,).
    """
    count, problems = block.shape[0], betas.shape[0]
    costs = block.reshape(count * count)
    places = np.empty(count, np.int64)
    gradient = np.empty(width, rows.dtype)
    for problem in range(problems):
        beta = np.float64(betas[problem])
        for i in range(count):
            row = places[i] = i * problems + problem
            # of the rows before this one, the gradients have been replaced by how far they have moved
            squared, _ = gradient_of_row(
                gradients,
                places,
                costs,
                np.int64(0),
                np.int64(i + 1),
                np.int64(i * count),
                width,
                row,
                gradient,
            )
            if squared == 0.0:
                gradients[row * width : (row + 1) * width] = 0.0
                continue
            length = np.sqrt(squared)
            distance = 0.5 * squared_distance(rows, row, width, gradient, -1.0 / length)
            toward, keep, fall = by_distance(length, distance, beta)
            gradients[row * width : (row + 1) * width] = rows[row * width : (row + 1) * width]
            combine_with_row(gradients, row, width, gradient, toward, keep - 1.0)
            combine_with_row(rows, row, width, gradient, toward, keep)
            decreases[problem] += fall
