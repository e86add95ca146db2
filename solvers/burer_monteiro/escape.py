"""Away from a critical factor that is not optimal: a new column along the slack matrix's eigenvector.

At a critical V whose slack matrix C - Diag(y) has a negative eigenvalue the slope along that column is zero and the
curvature negative, so some step lowers the objective (Boumal 2015).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray

from solvers.linalg.matvec import Matvec
from solvers.linalg.sphere import Factor, normalise

# Lengths of the new column, against one for a row: the best of them is taken.
STEPS = (1.0, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4)
# Of the value: a step that lowers it by less has only found rounding.
FOUND_ROUNDING = 1e-13
# Of the largest singular value: axes that are shorter are zero to rounding.
ZERO_AXIS = 1e-8


class Escape(NamedTuple):
    """A factor with one column more than had axes of their own, and its value."""

    factor: Factor
    value: float


def escape(matvec: Matvec, factor: Factor, value: float, eigenvector: NDArray[np.float64]) -> Escape | None:
    """The best step from a factor (n, k) along a unit eigenvector (n,); None where nothing decreases.

    Notes
    -----
    One product with the cost for each of the seven steps, and O(n k^2).
    """
    direction = eigenvector * np.sqrt(factor.shape[0])
    axes = principal_columns(factor)
    best = Escape(factor, value - FOUND_ROUNDING * abs(value))
    for step in STEPS:
        trial = normalise(np.column_stack([axes, step * direction]))
        reached = float(np.vdot(matvec @ trial, trial))
        if reached < best.value:
            best = Escape(trial, reached)
    return None if best.factor is factor else best


def principal_columns(factor: Factor) -> Factor:
    """The factor rotated to its principal axes, without those that are zero to rounding; V V^T stays."""
    left, singular, _ = la.svd(factor, full_matrices=False)
    kept = singular > ZERO_AXIS * singular[0]
    return normalise(left[:, kept] * singular[kept])
