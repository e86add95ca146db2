"""Sums and products of the user's data with proved bounds on their rounding, for problems made from data.

What a problem type computes before it is a cost matrix (degrees of a graph, X^T t, t^T t) is part of the
problem, not of its solution: a proved bound has to hold for the exact numbers.  Where every partial result is a
multiple of one power of two, and less than 2^53 times as large, nothing rounds, in any order: integers and short
binary fractions lose nothing here.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Vector = NDArray[np.float64]

UNIT_ROUNDOFF = 2.0**-53
SMALLEST = 2.0**-1074
DIGITS = 53


def lowest_bit(values: NDArray[np.float64]) -> int:
    """The largest e such that all numbers are multiples of 2^e; a large one where all are zero.

    Examples
    --------
    >>> lowest_bit(np.array([6.0, 0.5])), lowest_bit(np.array([6.0, 4.0]))
    (-1, 1)
    """
    mantissas, exponents = np.frexp(values[values != 0.0])
    if mantissas.size == 0:
        return 1 << 20
    whole = np.ldexp(mantissas, DIGITS).astype(np.int64)
    lowest = np.log2((whole & -whole).astype(np.float64)).astype(np.int64)
    return int((exponents - DIGITS + lowest).min())


def row_sums_above(weights: sp.csr_array) -> Vector:
    """Row sums of a sparse array, exact where nothing can round, and rounded up where something does.

    Examples
    --------
    >>> row_sums_above(sp.csr_array([[1.0, 2.0], [0.0, 0.5]]))
    array([3. , 0.5])
    """
    sums = np.asarray(weights.sum(axis=1)).ravel()
    sizes = np.asarray(abs(weights).sum(axis=1)).ravel()
    if nothing_rounds(float(sizes.max(initial=0.0)), lowest_bit(weights.data)):
        return sums
    terms = np.diff(weights.indptr)
    error = _gamma(terms + 2) * sizes
    return np.where(terms > 1, np.nextafter(sums + error, np.inf), sums)


def product_with_error(matrix: Any, vector: Vector) -> tuple[Vector, Vector]:
    """A product with a dense or sparse matrix, and a bound on how far each of its entries may be off."""
    product = np.asarray(matrix @ vector)
    sizes = np.asarray(abs(matrix) @ np.abs(vector))
    entries = matrix.data if sp.issparse(matrix) else matrix
    if nothing_rounds(float(sizes.max(initial=0.0)), lowest_bit(entries) + lowest_bit(vector)):
        return product, np.zeros_like(product)
    # the sizes round, too, and every product may underflow
    terms = vector.shape[0]
    return product, np.nextafter(_gamma(terms + 2) * sizes + terms * SMALLEST, np.inf)


def mean_error(values: NDArray[np.float64], means: NDArray[np.float64]) -> float:
    """How far means of pairs of values, divided by some power of two, may be off by rounding, all together."""
    largest = float(np.abs(values).max(initial=0.0))
    if nothing_rounds(largest, lowest_bit(values) - 1):
        return 0.0
    return 1.01 * UNIT_ROUNDOFF * float(np.abs(means).sum()) + means.size * SMALLEST


def squared_norm_below(vector: Vector) -> float:
    """t^T t, rounded down from the exact sum.

    Raises
    ------
    OverflowError
        If it exceeds the range of float64.

    Examples
    --------
    >>> squared_norm_below(np.array([3.0, 4.0]))
    25.0
    """
    mantissas, exponents = np.frexp(vector[vector != 0.0])
    if mantissas.size == 0:
        return 0.0
    whole = np.ldexp(mantissas, DIGITS).astype(np.int64).tolist()
    powers = 2 * (exponents.astype(np.int64) - DIGITS)
    lowest = int(powers.min())
    total = sum(
        number * number << shift for number, shift in zip(whole, (powers - lowest).tolist(), strict=True)
    )
    exact = Fraction(total) * Fraction(2) ** lowest
    nearest = float(exact)
    return nearest if Fraction(nearest) <= exact else math.nextafter(nearest, -math.inf)


def lowered(value: float, error: float) -> float:
    """A number that is at least ``error`` below the value; the value itself for an error of zero."""
    return value if error == 0.0 else math.nextafter(value - 1.01 * error, -math.inf)


def nothing_rounds(largest: float, exponent: int) -> bool:
    """Whether partial sums of at most this size, all multiples of 2^exponent, are float64 numbers."""
    return exponent >= -1074 and math.frexp(largest)[1] <= DIGITS + min(exponent, 1 << 10)


def _gamma(terms: Any) -> Any:
    r"""More than :math:`\gamma_k = k u / (1 - k u)` by enough for the rounding of what it is multiplied by."""
    return 1.01 * terms * UNIT_ROUNDOFF / (1.0 - terms * UNIT_ROUNDOFF)
