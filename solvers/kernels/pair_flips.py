"""Compiled two-flip local search: where no single flip gains, flip coupled pairs until none of them gains either.

Flipping w_i and w_j changes w^T A w + b^T w by -4 (g_i + g_j - 2 A_ij w_i w_j), where g_i = w_i f_i is the gain of
one flip.  Where neither gains alone, the pair can only gain through A_ij w_i w_j < 0: pairs that A does not couple
need not be tried.
"""

from __future__ import annotations

from solvers.kernels.compile import kernel
from solvers.kernels.flips import MARGIN, fields_sparse, flip_dense, flip_sparse, search_dense, search_sparse


@kernel()
def _search_sparse(data, indices, pointers, diagonal, b, weight, signs):
    n = signs.shape[0]
    fields = fields_sparse(data, indices, pointers, diagonal, b, signs)
    settled = 0
    i = 0
    while settled < n:
        gain = signs[i] * fields[i]
        settled += 1
        if gain > MARGIN * weight[i]:
            flip_sparse(data, indices, pointers, signs, fields, i)
            settled = 0
        else:
            partner = -1
            most = 0.0
            for entry in range(pointers[i], pointers[i + 1]):
                j = indices[entry]
                both = gain + signs[j] * (fields[j] - 2.0 * data[entry] * signs[i])
                if j != i and both - MARGIN * (weight[i] + weight[j]) > most:
                    most = both - MARGIN * (weight[i] + weight[j])
                    partner = j
            if partner >= 0:
                flip_sparse(data, indices, pointers, signs, fields, i)
                flip_sparse(data, indices, pointers, signs, fields, partner)
                settled = 0
        i = i + 1 if i + 1 < n else 0


@kernel()
def _search_dense(A, diagonal, b, weight, signs):
    n = signs.shape[0]
    fields = A @ signs + 0.5 * b - diagonal * signs
    settled = 0
    i = 0
    while settled < n:
        gain = signs[i] * fields[i]
        settled += 1
        if gain > MARGIN * weight[i]:
            flip_dense(A, signs, fields, i)
            settled = 0
        else:
            partner = -1
            most = 0.0
            for j in range(n):
                both = gain + signs[j] * (fields[j] - 2.0 * A[i, j] * signs[i])
                if j != i and both - MARGIN * (weight[i] + weight[j]) > most:
                    most = both - MARGIN * (weight[i] + weight[j])
                    partner = j
            if partner >= 0:
                flip_dense(A, signs, fields, i)
                flip_dense(A, signs, fields, partner)
                settled = 0
        i = i + 1 if i + 1 < n else 0


@kernel()
def search_pairs_sparse(data, indices, pointers, diagonal, b, weight, signs):
    """Bring each row of ``signs`` (m, n) to a one- and two-flip local minimum, in place; A in CSR form."""
    search_sparse(data, indices, pointers, diagonal, b, weight, signs)
    for row in range(signs.shape[0]):
        _search_sparse(data, indices, pointers, diagonal, b, weight, signs[row])


@kernel()
def search_pairs_dense(A, diagonal, b, weight, signs):
    """Bring each row of ``signs`` (m, n) to a one- and two-flip local minimum, in place; A dense and symmetric."""
    search_dense(A, diagonal, b, weight, signs)
    for row in range(signs.shape[0]):
        _search_dense(A, diagonal, b, weight, signs[row])
