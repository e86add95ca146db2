"""Independent components of a problem, each with its own method.

The cost matrix is block diagonal over the components of its graph, so factor and dual vector can be found component
by component: rows of different ones never meet in the objective, and their bounds add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import breadth_first_order, connected_components
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


class Entries(NamedTuple):
    """A sparse matrix by rows, as in a csr_array, to make one of which takes longer than to read a small one."""

    pointers: NDArray[np.integer]
    columns: NDArray[np.integer]
    values: NDArray[np.float64]

    def lengths(self) -> NDArray[np.integer]:
        """The number of entries of each row."""
        return self.pointers[1:] - self.pointers[:-1]

    def rows(self) -> NDArray[np.integer]:
        """The row of each entry."""
        lengths = self.lengths()
        return np.repeat(np.arange(lengths.size, dtype=self.columns.dtype), lengths)


def split_diagonal(cost: Cost) -> tuple[Cost, NDArray[np.float64]]:
    """The cost without its diagonal, sparse where that is faster, and the diagonal; operators stay whole."""
    if isinstance(cost, Gram):
        return cost.zero_diagonal(), cost.diagonal()
    if isinstance(cost, LinearOperator):
        return cost, np.zeros(cost.shape[0])
    if sp.issparse(cost):
        given = stored(cost)
        entries, diagonal = split_entries(given)
        return cost if entries is given else _as_matrix(entries), diagonal
    diagonal = np.array(cost.diagonal(), dtype=np.float64)
    zero_diagonal = np.array(cost)
    np.fill_diagonal(zero_diagonal, 0.0)
    sparse = np.count_nonzero(zero_diagonal) <= SPARSE_SHARE * zero_diagonal.size
    return sp.csr_array(zero_diagonal) if sparse else zero_diagonal, diagonal


def stored(cost: sp.csr_array) -> Entries:
    """What the matrix holds, unless it is to be looked at as another one."""
    return Entries(cost.indptr, cost.indices, cost.data)


def split_entries(entries: Entries) -> tuple[Entries, NDArray[np.float64]]:
    """The entries off the diagonal, stored zeros as well, because they are read as a graph; and the diagonal."""
    rows, order = entries.rows(), entries.pointers.size - 1
    on_diagonal = np.flatnonzero(rows == entries.columns)
    if not on_diagonal.size:
        return entries, np.zeros(order)
    places = rows[on_diagonal]
    diagonal = np.bincount(places, entries.values[on_diagonal], minlength=order).astype(
        np.float64, copy=False
    )
    left = entries.lengths() - np.bincount(places, minlength=order)
    return _only(entries, rows != entries.columns, left), diagonal


def among(entries: Entries, degrees: NDArray[np.integer]) -> Entries:
    """The entries among the rows that have some of them left, so many each; other rows are empty."""
    met = degrees > 0
    return _only(entries, met[entries.rows()] & met[entries.columns], degrees)


def _only(entries: Entries, keep: NDArray[np.bool_], lengths: NDArray[np.integer]) -> Entries:
    """Some of the entries, so many in each row."""
    # in the type of the others: kernels would be compiled twice
    pointers = np.zeros_like(entries.pointers)
    np.cumsum(lengths, out=pointers[1:])
    return Entries(pointers, entries.columns[keep], entries.values[keep])


def _as_matrix(entries: Entries) -> sp.csr_array:
    order = entries.pointers.size - 1
    return sp.csr_array((entries.values, entries.columns, entries.pointers), shape=(order, order))


def split_components(cost: Cost) -> list[Component]:
    """Components in ascending order of size; rows that meet no other row are left out.

    A sparse cost has no diagonal.  Small ones are gathered in one; a dense matrix and an operator are one.
    O(nnz + N log N) time.
    """
    if not sp.issparse(cost):
        return [Component(np.arange(cost.shape[0]), cost)]
    return connected(stored(cost))


def connected(entries: Entries) -> list[Component]:
    """The components of a symmetric matrix without diagonal, as in `split_components`."""
    degrees = entries.lengths()
    rows = np.flatnonzero(degrees)
    if not rows.size:
        return []
    if rows.size < degrees.size:
        # the rows that are left out are empty, so that every entry stays where it is
        place = np.empty(degrees.size, dtype=entries.columns.dtype)
        place[rows] = np.arange(rows.size)
        pointers = np.concatenate([entries.pointers[rows], entries.pointers[-1:]])
        entries = Entries(pointers, place[entries.columns], entries.values)
    matrix = _as_matrix(entries)
    # most often there is one, and to walk through it takes a third of the time of numbering them
    if breadth_first_order(matrix, 0, return_predecessors=False).size == rows.size:
        return [Component(rows, matrix)]
    labels = _labels(matrix)
    number_of, totals = _gathered(np.bincount(labels))
    if totals.size == 1:
        return [Component(rows, matrix)]
    order = np.argsort(number_of[labels], kind="stable")
    block = _reordered(entries, order)
    components, first = [], 0
    for size in totals.tolist():
        pointers = block.pointers[first : first + size + 1]
        within = slice(pointers[0], pointers[-1])
        part = Entries(pointers - pointers[0], block.columns[within] - first, block.values[within])
        components.append(Component(rows[order[first : first + size]], _as_matrix(part)))
        first += size
    return components


def _labels(cost: sp.csr_array) -> NDArray[np.integer]:
    """The number of the component of each row, in a symmetric pattern."""
    # on such a pattern the two notions agree, and this one makes no transpose
    return np.asarray(connected_components(cost, directed=True, connection="strong")[1])


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
    return int(np.bincount(_labels(cost)).max())


def _reordered(entries: Entries, rows: NDArray[np.intp]) -> Entries:
    """The entries of the matrix with its rows and columns in another order."""
    lengths = entries.lengths()[rows]
    starts = np.zeros_like(entries.pointers)
    np.cumsum(lengths, out=starts[1:])
    taken = np.arange(starts[-1]) + np.repeat(entries.pointers[rows] - starts[:-1], lengths)
    place = np.empty(rows.size, dtype=entries.columns.dtype)
    place[rows] = np.arange(rows.size)
    return Entries(starts, place[entries.columns[taken]], entries.values[taken])
