"""The proved optimum of a small problem, for tests of what looks for it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.branching.branch_and_bound import branch_and_bound
from solvers.exact.brute_force import brute_force
from solvers.problems.binary_form import binary_form
from solvers.problems.problem import Problem

# Up to this many signs enumeration takes seconds at most.
ENUMERATED = 24


class Optimum(NamedTuple):
    """A point of the cube than which no other is better, and its minimised objective."""

    signs: NDArray[np.int8]
    value: float


def optimal(problem: Problem) -> Optimum:
    """The optimum of a problem: by enumeration up to 24 signs, by branch and bound above.

    Parameters
    ----------
    problem : BinaryQuadratic, MaxCut or Elliptope
        With up to 60 signs it takes a second or so.  Where data are not whole numbers, the optimum is proved to a
        relative gap of 1e-7.

    Returns
    -------
    Optimum

    Examples
    --------
    >>> from solvers import MaxCut
    >>> optimal(MaxCut([[0, 1, 1], [1, 0, 1], [1, 1, 0]])).value
    -2.0
    """
    if binary_form(problem).n <= ENUMERATED:
        found = brute_force(problem)
        return Optimum(found.point, found.value)
    solution = branch_and_bound(problem, rng=0)
    return Optimum(solution.signs, solution.value)
