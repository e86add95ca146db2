"""Over-relaxed coordinate sweeps for the cost X^T S X, S diagonal, through the image U = S X V that they keep.

With every other row fixed, half the gradient of row i is g_i = U^T x_i - (x_i^T S x_i) v_i (+ h_i v_0): no entry of
X^T S X outside small diagonal blocks is ever needed.
"""

import numpy as np

from solvers.kernels.compile import kernel
from solvers.kernels.row_update import by_inner_products

compiled = kernel(fastmath=True)


@compiled
def relax_row(factor, row, gradient, beta):
    """Move one row past its minimiser -gradient/|gradient| by a factor 1 + beta; return the decrease."""
    width = factor.shape[1]
    squared = 0.0
    aligned = 0.0
    for column in range(width):
        squared += gradient[column] * gradient[column]
        aligned += gradient[column] * factor[row, column]
    if squared == 0.0:
        return 0.0
    toward, keep, decrease = by_inner_products(squared, aligned, beta)
    for column in range(width):
        factor[row, column] = toward * gradient[column] + keep * factor[row, column]
    return decrease


@compiled
def relax_border(border, factor, beta):
    """Relax row 0, which meets every other row i through border[i - 1]; return the decrease."""
    gradient = np.zeros(factor.shape[1])
    for row in range(border.shape[0]):
        for column in range(gradient.shape[0]):
            gradient[column] += border[row] * factor[row + 1, column]
    return relax_row(factor, 0, gradient, beta)


@compiled
def gram_sweep_dense(vectors, weights, blocks, border, image, factor, first, count, delay):
    """Run sweeps ``first`` .. ``first + count - 1`` in place; return the decrease in the last one and in all.

    ``vectors`` (n, m) holds the columns of X, ``image`` (m, k) is S X V, and ``blocks`` (., size, size) holds the
    diagonal blocks of X^T S X.  A block of rows shares its products with the image; within it, the rows that have
    moved already are accounted for through the block.  ``border`` is empty where nothing was homogenised;
    otherwise ``factor`` has a row 0 of its own.
    """
    rows = vectors.shape[0]
    shift = factor.shape[0] - rows
    width = factor.shape[1]
    size = blocks.shape[1]
    gradient = np.empty(width)
    gradients = np.empty((size, width))
    moved = np.empty((size, width))
    change = np.empty((vectors.shape[1], width))
    decrease = 0.0
    total = 0.0
    for number in range(first, first + count):
        beta = number / (number + delay)
        decrease = relax_border(border, factor, beta) if shift > 0 else 0.0
        for block in range(blocks.shape[0]):
            start = block * size
            stop = min(start + size, rows)
            gram = blocks[block]
            np.dot(vectors[start:stop], image, gradients[: stop - start])
            for member in range(stop - start):
                row = start + member + shift
                for column in range(width):
                    gradient[column] = gradients[member, column] - gram[member, member] * factor[row, column]
                    moved[member, column] = factor[row, column]
                if shift > 0:
                    weight = border[start + member]
                    for column in range(width):
                        gradient[column] += weight * factor[0, column]
                for earlier in range(member):
                    weight = gram[member, earlier]
                    for column in range(width):
                        gradient[column] += weight * moved[earlier, column]
                decrease += relax_row(factor, row, gradient, beta)
                for column in range(width):
                    moved[member, column] = factor[row, column] - moved[member, column]
            np.dot(vectors[start:stop].T, moved[: stop - start], change)
            for line in range(change.shape[0]):
                for column in range(width):
                    image[line, column] += weights[line] * change[line, column]
        total += decrease
    return decrease, total


@compiled
def gram_sweep_sparse(indptr, indices, values, weights, squares, border, image, factor, first, count, delay):
    """A sweep for sparse X, given as the CSR form of its transpose; ``squares`` holds x_i^T S x_i."""
    rows = indptr.shape[0] - 1
    shift = factor.shape[0] - rows
    width = factor.shape[1]
    gradient = np.empty(width)
    moved = np.empty(width)
    decrease = 0.0
    total = 0.0
    for number in range(first, first + count):
        beta = number / (number + delay)
        decrease = relax_border(border, factor, beta) if shift > 0 else 0.0
        for index in range(rows):
            row = index + shift
            weight = border[index] if shift > 0 else 0.0
            for column in range(width):
                moved[column] = factor[row, column]
                gradient[column] = weight * factor[0, column] - squares[index] * moved[column]
            for position in range(indptr[index], indptr[index + 1]):
                line = indices[position]
                weight = values[position]
                for column in range(width):
                    gradient[column] += weight * image[line, column]
            decrease += relax_row(factor, row, gradient, beta)
            for column in range(width):
                moved[column] = factor[row, column] - moved[column]
            for position in range(indptr[index], indptr[index + 1]):
                line = indices[position]
                weight = weights[line] * values[position]
                for column in range(width):
                    image[line, column] += weight * moved[column]
        total += decrease
    return decrease, total
