"""What a point is worth: its value, our certificate's gap, and a gap by dense eigenvalues that shares no code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from benchmarks.sdp.instances import Instance
from solvers.certificates.dual_bound import dual_bound, dual_vector
from solvers.linalg.sphere import normalise
from solvers.problems.solution import relative_gap

# LAPACK needs some five seconds for the smallest eigenvalue at this order.
DENSE_ORDER = 3000


@dataclass(frozen=True)
class Accuracy:
    """Value <C, V V^T> and relative gaps; None where not measured, the dense one beyond its order."""

    value: float | None
    gap: float | None
    dense_gap: float | None


def measure(
    instance: Instance, factor: NDArray[np.float64], dual: NDArray[np.float64] | None = None
) -> Accuracy:
    """Judge a factor, its rows normalised, and the dual vector y where the solver gave one."""
    rows = normalise(factor)
    implied = dual_vector(instance.cost, rows)
    value = float(implied.sum())
    y = implied if dual is None else dual
    bound = dual_bound(instance.cost, y, rng=0).bound
    dense = _dense_bound(instance, y) if instance.order <= DENSE_ORDER else None
    return Accuracy(
        value,
        relative_gap(value, bound, instance.frobenius),
        None if dense is None else relative_gap(value, dense, instance.frobenius),
    )


def _dense_bound(instance: Instance, dual: NDArray[np.float64]) -> float:
    slack = instance.cost.toarray() - np.diag(dual)
    smallest = float(scipy.linalg.eigvalsh(slack, subset_by_index=[0, 0])[0])
    return float(dual.sum()) + instance.order * min(smallest, 0.0)
