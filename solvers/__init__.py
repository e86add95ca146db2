"""Semidefinite relaxations of binary quadratic problems: exact, low-rank, certified."""

from solvers.low_rank import low_rank
from solvers.problem import BinaryQuadratic, Elliptope, MaxCut, symmetrise
from solvers.solution import Iteration, Solution, Status

__all__ = [
    "BinaryQuadratic",
    "Elliptope",
    "Iteration",
    "MaxCut",
    "Solution",
    "Status",
    "low_rank",
    "symmetrise",
]
