"""Costs that are only applied: a look at what an operator does, and a guard on everything it returns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

# Of |x^T C z|: how far an operator may be from its adjoint by rounding; at least so many roundings of its dtype.
ADJOINT_TOLERANCE = 1e-8
ROUNDINGS = 64.0


class ForeignOperator(LinearOperator):
    """A user's operator, which may change what it is applied to and answer in the same memory at every call."""

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__(operator.dtype, operator.shape)
        self._inner = operator

    def _matmat(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array(self._inner.matmat(np.array(X)))

    def _matvec(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array(self._inner.matvec(np.array(x)))

    def _adjoint(self) -> LinearOperator:
        return self


class GuardedOperator(LinearOperator):
    """An operator times 2^exponent, in float64, that refuses to hand on NaN or infinity.

    Raises
    ------
    ValueError
        From a product that is not finite.
    """

    def __init__(self, operator: LinearOperator, exponent: int) -> None:
        super().__init__(np.dtype(np.float64), operator.shape)
        self._inner = operator
        self._exponent = exponent

    def _matmat(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        image = np.asarray(self._inner.matmat(np.asarray(X)), dtype=np.float64)
        if not np.isfinite(image).all():
            raise ValueError("cost must be finite; a product of the operator holds NaN or infinite entries")
        return np.ldexp(image, self._exponent)

    def _matvec(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._matmat(np.reshape(x, (-1, 1))).ravel()

    def _adjoint(self) -> LinearOperator:
        return self


def image_exponent(operator: LinearOperator) -> int:
    """The e of the largest entry, below 2^e, of the image of a fixed vector; 0 where it is zero."""
    image = np.asarray(operator @ _fixed_vectors(operator)[0], dtype=np.float64)
    return int(np.frexp(np.abs(image).max(initial=0.0))[1])


def probe_operator(name: str, operator: LinearOperator) -> None:
    """Refuse an operator that returns NaN or infinity, or that is plainly not symmetric, on two fixed vectors.

    Raises
    ------
    ValueError
        Naming the argument and what its products were.
    """
    left, right = vectors = _fixed_vectors(operator)
    images = [np.asarray(operator @ vector) for vector in vectors]
    if not all(np.isfinite(image).all() for image in images):
        raise ValueError(f"{name} must be finite; its products hold NaN or infinite entries")
    largest = max(float(np.abs(image).max(initial=0.0)) for image in images)
    if largest == 0.0:
        return
    # divided first, so that nothing over- or underflows
    image_left, image_right = (np.asarray(image, dtype=np.float64) / largest for image in images)
    tolerance = adjoint_tolerance(operator, *images)
    together = np.asarray(operator @ vectors.T, dtype=np.float64) / largest
    if not np.allclose(together, np.column_stack([image_left, image_right]), rtol=tolerance, atol=tolerance):
        raise ValueError(
            f"{name} must multiply several vectors at once as it does each; found other products. An operator that "
            "is made of a matvec must return a new array every time"
        )
    size = float(np.linalg.norm(left) * np.linalg.norm(image_right))
    size = max(size, float(np.linalg.norm(right) * np.linalg.norm(image_left)))
    difference = abs(float(left @ image_right) - float(right @ image_left))
    if difference > tolerance * size:
        raise ValueError(
            f"{name} must be symmetric; x^T C z and z^T C x differ by {difference / size:.2g} relatively"
        )


def adjoint_tolerance(*arrays: Any) -> float:
    """How far products may be from symmetric: more where one of the arrays is in a narrow type."""
    kinds = [np.dtype(array.dtype) for array in arrays]
    rounding = max((float(np.finfo(kind).eps) for kind in kinds if kind.kind == "f"), default=0.0)
    return max(ADJOINT_TOLERANCE, ROUNDINGS * rounding)


def _fixed_vectors(operator: LinearOperator) -> NDArray[np.float64]:
    return np.random.default_rng(0).standard_normal((2, operator.shape[0]))
