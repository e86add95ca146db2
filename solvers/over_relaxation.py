"""Over-relaxed coordinate sweeps: the method for costs whose entries are at hand.

The plain sweep is the mixing method (Wang, Chang and Kolter 2017).  Over-relaxation with beta_t = t/(t + 6)
keeps its monotone decrease and needs about the square root of its number of sweeps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.method import Advance
from solvers.problem import Cost


class OverRelaxation:
    """Sweeps over the rows of a factor, in place.

    Parameters
    ----------
    cost : (n, n) ndarray or csr_array
        Symmetric with a zero diagonal.

    Notes
    -----
    One sweep costs O(nnz k); memory beyond factor and cost is O(k).
    """

    def __init__(self, cost: Cost) -> None:
        from solvers.kernels import sweep

        self._normalise = sweep.normalise_rows
        self._sweep: Any
        self._arguments: tuple[Any, ...]
        if sp.issparse(cost):
            self._sweep = sweep.sweep_sparse
            self._arguments = (cost.indptr, cost.indices, cost.data)
        else:
            self._sweep = sweep.sweep_dense
            self._arguments = (np.ascontiguousarray(cost),)
        self.iterations = 0

    def restart(self) -> None:
        """Begin the schedule of relaxation factors again, as after an escape."""
        self.iterations = 0

    def advance(self, factor: NDArray[np.float64], count: int) -> Advance:
        """Run ``count`` sweeps."""
        last, total = self._sweep(*self._arguments, factor, self.iterations, count)
        self._normalise(factor)
        self.iterations += count
        return Advance(factor, last, total)
