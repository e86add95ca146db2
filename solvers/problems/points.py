"""Points of the cube, as users hand them over."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers import checks


def as_points(signs: ArrayLike, n: int) -> NDArray[np.float64]:
    """Points of the cube as float64 (..., n); anything but +-1 is refused."""
    points = checks.unmasked("signs", signs)
    if points.ndim == 0 or points.shape[-1] != n:
        raise ValueError(f"signs must have shape (..., {n}); found {points.shape}")
    if points.dtype.kind not in "biuf":
        raise TypeError(f"signs must hold real numbers; found dtype {points.dtype}")
    if not np.all(np.abs(points) == 1):
        raise ValueError("signs must hold only -1 and +1")
    return points.astype(np.float64)
