"""Problems whose relaxation is solved before it is posed (claim R5 of theory_checks)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers import checks
from solvers.problems.problem import BinaryQuadratic

# Up to this order exactly planted problems are dense: sparse arrays cost more to make than they save.
SMALL = 64


@dataclass(frozen=True, eq=False)
class Planted:
    """A problem and an optimum of its relaxation.

    With unit rows V, PSD S, S V = 0 and any y, the cost C = S + Diag(y) has value 1^T y, which V attains.

    Attributes
    ----------
    problem : BinaryQuadratic
    factor : (N, k) ndarray
        An optimal V; there may be others.
    dual : (N,) ndarray
        The optimal y.
    value : float
        1^T y, the optimum of the relaxation: exact where planted exactly, to rounding of C otherwise.
    """

    problem: BinaryQuadratic
    factor: NDArray[np.float64]
    dual: NDArray[np.float64]
    value: float


def planted_dense(
    n: int, rank: int, *, rng: np.random.Generator | int | None, linear: bool = False, scale: float = 1.0
) -> Planted:
    """Plant an optimum of the given rank in a dense problem.

    Parameters
    ----------
    n : int
        Number of signs.
    rank : int
        Width of the planted factor, below N (n, or n + 1 with a linear term).
    rng : numpy Generator or seed
    linear : bool, optional
        Whether the problem has a linear term.
    scale : float, optional
        Multiplies the cost.

    Returns
    -------
    Planted

    Notes
    -----
    O(N^3).

    Examples
    --------
    >>> planted = planted_dense(6, 2, rng=0)
    >>> C = planted.problem.A
    >>> bool(np.isclose(np.sum((C @ planted.factor) * planted.factor), planted.value))
    True
    """
    order, rank, generator = _arguments(n, rank, rng, linear)
    factor = _unit_rows(generator, order, rank)
    basis = np.linalg.qr(factor)[0]
    root = generator.standard_normal((order, order))
    root -= basis @ (basis.T @ root)
    slack = root @ root.T / order
    return _plant(0.5 * (slack + slack.T), factor, generator.standard_normal(order), linear, scale)


def planted_sparse(
    n: int, rank: int, *, rng: np.random.Generator | int | None, linear: bool = False, scale: float = 1.0
) -> Planted:
    """Plant an optimum of the given rank in a sparse problem: about 4 (rank + 1)^2 entries a row or fewer.

    S is a sum of a a^T, where each a lives on rank + 1 rows of V and is orthogonal to its columns.

    Parameters
    ----------
    n, rank, rng, linear, scale
        As for `planted_dense`.

    Returns
    -------
    Planted
        With a sparse cost.

    Notes
    -----
    O(N rank^3); made for n in the thousands.

    Examples
    --------
    >>> planted_sparse(2000, 3, rng=0).problem.A.nnz < 4 * 16 * 2000
    True
    """
    order, rank, generator = _arguments(n, rank, rng, linear)
    factor = _unit_rows(generator, order, rank)
    # Three shuffles cover every row and tie the groups together.
    groups = np.vstack([_groups(generator, order, rank + 1) for _ in range(3)])
    vectors = np.linalg.svd(factor[groups].transpose(0, 2, 1))[2][:, -1, :]
    return _plant(
        _sum_of_squares(groups, vectors, order), factor, generator.standard_normal(order), linear, scale
    )


def planted_dyadic(n: int, *, rng: np.random.Generator | int | None, linear: bool = False) -> Planted:
    """Plant an optimum of rank 4 without any rounding: integer cost, integer value.

    Rows of V are +-e_k or (+-1/2, +-1/2, +-1/2, +-1/2), and S is a sum of a a^T with sparse integer a.

    Parameters
    ----------
    n : int
        At least 4.
    rng : numpy Generator or seed
    linear : bool, optional
        Whether the problem has a linear term.

    Returns
    -------
    Planted
        ``value`` is exact.

    Examples
    --------
    >>> planted = planted_dyadic(8, rng=0)
    >>> bool(np.sum((planted.problem.A @ planted.factor) * planted.factor) == planted.value)
    True
    """
    order, _, generator = _arguments(n, 1, rng, linear)
    checks.integer("n", n, minimum=4)
    signs = np.where(generator.integers(2, size=order) == 1, 1.0, -1.0)
    axes = np.concatenate([np.arange(4), generator.integers(4, size=order - 4)])
    # With a linear term rows 0 and 4 are tied to each other, so that it cannot come out as zero.
    tied = 4 if linear else -1
    axes[tied] = 0 if linear else axes[tied]
    factor = np.eye(4)[axes] * signs[:, None]
    half = np.flatnonzero((generator.integers(3, size=order) == 0) & (np.arange(order) >= 4))
    half = half[half != tied]
    factor[half] = 0.5 * np.where(generator.integers(2, size=(half.shape[0], 4)) == 1, 1.0, -1.0)
    slack = _sum_of_annihilators(factor, half, tied, generator)
    return _plant(slack, factor, generator.integers(-3, 4, size=order).astype(np.float64), linear, 1.0)


def _sum_of_annihilators(
    factor: NDArray[np.float64], half: NDArray[np.int64], tied: int, generator: np.random.Generator
) -> Any:
    """M^T M for a matrix M with integer rows and M V = 0: each row of V, from the fifth on, less its axes' rows."""
    order = factor.shape[0]
    on_axis = np.ones(order, dtype=bool)
    on_axis[half] = False
    row, axis = np.nonzero(factor)
    row, axis = row[row >= 4], axis[row >= 4]
    partner = np.empty(row.shape[0], dtype=np.int64)
    for which in range(4):
        # any other row along the axis, with equal chances: draw among one less and step over the row itself
        along = np.flatnonzero(on_axis & (factor[:, which] != 0))
        asked = np.flatnonzero(axis == which)
        own = np.searchsorted(along, row[asked])
        present = on_axis[row[asked]]
        drawn = generator.integers(along.shape[0] - present)
        partner[asked] = along[drawn + (present & (drawn >= own))]
    if tied >= 0:
        partner[row == tied] = 0
    multiple = np.ones(order)
    multiple[half] = 2.0
    multiple[:4] = 0.0
    entries = -multiple[row] * factor[row, axis] * factor[partner, axis]
    every = np.arange(order)
    places = (np.concatenate([every, row]), np.concatenate([every, partner]))
    if order <= SMALL:
        dense = np.zeros((order, order))
        np.add.at(dense, places, np.concatenate([multiple, entries]))
        return dense.T @ dense
    annihilators = sp.csr_array((np.concatenate([multiple, entries]), places), shape=(order, order))
    return sp.csr_array(annihilators.T @ annihilators)


def _plant(
    slack: Any, factor: NDArray[np.float64], dual: NDArray[np.float64], linear: bool, scale: float
) -> Planted:
    scale = checks.scalar("scale", scale, positive=True)
    dual = dual.copy()
    if linear:
        # A homogenised cost has nothing at its corner.
        dual[0] = -slack.diagonal()[0]
    sparse = sp.issparse(slack)
    matrix = scale * (sp.csr_array(slack + sp.diags_array(dual)) if sparse else slack + np.diag(dual))
    linear_term = None
    if linear:
        linear_term = 2.0 * (matrix[[0], 1:].toarray()[0] if sparse else matrix[0, 1:])
        matrix = matrix[1:, 1:]
    return Planted(BinaryQuadratic(matrix, linear_term), factor, scale * dual, scale * float(dual.sum()))


def _arguments(
    n: int, rank: int, rng: np.random.Generator | int | None, linear: bool
) -> tuple[int, int, np.random.Generator]:
    order = checks.integer("n", n, minimum=2) + int(checks.boolean("linear", linear))
    return order, checks.integer("rank", rank, minimum=1, maximum=order - 1), checks.generator("rng", rng)


def _unit_rows(generator: np.random.Generator, order: int, rank: int) -> NDArray[np.float64]:
    rows = generator.standard_normal((order, rank))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _groups(generator: np.random.Generator, order: int, size: int) -> NDArray[np.int64]:
    """Rows of ``size`` different indices that together cover 0..order-1."""
    shuffled = generator.permutation(order)
    count = -(-order // size)
    return np.asarray(np.resize(shuffled, (count, size)), dtype=np.int64)


def _sum_of_squares(groups: NDArray[np.int64], vectors: NDArray[np.float64], order: int) -> sp.csr_array:
    size = groups.shape[1]
    blocks = vectors[:, :, None] * vectors[:, None, :]
    rows = np.repeat(groups, size, axis=1).ravel()
    columns = np.tile(groups, (1, size)).ravel()
    total = sp.csr_array((blocks.ravel(), (rows, columns)), shape=(order, order))
    return sp.csr_array(0.5 * total + 0.5 * total.T)
