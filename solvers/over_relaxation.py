"""Over-relaxed coordinate sweeps: the method for costs whose entries are at hand.

The plain sweep is the mixing method (Wang, Chang and Kolter 2017).  Over-relaxation with beta_t = t / (t + delay)
keeps its monotone decrease and needs about the square root of its number of sweeps.  A small delay suits random
graphs and spin glasses on grids.  Where a lattice or a planar graph has solutions of much symmetry, sweeps with
beta near 1 pass energy to and fro instead of losing it, and the decrease falls more slowly than accelerated
methods owe; a larger delay damps them.
"""

from __future__ import annotations

import numpy as np

from solvers.method import Advance
from solvers.products import Products
from solvers.sphere import Factor

# Within a few sweeps of the best fixed beta on random and on toroidal graphs alike.
DELAY = 6.0
# An accelerated method's error falls by the first factor at least when its iterations double (Nesterov 1983), a
# plain one's by two; for each factor that is missed the delay grows.
OWED = (4.0, 2.4)
DAMPING = 4.0
# Sweeps after which the decreases say enough for the first time; then each time that they have doubled.
FIRST_LOOK = 512


class OverRelaxation:
    """Sweeps over the rows of a factor, in place.

    Parameters
    ----------
    products : Products
        Of a cost with a zero diagonal whose entries are at hand.

    Attributes
    ----------
    iterations : int
        Sweeps since the last restart.
    delay : float
        Of the schedule.

    Notes
    -----
    One sweep costs O(nnz k); memory beyond factor and cost is O(k).
    """

    def __init__(self, products: Products) -> None:
        self._products = products
        self._rows = np.arange(products.shape[0])
        self.delay = DELAY
        self.restart()

    def restart(self) -> None:
        """Begin the schedule of relaxation factors again, as after an escape."""
        self.iterations = 0
        self._next_look = FIRST_LOOK // 2
        self._recent, self._before = 0.0, 0.0

    def advance(self, factor: Factor, count: int) -> Advance:
        """Run ``count`` sweeps over an arranged factor."""
        last, total = self._run(factor, count)
        self.iterations += count
        self._recent += total
        if self.iterations >= self._next_look:
            if self._next_look >= FIRST_LOOK:
                self.delay *= DAMPING ** sum(self._before < owed * self._recent for owed in OWED)
            self._before, self._recent = self._recent, 0.0
            self._next_look *= 2
        return Advance(factor, last, total)

    def _run(self, factor: Factor, count: int) -> tuple[float, float]:
        """Sweep; return the decrease in the last sweep and in all."""
        return self._products.visit(factor, self._rows, self.iterations, count, self.delay)
