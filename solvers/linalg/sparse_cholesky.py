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
        self._matrix = zero_diagonal
        order = zero_diagonal.shape[0]
        sequence, pool, start, length = self._least_degrees()
        core = np.ones(order, dtype=np.bool_)
        core[sequence] = False
        self.core = np.flatnonzero(core)
        if self.core.size > MAX_CORE:
            raise TooMuchFill(f"its dense core must not have more than {MAX_CORE:,} rows")
        self._sequence = sequence
        self._place = np.empty(order, dtype=np.int32)
        self._place[sequence] = np.arange(sequence.size)
        self._place[self.core] = np.arange(sequence.size, order)
        lengths = length[sequence]
        self._pointers = np.concatenate([[0], np.cumsum(lengths)])
        entries = np.arange(self._pointers[-1]) + np.repeat(start[sequence] - self._pointers[:-1], lengths)
        self._columns = _ascending(self._pointers, self._place[pool[entries]], order)
        filled = np.bincount(self._columns, minlength=order) + 1
        filled[sequence.size :] += self.core.size
        self.row_lengths: NDArray[np.int64] = filled[self._place]

    def _least_degrees(self) -> tuple[NDArray[np.int32], NDArray[np.int32], Places, Places]:
        """Vertices in the order of their elimination, and lists of the neighbours that each had by then."""
        order, entries = self._matrix.shape[0], self._matrix.nnz
        size = min(FIRST_POOL * (entries + order), MAX_ENTRIES)
        while entries < size:
            pool = np.empty(size, dtype=np.int32)
            pool[:entries] = self._matrix.indices
            start = self._matrix.indptr[:-1].astype(np.int64)
            length = np.diff(self._matrix.indptr).astype(np.int64)
            lists = [np.full(order, -1, dtype=np.int32) for _ in range(3)]
            stamp, sequence = np.full(order, -1, dtype=np.int64), np.empty(order, dtype=np.int32)
            spans = (start, length, length.copy())
            count = self._kernels.minimum_degree(pool, entries, *spans, *lists, stamp, sequence)
            if count >= 0:
                return sequence[:count], pool, start, length
            if size == MAX_ENTRIES:
                break
            size = min(POOL_GROWTH * size, MAX_ENTRIES)
        raise TooMuchFill(f"the lists of its elimination must not have more than {MAX_ENTRIES:,} entries")

    def factorises(self, diagonal: NDArray[np.float64]) -> bool:
        """Whether Cholesky of the matrix with this diagonal meets only positive pivots."""
        core = np.asfortranarray(self._matrix[self.core][:, self.core].toarray())
        core[np.diag_indices_from(core)] = diagonal[self.core]
        matrix = (self._matrix.indptr, self._matrix.indices, self._matrix.data)
        pattern = (self._sequence, self._place, self._pointers, self._columns)
        count = self._sequence.size
        numbers = np.empty(self._columns.size), np.zeros(self._place.size)
        lists = np.full(count, -1, dtype=np.int64), *np.empty((2, count), dtype=np.int64)
        done = bool(self._kernels.eliminate(*matrix, diagonal, *pattern, core, *numbers, *lists))
        return done and dense_factorises(core)


def _ascending(pointers: NDArray[np.int64], places: NDArray[np.int32], order: int) -> NDArray[np.int32]:
    """The places of each column in ascending order."""
    shape = (pointers.size - 1, order)
    columns = sp.csr_array((np.zeros(places.size, dtype=np.int8), places, pointers), shape=shape)
    columns.sort_indices()
    return np.asarray(columns.indices, dtype=np.int32)


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
