"""What is done to a cost before it is solved: a scale that cannot round."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from solvers.problems.gram import SMALLEST_EXPONENT, Gram
from solvers.problems.operators import GuardedOperator, image_exponent
from solvers.problems.problem import Cost


def binary_exponent(cost: Cost) -> int:
    """An e with all entries below 2^e; of a product instead for an operator, and 0 for zero.

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
        return image_exponent(cost)
    entries = cost.data if sp.issparse(cost) else cost
    return int(np.frexp(np.abs(entries).max(initial=0.0))[1])


def scale_by_power(cost: Cost, exponent: int) -> Cost:
    """The cost times 2^exponent, without rounding unless entries become subnormal; an operator is guarded, too."""
    if isinstance(cost, LinearOperator) and not isinstance(cost, Gram):
        return GuardedOperator(cost, exponent)
    if exponent == 0:
        return cost
    if isinstance(cost, Gram):
        return cost.scaled_by_powers(np.full(cost.shape[0], exponent // 2))
    if sp.issparse(cost):
        return sp.csr_array((np.ldexp(cost.data, exponent), cost.indices, cost.indptr), shape=cost.shape)
    return np.ldexp(cost, exponent)
