"""Rows (mean, factor, residual) of a Gaussian: their norms, and the directions beside one of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def row_norms(rows: Array) -> Array:
    """The Euclidean norms of the rows, without overflow or underflow of squares."""
    largest = np.abs(rows).max(axis=1, initial=0.0)
    scaled = rows / np.where(largest > 0, largest, 1.0)[:, None]
    return np.asarray(largest * np.sqrt(np.einsum("ij,ij->i", scaled, scaled)))


def orthogonal_complement(direction: Array) -> Array:
    """Orthonormal columns (k, k - 1) completing ``direction`` to a basis: one Householder reflection."""
    unit = direction / np.sqrt(direction @ direction)
    reflector = unit.copy()
    reflector[0] += np.copysign(1.0, unit[0])
    reflection = np.eye(unit.size) - 2.0 * np.outer(reflector, reflector) / (reflector @ reflector)
    return np.asarray(reflection[:, 1:])
