"""The best scales of given signs: one a row, or one a row for every group of columns (claims L1 and L4)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vispa.quantization.layer_problem import LayerProblem, Matrix

# Of the largest eigenvalue of a row's g x g system: smaller ones are rounding.
SINGULAR = 1e-12


class Fitted(NamedTuple):
    """Signs (J, n) and scales (J, g) >= 0, and the error (J,) that they leave."""

    signs: Matrix
    scales: Matrix
    error: NDArray[np.float64]


def group_borders(columns: int, group: int | None) -> NDArray[np.int64]:
    """Where groups of so many consecutive columns begin, and the end (g + 1,); one group where none is asked."""
    if group is None:
        return np.array([0, columns])
    return np.append(np.arange(0, columns, group), columns)


def spread(scales: Matrix, borders: NDArray[np.int64]) -> Matrix:
    """The scale of every column (J, n)."""
    return np.repeat(scales, np.diff(borders), axis=1)


def fit_scales(problem: LayerProblem, signs: Matrix, borders: NDArray[np.int64]) -> Fitted:
    """The signs, turned where a scale would be negative, with their best scales; O(J n^2)."""
    groups = len(borders) - 1
    crossed = np.add.reduceat(problem.linear * signs, borders[:-1], axis=1)
    squared = np.empty((len(signs), groups, groups))
    for group in range(groups):
        block = slice(borders[group], borders[group + 1])
        image = signs[:, block] @ problem.gram[block]
        squared[:, group] = np.add.reduceat(image * signs, borders[:-1], axis=1)
    scales = _solved(squared, crossed)
    turned = signs * spread(np.where(scales < 0.0, -1.0, 1.0), borders)
    scales = np.abs(scales)
    return Fitted(turned, scales, problem.error(spread(scales, borders) * turned))


def mean_scales(problem: LayerProblem, borders: NDArray[np.int64]) -> Fitted:
    """sgn(w) with the mean of |w| over each group as its scale: the best for white inputs (claim B6)."""
    signs = np.where(problem.weights >= 0.0, 1.0, -1.0)
    scales = np.add.reduceat(np.abs(problem.weights), borders[:-1], axis=1) / np.diff(borders)
    return Fitted(signs, scales, problem.error(spread(scales, borders) * signs))


def _solved(squared: NDArray[np.float64], crossed: Matrix) -> Matrix:
    """M^+ c for every row, M positive semidefinite; scales that no input sees are zero."""
    sizes = np.sqrt(np.maximum(np.einsum("jgg->jg", squared), 0.0))
    inverse = np.divide(1.0, sizes, out=np.zeros_like(sizes), where=sizes > 0.0)
    values, vectors = np.linalg.eigh(squared * inverse[:, :, None] * inverse[:, None, :])
    kept = values > SINGULAR * np.maximum(values[:, -1:], SINGULAR)
    shares = np.einsum("jgk,jg->jk", vectors, crossed * inverse)
    shares = np.divide(shares, values, out=np.zeros_like(shares), where=kept)
    return np.einsum("jgk,jk->jg", vectors, shares) * inverse
