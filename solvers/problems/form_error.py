"""How far a binary form may be from its problem, because what it was made from rounds."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import scipy.sparse as sp

from solvers.problems.cost import Cost
from solvers.problems.elliptope import Elliptope
from solvers.problems.enclosures import SMALLEST, UNIT_ROUNDOFF, lowest_bit, nothing_rounds
from solvers.problems.gram import Gram
from solvers.problems.problem import BinaryQuadratic, Problem

# Two roots, their product, and that with an entry of the cost round; the last is for the bound itself.
_ROUNDINGS = 5.0


def form_error(problem: Problem) -> float:
    """By how much, at any signs, `binary_form` may be off from the objective; 0 where nothing rounds.

    A cut is measured by degrees that are rounded to the safe side, and operators are taken at their word.

    Examples
    --------
    >>> form_error(Elliptope([[0.0, 1.0], [1.0, 0.0]], diagonal=[4.0, 9.0]))
    0.0
    >>> 0.0 < form_error(Elliptope([[0.0, 1.0], [1.0, 0.0]], diagonal=[2.0, 3.0])) < 1e-14
    True
    """
    if isinstance(problem, BinaryQuadratic):
        return _forming_error(problem.A)
    if not isinstance(problem, Elliptope):
        return 0.0
    unit = problem.unit().cost
    return _forming_error(unit) + _scaling_error(problem, unit)


def _forming_error(cost: Cost) -> float:
    """The error of X^T X: its enclosure in the spectral norm, times the squared length of a point."""
    if not isinstance(cost, Gram):
        return 0.0
    parts = [cost.offset] if cost.border is None else [cost.offset, cost.border]
    lowest = 2 * lowest_bit(_entries(cost.vectors)) + lowest_bit(cost.weights)
    lowest = min([lowest, *map(lowest_bit, parts)])
    largest = float(cost.squares(np.abs(cost.weights)).max(initial=0.0)) + sum(
        float(np.abs(part).max(initial=0.0)) for part in parts
    )
    return 0.0 if nothing_rounds(largest, lowest) else 1.01 * cost.shape[0] * cost.enclosure()[1]


def _scaling_error(problem: Elliptope, unit: Cost) -> float:
    """The error of the scaling to unit diagonal, by the roots of the diagonal."""
    if problem.has_unit_diagonal:
        return 0.0
    if isinstance(unit, Gram):
        size = unit.shape[0] * float(unit.squares(np.abs(unit.weights)).sum())
    elif isinstance(unit, (np.ndarray, sp.csr_array)):
        roots, entries = np.sqrt(problem.diagonal), _entries(problem.cost)
        exact = all(
            Fraction(root) ** 2 == Fraction(entry)
            for root, entry in zip(roots.tolist(), problem.diagonal.tolist(), strict=True)
        )
        bits, largest = 2 * lowest_bit(roots), float(roots.max()) ** 2
        product = largest * float(np.abs(entries).max(initial=0.0))
        if exact and nothing_rounds(largest, bits) and nothing_rounds(product, bits + lowest_bit(entries)):
            return 0.0
        size = float(np.abs(_entries(unit)).sum())
    else:
        return 0.0
    return 1.01 * _ROUNDINGS * UNIT_ROUNDOFF * size + unit.shape[0] ** 2 * SMALLEST


def _entries(matrix: Any) -> Any:
    return matrix.data if sp.issparse(matrix) else matrix
