"""Over-relaxed coordinate sweeps: the method for costs whose entries are at hand.

The plain sweep is the mixing method (Wang, Chang and Kolter 2017).  Over-relaxation with beta_t = t / (t + delay)
keeps its monotone decrease and needs about the square root of its number of sweeps.  A small delay suits random
graphs and spin glasses on grids.  Where a lattice or a planar graph has solutions of much symmetry, sweeps with
beta near 1 pass energy to and fro instead of losing it, and the decrease falls more slowly than accelerated
methods owe; a larger delay damps them.
"""

from __future__ import annotations

import numpy as np

from solvers.linalg.matvec import Matvec
from solvers.linalg.sphere import Factor
from solvers.methods.base import Advance

# Within a few sweeps of the best fixed beta on random and on toroidal graphs alike.
DELAY = 6.0
# An accelerated method's error falls by four at least when its iterations double (Nesterov 1983), a plain one's by
# two; for each of these factors that it misses the delay grows.
OWED = (4.2, 3.2, 2.4)
DAMPING = 2.0
# Of the sweeps so far: without any momentum left sweeps are slow for another reason.
LONGEST_DELAY = 0.35
# Sweeps after which what was lost is noted, each noted again whenever its number has doubled, and the first of them
# at which that says enough.
NOTED = (96, 128)
FIRST_LOOK = 384


class OverRelaxation:
    """Sweeps over the rows of a factor, in place.

    Parameters
    ----------
    matvec : Matvec
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

    def __init__(self, matvec: Matvec) -> None:
        self._matvec = matvec
        self._rows = np.arange(matvec.shape[0])
        self.delay = DELAY
        self.restart()

    def restart(self) -> None:
        """Begin the schedule of relaxation factors again, as after an escape."""
        self.iterations = 0
        self._due = NOTED
        self._decrease = 0.0
        self._noted: list[float] = []

    def advance(self, factor: Factor, count: int) -> Advance:
        """Run ``count`` sweeps over an arranged factor."""
        last, total = self._run(factor, count)
        self.iterations += count
        self._decrease += total
        if self.iterations >= self._due[0]:
            self._note()
        return Advance(factor, last, total)

    def _note(self) -> None:
        """Compare the decrease since half the sweeps with that in the quarter before; damp where it is too much."""
        self._noted.append(self._decrease)
        if self._due[0] >= FIRST_LOOK:
            quarter, half, whole = self._noted[-5::2]
            slow = sum(half - quarter < owed * (whole - half) for owed in OWED)
            self.delay = max(self.delay, min(self.delay * DAMPING**slow, LONGEST_DELAY * self.iterations))
        self._due = (self._due[1], 2 * self._due[0])

    def _run(self, factor: Factor, count: int) -> tuple[float, float]:
        """Sweep; return the decrease in the last sweep and in all."""
        return self._matvec.sweep(factor, self._rows, self.iterations, count, self.delay)
