"""What proves or refutes that one component is solved: multipliers, and how negative their slack matrix is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from solvers.certificates.cholesky_test import MEASURED_ORDER, CholeskyTest
from solvers.certificates.dual_bound import dense_slack
from solvers.certificates.multipliers import FactorRange
from solvers.linalg.lanczos import Eigenpair, Krylov, smallest_eigenpair, start_vector
from solvers.linalg.matvec import Matvec
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
    """A point as a certificate sees it.

    Attributes
    ----------
    value, gradient_norm : float
        The objective at the point, and the norm of its gradient.
    dual : (n,) ndarray
        The best multipliers y found.
    curvature : float
        The smallest Ritz value of C - Diag(y) seen.
    vector : (n,) ndarray or None
        Its vector, if it was computed.
    gap : float
        What the multipliers let expect of a certificate.
    is_likely_complete : bool
        Whether other negative curvature is unlikely: the factor had axes to spare, and descent from a random
        start would have grown them along it.
    """

    value: float
    gradient_norm: float
    dual: NDArray[np.float64]
    curvature: float
    vector: NDArray[np.float64] | None
    gap: float
    is_likely_complete: bool


class Eigenvalue(NamedTuple):
    """A smallest eigenvalue, or what is known of it, and what may be missing from that."""

    value: float
    error: float = 0.0


class ComponentCertificate:
    """What evaluates points of one component, and asks how negative their slack matrices are.

    Parameters
    ----------
    cost : (n, n) array, sparse array or LinearOperator
        Symmetric, without its diagonal unless it is an operator.
    matvec : Matvec
        With that cost.
    generator : numpy Generator
        For Lanczos start vectors.
    """

    def __init__(self, cost: Cost, matvec: Matvec, generator: np.random.Generator) -> None:
        self.cost = cost
        self.order = int(cost.shape[0])
        self._matvec = matvec
        self._generator = generator
        self._cholesky_test = CholeskyTest(cost)

    def first_bound(self) -> tuple[NDArray[np.float64], float]:
        """Gershgorin's: y_i = -sum_j |c_ij| makes C - Diag(y) diagonally dominant, before any work is done."""
        if isinstance(self.cost, Gram):
            dual = self.cost.dominated_dual()
            return dual, float(dual.sum())
        if isinstance(self.cost, LinearOperator):
            return np.zeros(self.order), -np.inf
        absolute = _absolute_row_sums(self.cost)
        return -absolute, -float(absolute.sum())

    def evaluate(
        self, factor: Factor, rank: int, allowed: float, *, thorough: bool, from_random_start: bool
    ) -> Evaluation:
        """Find the best multipliers at a point, of the given rank but for columns that fill registers.

        Where asking Cholesky costs less than predicting its answer, and not ``thorough``, the best is hoped for.
        """
        here = FactorRange(self._matvec, factor, rank)
        value = float(here.dual.sum())
        likely = here.deficient and from_random_start
        if not thorough and self._cholesky_test.is_quick:
            dual = here.corrected_dual()
            gap = max(value - float(dual.sum()), 0.0)
            return Evaluation(value, here.gradient_norm, dual, 0.0, None, gap, likely)
        best = here.plain()
        gap = self.order * max(-best.curvature, 0.0)
        if gap > SHARP * allowed:
            found = here.corrected()
            loss = max(value - float(found.dual.sum()), 0.0)
            expected = loss + HIDDEN * self.order * max(-found.curvature, 0.0)
            if expected < gap:
                best, gap = found, expected
        return Evaluation(value, here.gradient_norm, *best, gap, likely)

    def smallest(self, point: Evaluation, threshold: float, *, measured: bool) -> Eigenvalue:
        """The smallest eigenvalue of C - Diag(y) at a point's multipliers, as far as a threshold needs it."""
        ask = self._cholesky_test.is_affordable()
        if ask:
            if self._cholesky_test.exceeds(point.dual, threshold):
                return Eigenvalue(threshold)
            if not measured:
                return Eigenvalue(-np.inf)
        if self._is_small():
            slack = dense_slack(self.cost, point.dual)
            return Eigenvalue(float(np.linalg.eigvalsh(slack)[0]), EPSILON * float(np.linalg.norm(slack)))
        pair, _ = self._recurrence(point, threshold, measured=measured)
        value = min(pair.value, point.curvature)
        if ask:
            return Eigenvalue(self._cholesky_test.bound_below(point.dual, value - pair.error))
        if pair.value - pair.error >= threshold:
            # no more than this was asked, and a recurrence that stops early has seen no more
            return Eigenvalue(threshold)
        return Eigenvalue(value, pair.error)

    def smallest_vector(self, point: Evaluation, threshold: float) -> NDArray[np.float64]:
        """The unit eigenvector of that eigenvalue."""
        if self._is_small():
            slack = dense_slack(self.cost, point.dual)
            return np.asarray(la.eigh(slack, subset_by_index=[0, 0])[1][:, 0])
        pair, krylov = self._recurrence(point, threshold, measured=True)
        return krylov.ritz_vector(pair.coefficients)

    def _is_small(self) -> bool:
        """Whether LAPACK's eigenvalues cost no more than other answers."""
        return self.order <= MEASURED_ORDER or self._cholesky_test.is_quick

    def _recurrence(self, point: Evaluation, threshold: float, *, measured: bool) -> tuple[Eigenpair, Krylov]:
        """Lanczos, as far as the threshold needs it."""
        # a start near one eigenvector sees that one first: where others may be negative, every direction is due
        guess, confirmation = (point.vector, LIKELY) if point.is_likely_complete else (None, DOUBTFUL)
        start = start_vector(self.order, self._generator, guess)
        krylov = Krylov(self.cost, point.dual, start, self._matvec.workers)
        pair = smallest_eigenpair(
            krylov,
            threshold=threshold,
            known=point.curvature,
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
