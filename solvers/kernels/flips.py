"""Compiled one-flip local search: sweep the signs, flip whatever lowers the objective, until nothing does."""

from __future__ import annotations

import numpy as np

from solvers.kernels.compile import kernel

# A flip must gain this much of the coefficients at its sign: rounding of the fields cannot then cause cycles.
MARGIN = 1e-12


@kernel()
def fields_sparse(data, indices, pointers, diagonal, b, signs):
    """f_i = sum_{j != i} A_ij w_j + b_i / 2: flipping w_i changes the objective by -4 w_i f_i."""
    n = signs.shape[0]
    fields = np.empty(n)
    for i in range(n):
        total = 0.5 * b[i] - diagonal[i] * signs[i]
        for entry in range(pointers[i], pointers[i + 1]):
            total += data[entry] * signs[indices[entry]]
        fields[i] = total
    return fields


@kernel()
def flip_sparse(data, indices, pointers, signs, fields, i):
    """Flip one sign and bring the fields up to date; its own does not change."""
    signs[i] = -signs[i]
    change = 2.0 * signs[i]
    own = fields[i]
    for entry in range(pointers[i], pointers[i + 1]):
        fields[indices[entry]] += change * data[entry]
    fields[i] = own


@kernel()
def flip_dense(A, signs, fields, i):
    """Flip one sign and bring the fields up to date; its own does not change."""
    signs[i] = -signs[i]
    change = 2.0 * signs[i]
    own = fields[i]
    for j in range(signs.shape[0]):
        fields[j] += change * A[i, j]
    fields[i] = own


@kernel()
def _search_sparse(data, indices, pointers, diagonal, b, weight, signs):
    n = signs.shape[0]
    fields = fields_sparse(data, indices, pointers, diagonal, b, signs)
    settled = 0
    i = 0
    while settled < n:
        settled += 1
        if signs[i] * fields[i] > MARGIN * weight[i]:
            flip_sparse(data, indices, pointers, signs, fields, i)
            settled = 0
        i = i + 1 if i + 1 < n else 0


@kernel()
def _search_dense(A, diagonal, b, weight, signs):
    n = signs.shape[0]
    fields = A @ signs + 0.5 * b - diagonal * signs
    settled = 0
    i = 0
    while settled < n:
        settled += 1
        if signs[i] * fields[i] > MARGIN * weight[i]:
            flip_dense(A, signs, fields, i)
            settled = 0
        i = i + 1 if i + 1 < n else 0


@kernel()
def search_sparse(data, indices, pointers, diagonal, b, weight, signs):
    """Bring each row of ``signs`` (m, n) to a one-flip local minimum, in place; A in CSR form."""
    for row in range(signs.shape[0]):
        _search_sparse(data, indices, pointers, diagonal, b, weight, signs[row])


@kernel()
def search_dense(A, diagonal, b, weight, signs):
    """Bring each row of ``signs`` (m, n) to a one-flip local minimum, in place; A dense and symmetric."""
    for row in range(signs.shape[0]):
        _search_dense(A, diagonal, b, weight, signs[row])
