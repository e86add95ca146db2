"""Geometry of unit rows: the product of spheres on which factors live.

A factor V has shape (n, k) and rows of length one.  Its tangent space holds the D with <d_i, v_i> = 0 for
every row.  Half the Riemannian gradient of <C, V V^T> is G = C V - Diag(y) V with y_i = <(C V)_i, v_i>, and
half its Hessian maps D to the projection of (C - Diag(y)) D (Boumal, Voroninski and Bandeira 2016).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Factor = NDArray[np.float64]

# Rows longer than this, and shorter than its inverse, have squares that float64 holds to all its digits.
SAFE = 1e-120


def random_rows(rows: int, rank: int, rng: np.random.Generator) -> Factor:
    """Unit rows drawn uniformly from the sphere, shape (rows, rank)."""
    drawn = rng.standard_normal((rows, rank))
    normalise_in_place(drawn)
    return drawn


def normalise(rows: Factor) -> Factor:
    """Each row divided by its length, whatever that is; a zero row has no projection.

    Raises
    ------
    ValueError
        If a row is zero.

    Examples
    --------
    >>> normalise(np.array([[3.0, 4.0], [3e-200, 4e-200]]))
    array([[0.6, 0.8],
           [0.6, 0.8]])
    """
    with np.errstate(over="ignore"):
        lengths = np.sqrt(row_products(rows, rows))
    if not np.all((lengths > SAFE) & (lengths < 1.0 / SAFE)):
        # squares may have left the range of float64: entries near one first, by powers of two, which round nothing
        largest = np.abs(rows).max(axis=1, initial=0.0)
        if not np.all(largest > 0):
            raise ValueError(f"rows must not be zero; row {int(np.argmin(largest))} is")
        rows = np.ldexp(rows, -np.frexp(largest)[1][:, None])
        lengths = np.sqrt(row_products(rows, rows))
    return rows / lengths[:, None]


def normalise_in_place(rows: Factor) -> None:
    """Divide each row by its length, where none is known to be zero."""
    rows /= np.sqrt(row_products(rows, rows))[:, None]


def row_products(left: Factor, right: Factor) -> NDArray[np.float64]:
    """<l_i, r_i> for each row, shape (n,)."""
    return np.einsum("ij,ij->i", left, right)


def tangent(factor: Factor, ambient: Factor) -> Factor:
    """Project each row of ``ambient`` onto the tangent space of its sphere."""
    return ambient - row_products(factor, ambient)[:, None] * factor


def retract(factor: Factor, step: Factor) -> Factor:
    """Move by ``step`` and return to the spheres by normalising."""
    return normalise(factor + step)
