"""Over-relaxed coordinate sweeps over the rows of a factor, and products with them.

With every other row fixed, row i enters the objective through 2 <g_i, v_i>, where g_i = sum_j c_ij v_j over
j != i; its minimiser on the sphere is -g_i/|g_i|.  Each update goes past that point by a factor 1 + beta, as
successive over-relaxation does for linear systems; for beta < 1 the objective still never increases.

Factors are C-contiguous with a multiple of eight columns.  The matrix is CSR without its diagonal; a dense one
passes its rows as ``values``, the column numbers as ``indices``, and an empty ``indptr``.

Sweeps and products share one function, because to compile the sum over neighbours twice takes a user's time.
"""

import numpy as np

from solvers.kernels.compile import kernel
from solvers.kernels.vectors import combine_with_row, pull_on_row

compiled = kernel(fastmath=True)


@compiled
def sweep(indptr, indices, values, factor, width, rows, first, count, delay, pull, image):
    """Move some rows, in their order, past their minimisers in place, or learn their products with the cost.

    Factor, ``pull`` (one row to write to) and ``image`` are flat.  Sweeps ``first`` .. ``first + count - 1`` have
    beta = number / (number + delay); returned are the decreases of the objective in the last one and in all.
    Where ``image`` is not empty, these rows of C V are stored there, one after the other, and nothing moves.
    """
    sparse, order = indptr.shape[0] > 0, indices.shape[0]
    moves = image.shape[0] == 0
    decrease = 0.0
    total = 0.0
    for number in range(first, first + count):
        beta = number / (number + delay)
        ahead = 1.0 + beta
        decrease = 0.0
        for place in range(rows.shape[0]):
            row = rows[place]
            start, stop, shift = np.int64(0), np.int64(order), row * order
            if sparse:
                start, stop, shift = np.int64(indptr[row]), np.int64(indptr[row + 1]), np.int64(0)
            squared, aligned = pull_on_row(factor, indices, values, start, stop, shift, width, row, pull)
            if not moves:
                for column in range(width):
                    image[place * width + column] = pull[column]
            elif squared > 0.0:
                # -(ahead * pull + lean * row) is the update times the pull's length
                lean = beta * np.sqrt(squared)
                norm = np.sqrt(ahead * ahead * squared + lean * lean + 2.0 * ahead * lean * aligned)
                toward = -ahead / norm
                keep = -lean / norm
                combine_with_row(factor, row, width, pull, toward, keep)
                decrease += 2.0 * (aligned - (toward * squared + keep * aligned))
        total += decrease
    return decrease, total
