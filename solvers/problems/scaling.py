"""What is done to a cost before it is solved: a scale that cannot round, and a look at what an operator does."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from solvers.problems.gram import SMALLEST_EXPONENT, Gram
from solvers.problems.problem import Cost

# Of |x^T C z|: how far an operator may be from its adjoint by rounding.
ADJOINT_TOLERANCE = 1e-8


def binary_exponent(cost: Cost) -> int:
    """An e with all entries below 2^e; 0 for an operator, whose entries are not at hand, and for zero.

    The least one for an array, an even one for a `Gram`.

    Examples
    --------
    >>> binary_exponent(np.array([[0.0, 3.0], [3.0, 0.0]]))
    2
    """
    if isinstance(cost, Gram):
        exponent = int(cost.binary_exponents().max())
        return 2 * exponent if exponent > SMALLEST_EXPONENT else 0
    if isinstance(cost, LinearOperator):
        return 0
    entries = cost.data if sp.issparse(cost) else cost
    return int(np.frexp(np.abs(entries).max(initial=0.0))[1])


def scale_by_power(cost: Cost, exponent: int) -> Cost:
    """The cost times 2^exponent, without rounding unless entries become subnormal."""
    if exponent == 0:
        return cost
    if isinstance(cost, Gram):
        return cost.scaled_by_powers(np.full(cost.shape[0], exponent // 2))
    if sp.issparse(cost):
        return sp.csr_array((np.ldexp(cost.data, exponent), cost.indices, cost.indptr), shape=cost.shape)
    return np.ldexp(cost, exponent)


def probe_operator(name: str, operator: LinearOperator) -> None:
    """Refuse an operator that returns NaN or infinity, or that is plainly not symmetric, on two fixed vectors.

    Raises
    ------
    ValueError
        Naming the argument and what its products were.
    """
    left, right = np.random.default_rng(0).standard_normal((2, operator.shape[0]))
    image_left, image_right = np.asarray(operator @ left), np.asarray(operator @ right)
    if not (np.isfinite(image_left).all() and np.isfinite(image_right).all()):
        raise ValueError(f"{name} must be finite; its products hold NaN or infinite entries")
    size = np.linalg.norm(left) * np.linalg.norm(image_right)
    difference = abs(float(left @ image_right) - float(right @ image_left))
    if difference > ADJOINT_TOLERANCE * size:
        raise ValueError(
            f"{name} must be symmetric; x^T C z and z^T C x differ by {difference / size:.2g} relatively"
        )
