r"""A binary problem in whole numbers, so that values, steps between them and proofs are exact.

Over signs s, with s_0 = 1 where there is a linear term, every objective is
:math:`\text{constant} + \text{unit} \cdot E(s)`, :math:`E(s) = \sum_{i<j} W_{ij} s_i s_j`.  Where the data are, up
to a common factor, whole numbers below 2^31, so is W, and nothing is lost; otherwise W is rounded and the error is
bounded.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from solvers.problems.binary_form import binary_form, dense_matrix
from solvers.problems.form_error import form_error
from solvers.problems.problem import Elliptope, Problem, as_problem

# Order above which dense matrices and all triples are too many.
MAX_ORDER = 3000
# Whole numbers up to this are kept as they are.
MOST_BITS = 31


@dataclass(frozen=True, eq=False)
class IntegerForm:
    """E(s) over N signs.

    Attributes
    ----------
    weights : (N, N) float64 ndarray
        W: symmetric, whole, with a zero diagonal.
    unit, constant : Fraction
        Objective = constant + unit E, unit > 0.
    error : float
        By how many units the objective may differ from that; 0 where it is exact.
    homogenised : bool
        Whether sign 0 stands for the constant 1.
    extended : bool
        Whether that sign is not among the problem's own.
    """

    weights: NDArray[np.float64]
    unit: Fraction
    constant: Fraction
    error: float
    homogenised: bool
    extended: bool

    @property
    def order(self) -> int:
        """The order N."""
        return int(self.weights.shape[0])

    @property
    def exact(self) -> bool:
        """Whether the data are whole numbers up to a common factor."""
        return self.error == 0.0

    def energy(self, signs: NDArray[np.int64]) -> int:
        """E at one point (N,)."""
        s = signs.astype(np.float64)
        return round(0.5 * float(s @ (self.weights @ s)))

    def objective(self, energy: float | int | Fraction) -> float:
        """The objective of an energy."""
        return float(self.constant + self.unit * Fraction(energy))

    def bound(self, energy: float | int | Fraction) -> float:
        """The largest float64 that no objective of this energy, or of one above it, is below."""
        lowest = self.constant + self.unit * (Fraction(energy) - Fraction(self.error))
        nearest = float(lowest)
        return nearest if Fraction(nearest) <= lowest else math.nextafter(nearest, -math.inf)

    def signs_of(self, point: NDArray[np.int64]) -> NDArray[np.int8]:
        """The problem's own signs at a point (N,)."""
        if self.homogenised:
            point = point * point[0]
        return point[1 if self.extended else 0 :].astype(np.int8)

    def digest(self) -> str:
        """SHA-256 of N and of the non-zero weights in order, as text: i j w, i < j, from 0."""
        rows, columns = np.nonzero(np.triu(self.weights, 1))
        lines = [
            f"{i} {j} {int(self.weights[i, j])}\n"
            for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
        ]
        return hashlib.sha256(f"{self.order}\n{''.join(lines)}".encode()).hexdigest()


def integer_form(problem: Problem) -> IntegerForm:
    """The integer form of a problem.

    Raises
    ------
    ValueError
        If the problem has more than 3,000 signs.

    Examples
    --------
    >>> from solvers import MaxCut
    >>> form = integer_form(MaxCut([[0, 3, 6], [3, 0, 9], [6, 9, 0]]))
    >>> form.weights[0], form.unit, form.constant, form.exact
    (array([0., 1., 2.]), Fraction(3, 2), Fraction(-9, 1), True)
    """
    problem = as_problem(problem)
    form = binary_form(problem)
    A = dense_matrix("problem", form.A, limit=MAX_ORDER)
    extended = bool(np.any(form.b))
    couplings = 2.0 * A
    if extended:
        couplings = np.block([[np.zeros((1, 1)), form.b[None, :]], [form.b[:, None], couplings]])
    np.fill_diagonal(couplings, 0.0)
    diagonal = [Fraction(float(entry)) for entry in np.diagonal(A)]
    constant = sum(diagonal, Fraction(float(form.constant)))
    weights, unit, error = _whole(couplings)
    if (off := form_error(problem)) > 0.0:
        error = math.nextafter(error + math.nextafter(float(Fraction(off) / unit), math.inf), math.inf)
    homogenised = extended or (isinstance(problem, Elliptope) and problem.homogenised)
    return IntegerForm(weights, unit, constant, error, homogenised, extended)


def _whole(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], Fraction, float]:
    """Whole W, a unit and a bound on the sum over i < j of |values - unit W| in units."""
    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0.0:
        return values.copy(), Fraction(1), 0.0
    mantissas, exponents = np.frexp(values[values != 0])
    digits = np.ldexp(mantissas, 53).astype(np.int64)
    lowest = int((exponents - 53 + np.log2((digits & -digits).astype(np.float64)).astype(np.int64)).min())
    top = math.frexp(largest)[1]
    if top - lowest <= MOST_BITS:
        whole = np.ldexp(values, -lowest)
        common = int(np.gcd.reduce(np.abs(whole[whole != 0]).astype(np.int64)))
        return whole / common, common * Fraction(2) ** lowest, 0.0
    power = top - MOST_BITS
    scaled = np.ldexp(values, -power)
    whole = np.rint(scaled)
    # the sum of few thousand squared terms rounds by far less than the last factor allows
    error = 0.5 * float(np.abs(scaled - whole).sum()) * (1.0 + 1e-9) + 1e-12
    return whole, Fraction(2) ** power, error


def merged_weights(
    weights: NDArray[np.float64], labels: NDArray[np.int64], flips: NDArray[np.int64]
) -> tuple[NDArray[np.float64], int]:
    """W' and a constant with E(s) = constant + E'(t) at s_i = flip_i t_label_i."""
    order = int(labels.max()) + 1
    spread = np.zeros((labels.shape[0], order))
    spread[np.arange(labels.shape[0]), labels] = flips
    merged = spread.T @ weights @ spread
    constant = round(0.5 * float(np.trace(merged)))
    np.fill_diagonal(merged, 0.0)
    return merged, constant


def next_below(weights: NDArray[np.float64], constant: int, best: int) -> int:
    r"""The largest energy below ``best`` that whole weights allow.

    Turning a set of signs changes E by twice the weight of a cut, and those are multiples of the greatest common
    divisor of the vertices' degrees and of twice the weights.
    """
    whole = weights.astype(np.int64)
    cut_step = math.gcd(int(np.gcd.reduce(whole.sum(axis=1))), 2 * int(np.gcd.reduce(whole.ravel())))
    everything = constant + int(np.triu(whole, 1).sum())
    if cut_step == 0:
        return min(best - 1, everything)
    step = 2 * cut_step
    return everything + step * ((best - 1 - everything) // step)
