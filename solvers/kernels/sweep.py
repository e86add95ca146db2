"""Over-relaxed coordinate sweeps over the rows of a factor, and products with them.

Factors are C-contiguous with a multiple of eight columns.  The matrix is CSR without its diagonal; a dense one
passes its rows as ``values``, the column numbers as ``indices``, and an empty ``indptr``.

Sweeps and products share one function, because to compile the sum over neighbours twice takes a user's time.
"""

import numpy as np

from solvers.kernels.compile import kernel
from solvers.kernels.row_update import by_inner_products
from solvers.kernels.vectors import combine_with_row, gradient_of_row

compiled = kernel(fastmath=True)


@compiled
def visit(indptr, indices, values, factor, width, gradient, rows, moves, first, count, delay, image):
    """Move some rows, in their order, past their minimisers in place; or learn their products with the cost.

    Where rows move, sweeps ``first`` .. ``first + count - 1`` have beta = number / (number + delay), and returned
    are the decreases of the objective in the last sweep and in all.  Elsewhere ``image`` receives these rows of
    C V, one after the other.  ``gradient`` is room for one row; like it, factor and image are flat.
    """
    sparse, order = indptr.shape[0] > 0, indices.shape[0]
    decrease = 0.0
    total = 0.0
    for number in range(first, first + count):
        beta = number / (number + delay)
        decrease = 0.0
        for place in range(rows.shape[0]):
            row = rows[place]
            start, stop, shift = np.int64(0), np.int64(order), row * order
            if sparse:
                start, stop, shift = np.int64(indptr[row]), np.int64(indptr[row + 1]), np.int64(0)
            squared, aligned = gradient_of_row(
                factor, indices, values, start, stop, shift, width, row, gradient
            )
            if not moves:
                for column in range(width):
                    image[place * width + column] = gradient[column]
            elif squared > 0.0:
                toward, keep, fall = by_inner_products(squared, aligned, beta)
                combine_with_row(factor, row, width, gradient, toward, keep)
                decrease += fall
        total += decrease
    return decrease, total
