"""Over-relaxed coordinate sweeps: the method for costs whose entries are at hand.

The plain sweep is the mixing method (Wang, Chang and Kolter 2017).  Over-relaxation with beta_t = t/(t + 6)
keeps its monotone decrease and needs about the square root of its number of sweeps.
"""

from __future__ import annotations

from solvers.method import Advance
from solvers.products import Products
from solvers.sphere import Factor


class OverRelaxation:
    """Sweeps over the rows of a factor, in place.

    Parameters
    ----------
    products : Products
        Of a cost with a zero diagonal whose entries are at hand.

    Notes
    -----
    One sweep costs O(nnz k); memory beyond factor and cost is O(k).
    """

    def __init__(self, products: Products) -> None:
        from solvers.kernels import sweep

        assert products.arguments is not None
        self._normalise = sweep.normalise_rows
        self._sweep = sweep.sweep
        self._arguments = products.arguments
        self.iterations = 0

    def restart(self) -> None:
        """Begin the schedule of relaxation factors again, as after an escape."""
        self.iterations = 0

    def advance(self, factor: Factor, count: int) -> Advance:
        """Run ``count`` sweeps over an arranged factor."""
        last, total = self._sweep(*self._arguments, factor, self.iterations, count)
        self._normalise(factor)
        self.iterations += count
        return Advance(factor, last, total)
