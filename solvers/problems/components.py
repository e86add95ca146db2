"""Independent components of a problem, each with its own method.

The cost matrix is block diagonal over the components of its graph, so factor and dual vector can be found component
by component: rows of different ones never meet in the objective, and their bounds add up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator

from solvers.problems.gram import Gram
from solvers.problems.problem import Cost

# Components up to this order are solved together: a loop over thousands of pairs would cost more than it saves.
SMALL_COMPONENT = 64
# A dense matrix with fewer non-zero entries than this share is faster to sweep in sparse form.
SPARSE_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class Component:
    """Some rows of the problem, and the cost among them without its diagonal (an operator keeps it)."""

    rows: NDArray[np.intp]
    cost: Cost

    @property
    def order(self) -> int:
        """Number of rows."""
        return int(self.rows.shape[0])


def split_diagonal(cost: Cost) -> tuple[Cost, NDArray[np.float64]]:
    """The cost without its diagonal, sparse where that is faster, and the diagonal; operators stay whole."""
    if isinstance(cost, Gram):
        return cost.zero_diagonal(), cost.diagonal()
    if isinstance(cost, LinearOperator):
        return cost, np.zeros(cost.shape[0])
    diagonal = np.array(cost.diagonal(), dtype=np.float64)
    if sp.issparse(cost):
        off_diagonal = _row_of_entries(cost) != cost.indices
        # stored zeros as well: what remains is read as a graph
        return cost if off_diagonal.all() else _only(cost, off_diagonal), diagonal
    zero_diagonal = np.array(cost)
    np.fill_diagonal(zero_diagonal, 0.0)
    sparse = np.count_nonzero(zero_diagonal) <= SPARSE_SHARE * zero_diagonal.size
    return sp.csr_array(zero_diagonal) if sparse else zero_diagonal, diagonal


def among(cost: sp.csr_array, rows: NDArray[np.bool_]) -> sp.csr_array:
    """The matrix, of the same shape, whose entries are those among some rows."""
    return _only(cost, rows[_row_of_entries(cost)] & rows[cost.indices])


def _row_of_entries(cost: sp.csr_array) -> NDArray[np.integer]:
    return np.repeat(np.arange(cost.shape[0], dtype=cost.indices.dtype), np.diff(cost.indptr))


def _only(cost: sp.csr_array, keep: NDArray[np.bool_]) -> sp.csr_array:
    # in the type of the others: SciPy would widen them all, and kernels would be compiled twice
    starts = np.concatenate([[0], np.cumsum(keep)])[cost.indptr].astype(cost.indptr.dtype)
    return sp.csr_array((cost.data[keep], cost.indices[keep], starts), shape=cost.shape)


def split_components(cost: Cost) -> list[Component]:
    """Components in ascending order of size; rows that meet no other row are left out.

    Small ones are gathered in one; a dense matrix and an operator are one.  O(nnz + N log N) time.
    """
    everything = np.arange(cost.shape[0])
    if not sp.issparse(cost):
        return [Component(everything, cost)]
    count, labels = _labelled(cost)
    if count == 1:
        return [Component(everything, cost)] if cost.nnz else []
    sizes = np.bincount(labels, minlength=count)
    number_of = np.full(count, -1)
    number_of[sizes > 1], totals = _gathered(sizes[sizes > 1])
    rows = np.flatnonzero(sizes[labels] > 1)
    order = rows[np.argsort(number_of[labels[rows]], kind="stable")]
    block = _closed_rows(cost, order)
    if totals.size == 1:
        return [Component(order, block)]
    components, first = [], 0
    for size in totals.tolist():
        pointers = block.indptr[first : first + size + 1]
        entries = slice(pointers[0], pointers[-1])
        part = (block.data[entries], block.indices[entries] - first, pointers - pointers[0])
        matrix = sp.csr_array(part, shape=(size, size))
        components.append(Component(order[first : first + size], matrix))
        first += size
    return components


def _labelled(cost: sp.csr_array) -> tuple[int, NDArray[np.integer]]:
    """The number of components of a symmetric pattern, and that of each row."""
    # on a symmetric pattern the two notions agree, and this one makes no transpose
    count, labels = connected_components(cost, directed=True, connection="strong")
    return int(count), labels


def _gathered(sizes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The number of each component, small ones together in one, and the rows of each in ascending order."""
    alone = sizes > SMALL_COMPONENT
    number_of = np.where(alone, np.cumsum(alone) - 1, np.count_nonzero(alone))
    totals = np.bincount(number_of, weights=sizes).astype(np.int64)
    ascending = np.argsort(totals, kind="stable")
    place = np.empty_like(ascending)
    place[ascending] = np.arange(totals.size)
    return place[number_of], totals[ascending]


def largest_component(cost: Cost) -> int:
    """The most rows that depend on one another: no block of an optimal Y needs a factor wider than their optimum's.

    Examples
    --------
    >>> largest_component(sp.csr_array((1000, 1000)))
    1
    """
    if not sp.issparse(cost):
        return int(cost.shape[0])
    return int(np.bincount(_labelled(cost)[1]).max())


def _closed_rows(cost: sp.csr_array, rows: NDArray[np.intp]) -> sp.csr_array:
    """The block of rows that meet only one another: faster than two slices, because no entry is left out."""
    lengths = np.diff(cost.indptr)[rows]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    entries = np.arange(starts[-1]) + np.repeat(cost.indptr[rows] - starts[:-1], lengths)
    place = np.empty(cost.shape[0], dtype=cost.indices.dtype)
    place[rows] = np.arange(rows.size)
    block = (cost.data[entries], place[cost.indices[entries]], starts.astype(cost.indptr.dtype))
    return sp.csr_array(block, shape=(rows.size, rows.size))
