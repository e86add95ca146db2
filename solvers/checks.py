"""Refuse bad input at the door, in words that name the argument, what was found and what is allowed."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

# Entries may differ from their mirror image by this much of the largest entry: the rounding of one product.
SYMMETRY_TOLERANCE = 1e-12


def real_array(name: str, values: ArrayLike, *, dimensions: int) -> NDArray[np.float64]:
    """Return a finite float64 copy of ``values`` with the given number of dimensions."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be rectangular; found rows of different lengths") from error
    if array.dtype == object or array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers; found dtype {array.dtype}")
    if array.ndim != dimensions:
        raise ValueError(f"{name} must have {dimensions} dimension(s); found shape {array.shape}")
    array = np.array(array, dtype=np.float64, order="C")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; found NaN or infinite entries")
    return array


def vector(name: str, values: ArrayLike, *, length: int) -> Vector:
    """Return a finite float64 copy of a vector of the given length."""
    array = real_array(name, values, dimensions=1)
    if array.shape[0] != length:
        raise ValueError(f"{name} must have length {length}; found {array.shape[0]}")
    return array


def scalar(name: str, value: Any, *, minimum: float = -math.inf, positive: bool = False) -> float:
    """Return a finite float, at least ``minimum``, or above zero where ``positive``."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number; found {type(value).__name__}")
    try:
        value = float(value)
    except OverflowError as error:
        raise ValueError(f"{name} must be within the range of float64; found a larger number") from error
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite; found {value}")
    if positive and value <= 0:
        raise ValueError(f"{name} must be positive; found {value}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}; found {value}")
    return value


def integer(name: str, value: Any, *, minimum: int, maximum: int | None = None) -> int:
    """Return an int between ``minimum`` and ``maximum`` (both allowed)."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer; found {type(value).__name__}")
    value = int(value)
    if value < minimum or (maximum is not None and value > maximum):
        upper = "" if maximum is None else f" and at most {maximum}"
        raise ValueError(f"{name} must be at least {minimum}{upper}; found {value}")
    return value


def choice(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """Return ``value`` if it is one of ``allowed``."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}; found {value!r}")
    return value


def boolean(name: str, value: Any) -> bool:
    """Return ``value`` if it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False; found {value!r}")
    return bool(value)


def function(name: str, value: Any) -> Any:
    """Return ``value`` if it is None or can be called."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be callable or None; found {type(value).__name__}")
    return value


def generator(name: str, seed: Any) -> np.random.Generator:
    """Return ``np.random.default_rng(seed)``, naming the argument where NumPy refuses."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"{name} must be a numpy Generator, a seed (an integer >= 0) or None; found {seed!r}"
        ) from error


def square_dense(name: str, values: ArrayLike) -> Matrix:
    """Return a finite float64 copy of a dense square matrix that is not empty."""
    array = real_array(name, values, dimensions=2)
    _check_square(name, array.shape)
    return array


def square_sparse(name: str, values: Any) -> sp.csr_array:
    """Return a finite float64 CSR copy, without repeated entries, of a sparse square matrix."""
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers; found dtype {values.dtype}")
    if values.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions; found shape {values.shape}")
    _check_square(name, values.shape)
    array = sp.csr_array(values, dtype=np.float64, copy=True)
    array.sum_duplicates()
    if not np.isfinite(array.data).all():
        raise ValueError(f"{name} must be finite; found NaN or infinite entries")
    return array


def symmetric_dense(name: str, values: ArrayLike) -> Matrix:
    """Return an exactly symmetric, finite float64 copy of a dense matrix."""
    array = square_dense(name, values)
    _check_asymmetry(
        name, float(np.abs(array - array.T).max(initial=0.0)), float(np.abs(array).max(initial=0.0))
    )
    _check_range(name, array)
    return 0.5 * array + 0.5 * array.T


def symmetric_sparse(name: str, values: Any) -> sp.csr_array:
    """Return an exactly symmetric, finite float64 CSR copy in canonical form, without stored zeros."""
    array = square_sparse(name, values)
    _check_range(name, array.data)
    difference = abs(array - array.T)
    largest = float(np.abs(array.data).max(initial=0.0))
    _check_asymmetry(name, float(difference.max()) if difference.nnz else 0.0, largest)
    array = sp.csr_array(0.5 * array + 0.5 * array.T)
    array.eliminate_zeros()
    array.sort_indices()
    return array


def _check_square(name: str, shape: tuple[int, ...]) -> None:
    if shape[0] != shape[1]:
        raise ValueError(f"{name} must be square; found shape {shape}")
    if shape[0] == 0:
        raise ValueError(f"{name} must not be empty; found shape {shape}")


def _check_range(name: str, entries: NDArray[np.float64]) -> None:
    """Refuse what would overflow at the first product with signs."""
    largest = float(np.abs(entries).max(initial=0.0))
    if (
        largest > 0
        and float(np.sum(np.abs(entries) / largest)) * (largest / np.finfo(np.float64).max) > 0.125
    ):
        raise ValueError(
            f"{name} must have entries whose absolute values add up within the range of float64; "
            f"found entries of size {largest:.3g}. Rescale the problem"
        )


def _check_asymmetry(name: str, asymmetry: float, largest: float) -> None:
    if asymmetry > SYMMETRY_TOLERANCE * largest:
        raise ValueError(
            f"{name} must be symmetric; entries differ from their mirror image by up to {asymmetry:.3g}. "
            f"Pass symmetrise({name}) to use (A + A^T)/2"
        )
