"""The smallest eigenvalue of a symmetric operator, by the Lanczos recurrence without restarts.

Only the extreme Ritz value matters, so no reorthogonalisation is needed: lost orthogonality repeats converged
Ritz values and leaves the extreme one correct (Paige 1980).  Memory is a few vectors; the Ritz vector, which
only an escape asks for, costs a second run of the recurrence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Product = Callable[[Vector], Vector]

CHECK_EVERY = 12


class Eigenpair(NamedTuple):
    """A Ritz value, the length of its residual, the products it took, and its vector in the Lanczos basis."""

    value: float
    residual: float
    products: int
    coefficients: Vector


def smallest_eigenpair(
    product: Product,
    start: Vector,
    *,
    threshold: float | None = None,
    tolerance: float = 1e-9,
    max_products: int = 2000,
) -> Eigenpair:
    r"""Estimate :math:`\lambda_{\min}`, stopping as soon as the question asked of it is settled.

    Parameters
    ----------
    product : callable
        Maps a vector (n,) to the symmetric operator applied to it.
    start : (n,) ndarray
        A unit vector, drawn by `start_vector`.
    threshold : float, optional
        Where given, stop once the Ritz value is below it (then so is :math:`\lambda_{\min}`), or once the
        Ritz value less its residual is above it and stayed there for half as many steps again.
    tolerance : float, optional
        Without a threshold, the residual wanted, relative to the spectral radius.
    max_products : int, optional
        Products with the operator at most.

    Returns
    -------
    Eigenpair
        The Ritz value is never below :math:`\lambda_{\min}` but for rounding, and some eigenvalue lies within
        the residual of it.
    """
    order = start.shape[0]
    diagonal: list[float] = []
    offdiagonal: list[float] = []
    settled_at = 0
    steps = 0
    value, residual, ritz = np.inf, np.inf, np.ones(1)
    for alpha, beta in _recurrence(product, start):
        diagonal.append(alpha)
        offdiagonal.append(beta)
        steps += 1
        finished = steps >= min(max_products, order) or beta <= 1e-14 * (abs(alpha) + beta)
        if steps % CHECK_EVERY and not finished:
            continue
        value, ritz = _smallest_of_tridiagonal(np.array(diagonal), np.array(offdiagonal[:-1]))
        residual = beta * abs(float(ritz[-1]))
        if finished or (threshold is not None and value < threshold):
            break
        if threshold is None:
            radius = max(abs(value), max(np.abs(diagonal)) + 2 * max(offdiagonal))
            settled = residual <= tolerance * radius
        else:
            settled = value - residual >= threshold
        settled_at = (settled_at or steps) if settled else 0
        if settled_at and steps >= 1.5 * settled_at:
            break
    return Eigenpair(float(value), float(residual), steps, ritz)


def start_vector(order: int, rng: np.random.Generator) -> Vector:
    """A random unit vector."""
    start = rng.standard_normal(order)
    return start / np.linalg.norm(start)


def ritz_vector(product: Product, start: Vector, coefficients: Vector) -> Vector:
    """Run the recurrence again from the same start and sum its vectors with the given coefficients."""
    total = np.zeros_like(start)
    vectors: list[Vector] = []
    recurrence = _recurrence(product, start, vectors)
    for coefficient in coefficients:
        next(recurrence)
        total += coefficient * vectors.pop()
    return total / np.linalg.norm(total)


def _recurrence(
    product: Product, start: Vector, vectors: list[Vector] | None = None
) -> Iterator[tuple[float, float]]:
    previous = np.zeros_like(start)
    current = start
    beta = 0.0
    while True:
        if vectors is not None:
            vectors.append(current)
        image = product(current) - beta * previous
        alpha = float(current @ image)
        image -= alpha * current
        beta = float(np.sqrt(image @ image))
        yield alpha, beta
        previous, current = current, (image / beta if beta > 0 else image)


def _smallest_of_tridiagonal(diagonal: Vector, offdiagonal: Vector) -> tuple[float, Vector]:
    if diagonal.size == 1:
        return float(diagonal[0]), np.ones(1)
    values, vectors = la.eigh_tridiagonal(diagonal, offdiagonal, select="i", select_range=(0, 0))
    return float(values[0]), np.asarray(vectors[:, 0], dtype=np.float64)
