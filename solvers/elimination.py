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
# Entries of the factor and of the graph on the way, 16 bytes each at most.
MAX_ENTRIES = 50_000_000


class TooMuchFill(ValueError):
    """The factor of this matrix would not fit; the message says how large it may be."""


class Elimination:
    """An order of elimination for a symmetric matrix, and the places that it fills.

    Parameters
    ----------
    hollow : (n, n) csr_array
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
    >>> elimination = Elimination(ring)
    >>> elimination.factorises(np.full(100, 2.001)), elimination.factorises(np.full(100, 1.999))
    (True, False)
    """

    def __init__(self, hollow: sp.csr_array) -> None:
        from solvers.kernels import elimination as kernels

        self._kernels = kernels
        self._matrix = hollow
        order = hollow.shape[0]
        alive = np.ones(order, dtype=np.bool_)
        lists = [np.full(order, -1, dtype=np.int32) for _ in range(3)]
        spans = [np.empty(order, dtype=np.int64) for _ in range(2)]
        stamp, pointers = np.full(order, -1, dtype=np.int64), np.empty(order + 1, dtype=np.int64)
        sequence = np.empty(order, dtype=np.int32)
        pattern = (hollow.indptr, hollow.indices, MAX_ENTRIES)
        count, columns = kernels.minimum_degree(*pattern, *spans, alive, *lists, stamp, sequence, pointers)
        self.core = np.flatnonzero(alive)
        if count < 0 or self.core.size > MAX_CORE:
            raise TooMuchFill(
                f"its factor must not have more than {MAX_ENTRIES:,} entries, nor a dense core of more than "
                f"{MAX_CORE:,} rows"
            )
        self._sequence, self._pointers = sequence[:count], pointers[: count + 1]
        self._place = np.empty(order, dtype=np.int32)
        self._place[self._sequence] = np.arange(count)
        self._place[self.core] = np.arange(count, order)
        self._columns = _ascending(self._pointers, self._place[columns[: pointers[count]]], order)
        lengths = np.bincount(self._columns, minlength=hollow.shape[0]) + 1
        lengths[self._sequence.size :] += self.core.size
        self.row_lengths: NDArray[np.int64] = lengths[self._place]

    def factorises(self, diagonal: NDArray[np.float64]) -> bool:
        """Whether Cholesky of the matrix with this diagonal meets only positive pivots."""
        core = np.asfortranarray(self._matrix[self.core][:, self.core].toarray())
        core[np.diag_indices_from(core)] = diagonal[self.core]
        matrix = (self._matrix.indptr, self._matrix.indices, self._matrix.data)
        pattern = (self._sequence, self._place, self._pointers, self._columns)
        return bool(self._kernels.eliminate(*matrix, diagonal, *pattern, core)) and dense_factorises(core)


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
