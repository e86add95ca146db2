"""A relaxation on its way: unit rows, clique cuts and multipliers, improved round by round.

Each round minimises the augmented Lagrangian over the rows, moves the multipliers, drops the cuts that have
been idle and adds violated ones.  Any multipliers give a bound: sum_m g_m r_m plus the unit-diagonal problem of
the cost C - sum_m g_m T_m, which an interior point solves and a Cholesky factorisation proves.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.certificates.dual_bound import dual_vector
from solvers.certificates.rigorous import rigorous_bound
from solvers.cuts.cliques import LARGEST, CliqueCuts, no_cuts
from solvers.cuts.separation import fresh, grown, most_violated_triangles
from solvers.linalg.sphere import normalise
from solvers.low_rank import low_rank
from solvers.methods.interior_point import interior_point
from solvers.problems.problem import Elliptope

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

# Multipliers that enter a proof are multiples of this, so that sums with entries of the cost do not round.
GRID = 2.0**-24
# From this order on, costs with fewer non-zero entries than this share are worked on pair by pair.
SPARSE_FROM, SPARSE_SHARE = 200, 0.05
# Pairs of vertices that a search for larger cliques looks at, at most; cliques with large multipliers come first.
MOST_PAIRS = 4_000_000_000
# Above this order the bounds of sparse problems are proved by low-rank solves, to a relative gap of about this.
DENSE_PROOFS, SPARSE_TOL = 500, 1e-5
# A bound that exceeds a target by this share of the dual's largest entry for each row exceeds it once proved, too.
DECISIVE = 1e-8
# Steps between looks at the clock, above that order.
PIECE = 60
# Up to this order larger cliques are also grown from triangles with this much slack, if too few are in use.
SEEDED, SEED_SLACK = 300, 0.5


@dataclass(frozen=True)
class Tuning:
    """Constants of the rounds; lengths are in units of the root mean square entry of the cost.

    Attributes
    ----------
    penalty, final_penalty : float
        Of the rounds, which must move multipliers far, and of the last, which must find them exactly.
    steps, first_steps, final_steps : int
        Quasi-Newton steps of a round, of the very first, and of the last.
    tolerance, final_tolerance : float
        Norm of the gradient that ends a round, for each square root of the order.
    violation : float
        Cuts are added that are violated by more than this.
    larger_violation : float
        The same for cliques of five and seven.
    added, larger_added : int
        Cuts that one round may add for each row, of triangles and of each larger kind.
    idle : int
        Rounds without a multiplier after which a cut is dropped.
    """

    penalty: float = 4.0
    final_penalty: float = 0.3
    steps: int = 60
    first_steps: int = 300
    final_steps: int = 250
    tolerance: float = 1e-3
    final_tolerance: float = 5e-4
    violation: float = 0.02
    larger_violation: float = 0.05
    added: int = 4
    larger_added: int = 2
    idle: int = 4


class Proof(NamedTuple):
    """A bound on <C, Y> that is proved, and what proves it.

    With z the dual vector and g the multipliers, which are multiples of 2^-24 with sum g_m r_m exact:
    C - sum g_m T_m - Diag(z) is nearly PSD, and bound <= 1^T z + sum g_m r_m.
    """

    bound: float
    dual: Vector
    multipliers: Vector


def scaled_cost(weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """C with E = unit <C, s s^T>, its root mean square entry between one and two, unit a power of two."""
    rms = float(np.linalg.norm(weights)) / weights.shape[0]
    unit = math.ldexp(1.0, math.frexp(rms)[1] - 2)
    return weights * (0.5 / unit), unit


def start_factor(order: int, rng: np.random.Generator) -> Matrix:
    """Random unit rows, as wide as problems with active cuts have been seen to need."""
    # k (k + 1)/2 columns' worth of freedom for each row and for some cuts a row
    width = min(order, order // 4 + 15, 20 + math.isqrt(12 * order))
    return normalise(rng.standard_normal((order, width)))


class Tightener:
    """Rounds of one problem.

    Parameters
    ----------
    cost : (N, N) ndarray
        Symmetric with a zero diagonal, its entries multiples of 2^-32 below 2^20 in absolute value, so that
        subtracting multipliers is exact.
    factor : (N, k) ndarray
        Unit rows to start from; copied.
    cuts, multipliers : CliqueCuts and (m,) ndarray, optional
        To start from; without them the first round solves Shor's relaxation.
    largest : {3, 5, 7}, optional
        Size of the cliques to look for at most.
    tuning : Tuning, optional

    Attributes
    ----------
    deadline : float
        By `time.perf_counter`; beyond it steps of problems of more than 500 rows break off, and what they were for
        is left as it was.
    """

    def __init__(
        self,
        cost: Matrix,
        factor: Matrix,
        cuts: CliqueCuts | None = None,
        multipliers: Vector | None = None,
        *,
        largest: int = LARGEST,
        tuning: Tuning | None = None,
    ) -> None:
        self.cost = np.ascontiguousarray(cost)
        self.factor = np.array(factor, order="C")
        self.order = int(cost.shape[0])
        self.cuts = no_cuts() if cuts is None else cuts
        self.multipliers = np.zeros(self.cuts.count) if multipliers is None else multipliers.copy()
        self.rounds = 0
        self.deadline = math.inf
        self.started_with_cuts = self.cuts.count > 0
        self.largest = 3 if cuts is None or not cuts.count else int(cuts.sizes.max())
        self._allowed = largest
        self._tuning = tuning or Tuning()
        self._idle = np.zeros(self.cuts.count, np.int64)
        self._scale = float(np.linalg.norm(self.cost)) / self.order
        self._edges = np.flatnonzero(np.triu(self.cost, 1))
        share = 2.0 * self._edges.size / self.order**2
        self.sparse = self.order >= SPARSE_FROM and 0.0 < share < SPARSE_SHARE
        # few entries carry a sparse cost: multipliers come between their size and that of all
        self._penalty = self._scale * (share**-0.25 if self.sparse else 1.0)

    @property
    def proved_by_sweeps(self) -> bool:
        """Whether the problem is sparse and too large for a dense proof."""
        return self.sparse and self.order > DENSE_PROOFS

    @property
    def gram(self) -> Matrix:
        """Y = V V^T."""
        return self.factor @ self.factor.T

    def round(self) -> float:
        """Improve rows and multipliers and change the set of cuts; return an estimate of the bound so far."""
        tuning = self._tuning
        steps = tuning.steps if self.cuts.count else tuning.first_steps
        estimate = self._minimise(tuning.penalty, steps, tuning.tolerance)
        if self._expired():
            return estimate
        gram = self.gram
        slacks = self._update(gram, tuning.penalty)
        used = self.multipliers > 0
        self._idle = np.where(used | (slacks < 0), 0, self._idle + 1)
        self._keep(self._idle < tuning.idle)
        self._separate(gram)
        self.rounds += 1
        return estimate

    def polish(self, sharper: float = 1.0) -> float:
        """Find multipliers for the cuts that are in use, exactly enough for a proof; return the estimate.

        ``sharper`` multiplies the tolerance.
        """
        tuning = self._tuning
        self._keep(self.multipliers > 0)
        estimate = self._minimise(tuning.final_penalty, tuning.final_steps, sharper * tuning.final_tolerance)
        if not self._expired():
            self._update(self.gram, tuning.final_penalty)
        return estimate

    def prove(self, allowed: float, target: float = math.inf) -> Proof:
        """A proved bound from the multipliers as they are, within about ``allowed`` of the best they give.

        Less exact where the bound exceeds ``target`` already.
        """
        multipliers = np.rint(self.multipliers / GRID) * GRID
        priced = self.cuts.priced(self.cost, multipliers)
        offset = float(multipliers @ self.cuts.sides) if self.cuts.count else 0.0
        if self.proved_by_sweeps:
            left = Elliptope(sp.csr_array(priced))
            seconds = None if self.deadline == math.inf else max(self.deadline - time.perf_counter(), 1.0)
            solved = low_rank(
                left, start=self.factor, tol=SPARSE_TOL, certificate="rigorous", max_seconds=seconds, rng=0
            )
            return Proof(math.nextafter(solved.lower_bound + offset, -math.inf), solved.dual, multipliers)
        dual = dual_vector(priced, self.factor)
        smallest = float(la.eigvalsh(priced - np.diag(dual), subset_by_index=[0, 0])[0])
        loss = -self.order * smallest
        enough = target - offset + DECISIVE * self.order * float(np.abs(dual).max())
        if loss > allowed and float(dual.sum()) - loss <= enough:
            dual = interior_point(priced, 0.5 * allowed, stop=lambda _value, bound: bound > enough).dual
            smallest = 0.0
        else:
            dual += min(smallest, 0.0)
        bound = rigorous_bound(priced, dual, smallest_eigenvalue=min(smallest, 0.0))
        return Proof(math.nextafter(bound + offset, -math.inf), dual, multipliers)

    def _minimise(self, penalty: float, steps: int, tolerance: float) -> float:
        """Improve the rows; pair by pair where the problem is sparse."""
        from solvers.kernels.augmented_lagrangian import minimise

        if self._scale == 0.0:
            return 0.0
        limit = tolerance * self._scale * math.sqrt(self.order)
        starts, pairs, signs, sides = self.cuts.arrays(self.order)
        places = np.empty(0, np.int64)
        if self.sparse:
            places, inverse = np.unique(np.concatenate([self._edges, pairs]), return_inverse=True)
            pairs = inverse[self._edges.size :]
        edges = (*np.divmod(places, self.order), self.cost.ravel()[places])
        cuts = (starts, pairs, signs, sides)
        scaled = penalty * self._penalty
        piece = steps if self.order <= DENSE_PROOFS else PIECE
        while True:
            part = min(piece, steps)
            value = minimise(self.cost, edges, self.factor, cuts, self.multipliers, scaled, part, limit)
            steps -= part
            if steps <= 0 or self._expired():
                return float(value)

    def _expired(self) -> bool:
        return self.order > DENSE_PROOFS and time.perf_counter() >= self.deadline

    def _update(self, gram: Matrix, penalty: float) -> Vector:
        """Move the multipliers; return the slacks."""
        slacks = self.cuts.slacks(gram)
        self.multipliers = np.maximum(0.0, self.multipliers - penalty * self._penalty * slacks)
        return slacks

    def _keep(self, which: NDArray[np.bool_]) -> None:
        self.cuts = self.cuts.select(which)
        self.multipliers, self._idle = self.multipliers[which], self._idle[which]

    def _separate(self, gram: Matrix) -> None:
        """Add violated cuts; larger cliques once few triangles are violated, seven after five."""
        tuning = self._tuning
        triangles = most_violated_triangles(gram, tuning.added * self.order, tuning.violation)
        added = fresh(triangles, self.cuts)
        if self._ripe():
            heaviest = np.argsort(-self.multipliers, kind="stable")
            most = min(MOST_PAIRS // self.order**2, int(np.count_nonzero(self.multipliers > 0)))
            used = self.cuts.select(heaviest[:most])
            if used.count < self.order <= SEEDED:
                # few triangles are in use, and larger cliques may be violated where no triangle is
                used = used.join(fresh(most_violated_triangles(gram, self.order, -SEED_SLACK), used))
            for size in range(3, self.largest, 2):
                found = grown(gram, used, size, tuning.larger_added * self.order, tuning.larger_violation)
                added = added.join(fresh(found, self.cuts))
        self.cuts = self.cuts.join(added)
        more = np.zeros(added.count)
        self.multipliers = np.concatenate([self.multipliers, more])
        self._idle = np.concatenate([self._idle, more.astype(np.int64)])

    def _ripe(self) -> bool:
        """Whether to look for larger cliques; those of seven come some rounds after those of five."""
        if self.largest < self._allowed and self.rounds >= (5 if self.largest == 3 else 8):
            self.largest += 2
        return self.largest > 3
