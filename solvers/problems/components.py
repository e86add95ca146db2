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
        return _without_diagonal(cost) if np.any(diagonal) else cost, diagonal
    zero_diagonal = np.array(cost)
    np.fill_diagonal(zero_diagonal, 0.0)
    sparse = np.count_nonzero(zero_diagonal) <= SPARSE_SHARE * zero_diagonal.size
    return sp.csr_array(zero_diagonal) if sparse else zero_diagonal, diagonal


def _without_diagonal(cost: sp.csr_array) -> sp.csr_array:
    rows = np.repeat(np.arange(cost.shape[0], dtype=cost.indices.dtype), np.diff(cost.indptr))
    keep = rows != cost.indices
    # in the type of the others: SciPy would widen them all, and kernels would be compiled twice
    starts = np.concatenate([[0], np.cumsum(keep)])[cost.indptr].astype(cost.indptr.dtype)
    return sp.csr_array((cost.data[keep], cost.indices[keep], starts), shape=cost.shape)


def split_components(cost: Cost) -> list[Component]:
    """Components in ascending order of size; rows that meet no other row are left out.

    Small ones are gathered in one; a dense matrix and an operator are one.
    """
    everything = np.arange(cost.shape[0])
    if not sp.issparse(cost):
        return [Component(everything, cost)]
    count, labels = connected_components(cost, directed=False)
    if count == 1:
        return [Component(everything, cost)] if cost.nnz else []
    sizes = np.bincount(labels, minlength=count)
    groups = [np.flatnonzero(labels == label) for label in np.flatnonzero(sizes > SMALL_COMPONENT)]
    small = np.flatnonzero((sizes[labels] > 1) & (sizes[labels] <= SMALL_COMPONENT))
    if small.size:
        groups.append(small)
    return [Component(rows, _closed_rows(cost, rows)) for rows in sorted(groups, key=len)]


def largest_component(cost: Cost) -> int:
    """The most rows that depend on one another: no block of an optimal Y needs a factor wider than their optimum's.

    Examples
    --------
    >>> largest_component(sp.csr_array((1000, 1000)))
    1
    """
    if not sp.issparse(cost):
        return int(cost.shape[0])
    _, labels = connected_components(cost, directed=False)
    return int(np.bincount(labels).max())


def _closed_rows(cost: sp.csr_array, rows: NDArray[np.intp]) -> sp.csr_array:
    """The block of rows that meet only one another: faster than two slices, because no entry is left out."""
    lengths = np.diff(cost.indptr)[rows]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    entries = np.arange(starts[-1]) + np.repeat(cost.indptr[rows] - starts[:-1], lengths)
    place = np.empty(cost.shape[0], dtype=cost.indices.dtype)
    place[rows] = np.arange(rows.size)
    block = (cost.data[entries], place[cost.indices[entries]], starts.astype(cost.indptr.dtype))
    return sp.csr_array(block, shape=(rows.size, rows.size))
