"""What proves or refutes that one component is solved: multipliers, and how negative their slack matrix is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from solvers.certificates.cholesky_test import MEASURED_ORDER, Definiteness
from solvers.certificates.dual_bound import dense_slack
from solvers.certificates.multipliers import FactorRange
from solvers.linalg.lanczos import Eigenpair, Krylov, smallest_eigenpair, start_vector
from solvers.linalg.matvec import Products
from solvers.linalg.sphere import Factor
from solvers.problems.cost import Cost
from solvers.problems.gram import Gram

# With corrected multipliers it is some times as negative as two steps of a block recurrence from that range show.
HIDDEN = 3.0
# Correcting multipliers cannot gain anything below this share of what is allowed.
SHARP = 0.1
# Once a certificate looks settled, this many times the steps of Lanczos so far must not contradict it.
LIKELY = 2.5
DOUBTFUL = 3.0
EPSILON = float(np.finfo(np.float64).eps)


class Evaluation(NamedTuple):
    """Objective and norm of the gradient at a point."""

    value: float
    gradient_norm: float


class Eigenvalue(NamedTuple):
    """A smallest eigenvalue, or what is known of it, and what may be missing from that."""

    value: float
    error: float = 0.0


class Evidence(NamedTuple):
    """Multipliers y, the smallest Ritz value of C - Diag(y) seen, its vector, and the gap that these let expect.

    ``deficient``: the factor had axes to spare, so other negative curvature is unlikely.
    """

    dual: NDArray[np.float64]
    curvature: float
    vector: NDArray[np.float64] | None
    gap: float
    deficient: bool


class ComponentCertificate:
    """The evidence about one component, renewed by each evaluation of a point.

    Parameters
    ----------
    cost : (n, n) array, sparse array or LinearOperator
        Symmetric, without its diagonal unless it is an operator.
    products : Products
        With that cost.
    generator : numpy Generator
        For Lanczos start vectors.
    from_random_start : bool
        Whether points come from a random factor by descent alone.

    Attributes
    ----------
    evidence : Evidence
        Of the last evaluation.
    from_random_start : bool
    """

    def __init__(
        self, cost: Cost, products: Products, generator: np.random.Generator, *, from_random_start: bool
    ) -> None:
        self.cost = cost
        self.order = int(cost.shape[0])
        self.from_random_start = from_random_start
        self.evidence = Evidence(np.zeros(self.order), -np.inf, None, np.inf, deficient=False)
        self._products = products
        self._generator = generator
        self._definiteness = Definiteness(cost)

    def first_bound(self) -> tuple[NDArray[np.float64], float]:
        """Gershgorin's: y_i = -sum_j |c_ij| makes C - Diag(y) diagonally dominant, before any work is done."""
        if isinstance(self.cost, Gram):
            dual = self.cost.dominated_dual()
            return dual, float(dual.sum())
        if isinstance(self.cost, LinearOperator):
            return np.zeros(self.order), -np.inf
        absolute = _absolute_row_sums(self.cost)
        return -absolute, -float(absolute.sum())

    def evaluate(self, factor: Factor, rank: int, allowed: float, *, thorough: bool) -> Evaluation:
        """Find the best multipliers at a point, of the given rank but for columns that fill registers.

        Where asking Cholesky costs less than predicting its answer, and not ``thorough``, the best is hoped for.
        """
        here = FactorRange(self._products, factor, rank)
        dual = here.dual
        seen = Evaluation(float(dual.sum()), here.gradient_norm)
        if not thorough and self._definiteness.is_quick:
            dual = here.corrected_dual()
            gap = max(seen.value - float(dual.sum()), 0.0)
            self.evidence = Evidence(dual, 0.0, None, gap, here.deficient)
            return seen
        plain = here.plain()
        gap = self.order * max(-plain.curvature, 0.0)
        self.evidence = Evidence(dual, plain.curvature, plain.vector, gap, here.deficient)
        if gap > SHARP * allowed:
            found = here.corrected()
            loss = max(seen.value - float(found.dual.sum()), 0.0)
            expected = loss + HIDDEN * self.order * max(-found.curvature, 0.0)
            if expected < gap:
                self.evidence = Evidence(found.dual, found.curvature, found.vector, expected, here.deficient)
        return seen

    def smallest(self, threshold: float, *, measured: bool) -> Eigenvalue:
        """The smallest eigenvalue at the multipliers of the last evaluation, as far as a threshold needs it."""
        dual = self.evidence.dual
        ask = self._definiteness.is_affordable()
        if ask:
            if self._definiteness.exceeds(dual, threshold):
                return Eigenvalue(threshold)
            if not measured:
                return Eigenvalue(-np.inf)
        if self._is_small():
            slack = dense_slack(self.cost, dual)
            return Eigenvalue(float(np.linalg.eigvalsh(slack)[0]), EPSILON * float(np.linalg.norm(slack)))
        pair, _ = self._recurrence(threshold, measured=measured)
        value = min(pair.value, self.evidence.curvature)
        if ask:
            return Eigenvalue(self._definiteness.bound_below(dual, value - pair.error))
        if pair.value - pair.error >= threshold:
            # no more than this was asked, and a recurrence that stops early has seen no more
            return Eigenvalue(threshold)
        return Eigenvalue(value, pair.error)

    def smallest_vector(self, threshold: float) -> NDArray[np.float64]:
        """Its unit eigenvector."""
        if self._is_small():
            slack = dense_slack(self.cost, self.evidence.dual)
            return np.asarray(la.eigh(slack, subset_by_index=[0, 0])[1][:, 0])
        pair, krylov = self._recurrence(threshold, measured=True)
        return krylov.ritz_vector(pair.coefficients)

    def _is_small(self) -> bool:
        """Whether LAPACK's eigenvalues cost no more than other answers."""
        return self.order <= MEASURED_ORDER or self._definiteness.is_quick

    def _recurrence(self, threshold: float, *, measured: bool) -> tuple[Eigenpair, Krylov]:
        """Lanczos, as far as the threshold needs it."""
        known = self.evidence
        # a start near one eigenvector sees that one first: where others may be negative, every direction is due
        likely = known.deficient and self.from_random_start
        guess, confirmation = (known.vector, LIKELY) if likely else (None, DOUBTFUL)
        start = start_vector(self.order, self._generator, guess)
        krylov = Krylov(self.cost, known.dual, start, self._products.workers)
        pair = smallest_eigenpair(
            krylov,
            threshold=threshold,
            known=known.curvature,
            confirmation=confirmation,
            insist=measured,
        )
        return pair, krylov


def _absolute_row_sums(cost: Cost) -> NDArray[np.float64]:
    if not sp.issparse(cost):
        return np.abs(cost).sum(axis=1)
    # the last of the sums needs an entry to begin at, even of an empty row; others that are empty come out too
    # large, which makes no bound wrong
    entries = np.append(np.abs(cost.data), 0.0)
    return np.add.reduceat(entries, cost.indptr[:-1])
