"""Cholesky factorisation of sparse matrices, to learn whether it runs through.

Vertices of low degree are eliminated one by one (minimum degree: Rose 1972; George and Liu 1989); what is nearly
dense by then goes to LAPACK.  On grids that is nearly everything, on random graphs about a third of the rows.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from numpy.typing import NDArray

# A dense core of this order takes 800 MB and some ten seconds.
MAX_CORE = 10_000
# Entries of the lists of neighbours, 4 bytes each; about a quarter of them stay in the factor.
MAX_ENTRIES = 200_000_000
# Room for lists to begin with, in multiples of the graph's, and how it grows where it was too little.  Memory that
# is never written to costs nothing.
FIRST_POOL = 64
POOL_GROWTH = 4

Places = NDArray[np.int64]
Numbers = NDArray[np.int32]


class TooMuchFill(ValueError):
    """The factor of this matrix would not fit; the message says how large it may be."""


class SparseCholesky:
    """An order of elimination for a symmetric matrix, and the places that it fills.

    Parameters
    ----------
    zero_diagonal : (n, n) csr_array
        Symmetric, without its diagonal.

    Attributes
    ----------
    core : (m,) ndarray
        The vertices that are left to a dense factorisation.
    row_lengths : (n,) ndarray
        How many entries of the factor a row holds at most, its diagonal included: what rounding grows with.

    Raises
    ------
    TooMuchFill
        If the core or the rest exceeds the limits.

    Notes
    -----
    Time and memory depend on the graph: O(n log n) entries and O(n^1.5) time for planar ones.

    Examples
    --------
    >>> ring = sp.csr_array(np.roll(np.eye(100), 1, axis=1) + np.roll(np.eye(100), -1, axis=1))
    >>> elimination = SparseCholesky(ring)
    >>> elimination.factorises(np.full(100, 2.001)), elimination.factorises(np.full(100, 1.999))
    (True, False)
    """

    def __init__(self, zero_diagonal: sp.csr_array) -> None:
        from solvers.kernels import sparse_cholesky as kernels

        self._kernels = kernels
        order = zero_diagonal.shape[0]
        sequence, pool, start, length = self._least_degrees(zero_diagonal)
        core = np.ones(order, dtype=np.bool_)
        core[sequence] = False
        self.core = np.flatnonzero(core)
        if self.core.size > MAX_CORE:
            raise TooMuchFill(f"its dense core must not have more than {MAX_CORE:,} rows")
        self._sequence = sequence
        self._vertices = np.concatenate([sequence, self.core])
        self._place = np.empty(order, dtype=np.int32)
        self._place[self._vertices] = np.arange(order)
        lengths = length[sequence]
        ends = np.cumsum(lengths)
        entries = np.arange(lengths.sum()) + np.repeat(start[sequence] - ends + lengths, lengths)
        self._fill(zero_diagonal, np.repeat(np.arange(sequence.size), lengths), self._place[pool[entries]])

    def _least_degrees(self, matrix: sp.csr_array) -> tuple[Numbers, Numbers, Places, Places]:
        """Vertices in the order of their elimination, and lists of the neighbours that each had by then."""
        order, entries = matrix.shape[0], matrix.nnz
        degrees = np.diff(matrix.indptr).astype(np.int64)
        size = min(FIRST_POOL * (entries + order), MAX_ENTRIES)
        while entries < size:
            pool = np.empty(size, dtype=np.int32)
            pool[:entries] = matrix.indices
            start, length = matrix.indptr[:-1].astype(np.int64), degrees.copy()
            stamp, sequence = np.zeros(order, dtype=np.int64), np.empty(order, dtype=np.int32)
            count = self._kernels.minimum_degree(
                pool, entries, start, length, degrees.copy(), *_rings(degrees), stamp, sequence
            )
            if count >= 0:
                return sequence[:count], pool, start, length
            if size == MAX_ENTRIES:
                break
            size = min(POOL_GROWTH * size, MAX_ENTRIES)
        raise TooMuchFill(f"the lists of its elimination must not have more than {MAX_ENTRIES:,} entries")

    def _fill(self, matrix: sp.csr_array, numbers: Places, rows: Numbers) -> None:
        """Sort the places that columns outside the core fill, and find those of the matrix among them."""
        order, count, size = self._place.size, self._sequence.size, self.core.size
        right, below = np.repeat(self._place, np.diff(matrix.indptr)), self._place[matrix.indices]
        lower, outside = right < below, right < count
        outer, inner = lower & outside, lower & ~outside
        values = np.concatenate([np.zeros(rows.size), matrix.data[outer]])
        places = np.concatenate([numbers, right[outer]]), np.concatenate([rows, below[outer]])
        # the matrix's own entries are summed with the zeros of their places
        columns = sp.coo_array((values, places), shape=(count, order)).tocsr()
        transposed = columns.tocsc()
        self._columns, self._owners = columns.indices.astype(np.int32), transposed.indices.astype(np.int32)
        self._pointers, self._rows = columns.indptr.astype(np.int64), transposed.indptr.astype(np.int64)
        self._entries = np.flatnonzero(columns.data)
        self._values = columns.data[self._entries]
        # the core follows one zero for each vertex, by columns
        self._core_entries = order + (right[inner] - count) * np.int64(size) + (below[inner] - count)
        self._core_values = matrix.data[inner]
        filled = np.diff(self._rows) + 1
        filled[count:] += size
        self.row_lengths: NDArray[np.int64] = filled[self._place]

    def factorises(self, diagonal: NDArray[np.float64]) -> bool:
        """Whether Cholesky of the matrix with this diagonal meets only positive pivots."""
        order, size = self._place.size, self.core.size
        factor, work = np.zeros(self._columns.size), np.zeros(order + size * size)
        factor[self._entries], work[self._core_entries] = self._values, self._core_values
        pattern = (self._pointers, self._columns, self._rows, self._owners, self._pointers[:-1].copy())
        done = bool(self._kernels.eliminate(diagonal[self._vertices], *pattern, factor, work))
        return done and dense_factorises(work[order:].reshape(size, size).T)


def _rings(degrees: Places) -> tuple[Numbers, Numbers]:
    """What follows and what precedes each node: a ring leads from each degree d over its vertices v, as n + v."""
    order = degrees.size
    keys = np.concatenate([np.arange(order), degrees])
    nodes = np.argsort(keys, kind="stable")
    following = np.roll(nodes, -1)
    last = following < order
    following[last] = keys[nodes[last]]
    after, before = np.empty((2, 2 * order), dtype=np.int32)
    after[nodes], before[following] = following, nodes
    return after, before


def dense_factorises(matrix: NDArray[np.float64]) -> bool:
    """Whether LAPACK's Cholesky of a symmetric matrix, its lower triangle given, runs through."""
    if not matrix.size:
        return True
    try:
        factor = la.cholesky(matrix, lower=True, check_finite=False)
    except la.LinAlgError:
        return False
    # some implementations let NaN pivots pass
    pivots = factor.diagonal()
    return bool(np.all(pivots > 0) and np.isfinite(pivots).all())
