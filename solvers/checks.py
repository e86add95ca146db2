"""Refuse bad input at the door, in words that name the argument, what was found and what is allowed."""

from __future__ import annotations

import math
import numbers
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

# Entries may differ from their mirror image by this much of the largest entry: the rounding of one product.
SYMMETRY_TOLERANCE = 1e-12
# What arrays, tensors and compiled loops count with.
LARGEST_INTEGER = 2**63 - 1


def real_array(name: str, values: ArrayLike, *, dimensions: int) -> NDArray[np.float64]:
    """Return a finite float64 copy of ``values`` with the given number of dimensions."""
    array = unmasked(name, values)
    _check_real(name, array)
    if array.ndim != dimensions:
        raise ValueError(f"{name} must have {dimensions} dimension(s); found shape {array.shape}")
    return np.array(_as_float64(name, array), dtype=np.float64, order="C")


def real_sparse(name: str, values: Any) -> sp.csr_array:
    """Return a finite float64 CSR copy of a sparse matrix of any format, repeated entries added in float64."""
    _check_real(name, values)
    if values.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions; found shape {values.shape}")
    if values.format not in {"coo", "csr", "csc", "bsr"}:
        # these hold every entry once
        values = values.tocoo()
    _as_float64(name, values.data)
    # SciPy adds repeated entries in the type that it finds: eight bits hold no more than 255
    array = sp.csr_array(values.astype(np.float64))
    array.sum_duplicates()
    if not np.isfinite(array.data).all():
        raise ValueError(
            f"{name} must be finite; found NaN or infinite entries, or repeated ones that overflow"
        )
    return array


def plain_tensor(name: str, values: Any) -> Any:
    """Return a dense torch tensor as an array, a sparse one on the processor, and anything else as it is."""
    if not hasattr(values, "detach") or not hasattr(values, "layout"):
        return values
    if values.device.type == "meta":
        raise ValueError(f"{name} must hold values; found a tensor on the meta device, which has none")
    tensor = values.detach().cpu()
    if tensor.is_complex():
        raise TypeError(f"{name} must hold real numbers; found dtype {tensor.dtype}")
    if tensor.is_floating_point():
        tensor = tensor.double()
    return tensor.numpy() if str(tensor.layout) == "torch.strided" else tensor


def unmasked(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return an array of whatever was given; one that masks entries is refused, because the mask would be lost."""
    values = plain_tensor(name, values)
    if hasattr(values, "layout") and hasattr(values, "detach"):
        raise TypeError(f"{name} must be dense; found a sparse tensor: pass its to_dense()")
    try:
        nested = isinstance(values, (list, tuple)) and any(map(np.ma.isMaskedArray, values))
        array = np.ma.asanyarray(values) if nested else np.asanyarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be rectangular; found rows of different lengths") from error
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise ValueError(
            f"{name} must not have masked entries; found {int(np.ma.count_masked(array))}. "
            f"Pass {name}.filled(0.0), or whatever they stand for"
        )
    return np.asarray(array)


def _check_real(name: str, values: Any) -> None:
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers; found dtype {values.dtype}")


def _as_float64(name: str, array: NDArray[Any]) -> NDArray[np.float64]:
    """The numbers as they are, finite, in float64, which holds integers up to 2^53 and some beyond."""
    converted = array.astype(np.float64, copy=False)
    if not np.isfinite(converted).all():
        raise ValueError(f"{name} must be finite; found NaN or infinite entries")
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        large = np.abs(converted) > 2.0**53
        for found, kept in zip(array[large].tolist(), converted[large].tolist(), strict=True):
            if found != kept:
                raise ValueError(
                    f"{name} must hold numbers that float64 can represent; found the integer {found}. "
                    f"Pass {name}.astype(float) if it may be rounded"
                )
    return converted


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
    given = value
    try:
        value = float(value)
    except OverflowError as error:
        raise ValueError(f"{name} must be within the range of float64; found a larger number") from error
    if isinstance(given, numbers.Integral) and int(given) != value:
        raise ValueError(f"{name} must be a number that float64 can represent; found the integer {given}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite; found {value}")
    if positive and value <= 0:
        raise ValueError(f"{name} must be positive; found {value}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}; found {value}")
    return value


def integer(name: str, value: Any, *, minimum: int, maximum: int | None = None) -> int:
    """Return an int between ``minimum`` and ``maximum`` (both allowed), of 64 bits at most."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer; found {type(value).__name__}")
    value = int(value)
    highest = LARGEST_INTEGER if maximum is None else maximum
    if not minimum <= value <= highest:
        upper = "" if maximum is None and value < minimum else f" and at most {highest}"
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


def file_path(name: str, value: Any) -> Path:
    """Return a path of text."""
    if not isinstance(value, (str, PathLike)) or not isinstance(fspath(value), str):
        raise TypeError(f"{name} must be a string or a path; found {type(value).__name__}")
    return Path(value)


def file_to_write(name: str, path: Path) -> Path:
    """Return a path, if a file can lie there: known before the work, not after it."""
    if path.is_dir():
        raise ValueError(f"{name} must be a file; {path} is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"{name} must lie in a folder that exists; {path.parent} does not")
    return path


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
    array = real_sparse(name, values)
    _check_square(name, array.shape)
    return array


def symmetric_dense(name: str, values: ArrayLike, *, tolerance: float = SYMMETRY_TOLERANCE) -> Matrix:
    """Return an exactly symmetric, finite float64 copy of a dense matrix.

    Entries may differ from their mirror image by the tolerance times the largest entry.
    """
    array = square_dense(name, values)
    _check_range(name, array)
    if np.array_equal(array, array.T):
        return array
    asymmetry, largest = float(np.abs(array - array.T).max()), float(np.abs(array).max())
    _check_asymmetry(name, asymmetry, largest, tolerance=tolerance)
    return 0.5 * array + 0.5 * array.T


def symmetric_sparse(name: str, values: Any, remedy: str | None = None) -> sp.csr_array:
    """Return an exactly symmetric, finite float64 CSR copy in canonical form, without stored zeros.

    ``remedy`` is what to do about a matrix that is not symmetric, in place of the usual (A + A^T)/2.
    """
    array = square_sparse(name, values)
    _check_range(name, array.data)
    difference = abs(array - array.T)
    if difference.nnz and difference.max() > 0.0:
        largest = float(np.abs(array.data).max(initial=0.0))
        _check_asymmetry(name, float(difference.max()), largest, remedy)
        array = sp.csr_array(0.5 * array + 0.5 * array.T)
    array.eliminate_zeros()
    array.sort_indices()
    return narrow_indices(array)


def narrow_indices(array: sp.csr_array) -> sp.csr_array:
    """The array with 32-bit indices where these suffice: half the traffic, and one kernel to compile."""
    if max(array.nnz, *array.shape) > np.iinfo(np.int32).max:
        return array
    indices, pointers = (part.astype(np.int32, copy=False) for part in (array.indices, array.indptr))
    return sp.csr_array((array.data, indices, pointers), shape=array.shape)


def exact_multiple(name: str, values: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """The numbers times a power of two, refused where float64 does not hold the result."""
    product = factor * values
    if not np.array_equal(product / factor, values):
        raise ValueError(
            f"{name} must hold numbers that can be multiplied by {abs(factor)} without rounding; found some at the "
            "end of the range of float64, 5e-324. Multiply the problem by a power of two, such as 2.0**100"
        )
    return product


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


def _check_asymmetry(
    name: str,
    asymmetry: float,
    largest: float,
    remedy: str | None = None,
    *,
    tolerance: float = SYMMETRY_TOLERANCE,
) -> None:
    if asymmetry > tolerance * largest:
        remedy = remedy or f"Pass symmetrise({name}) to use (A + A^T)/2"
        raise ValueError(
            f"{name} must be symmetric; entries differ from their mirror image by up to {asymmetry:.3g}. {remedy}"
        )
