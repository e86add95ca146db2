"""Binary quadratic problems and their relaxation over the elliptope.

Every problem has the methods `relaxation`, which returns the `Elliptope` that bounds it, and `evaluate`,
which returns its objective at points of the cube.  Solvers accept any of the three.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from solvers.problems.binary_quadratic import BinaryQuadratic
from solvers.problems.cost import Cost, apply, as_cost, symmetrise
from solvers.problems.doors import kind, problem_door
from solvers.problems.elliptope import Elliptope
from solvers.problems.max_cut import MaxCut
from solvers.problems.points import as_points

__all__ = [
    "BinaryQuadratic",
    "Cost",
    "Elliptope",
    "MaxCut",
    "Problem",
    "apply",
    "as_cost",
    "as_points",
    "as_problem",
    "symmetrise",
]


Problem: TypeAlias = BinaryQuadratic | MaxCut | Elliptope


def as_problem(problem: Any) -> Problem:
    """Return ``problem`` if it is one, and refuse anything else in words."""
    if not isinstance(problem, (BinaryQuadratic, MaxCut, Elliptope)):
        raise TypeError(
            f"problem must be a BinaryQuadratic, MaxCut or Elliptope; found {kind(problem)}. "
            f"{problem_door(problem)}"
        )
    return problem
