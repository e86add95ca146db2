"""Semidefinite relaxations of binary quadratic problems: exact, low-rank, certified."""

from solvers.brute_force import brute_force
from solvers.exact import exact
from solvers.io import read_problem, read_rudy, read_sdpa
from solvers.low_rank import low_rank
from solvers.problem import BinaryQuadratic, Elliptope, MaxCut, symmetrise
from solvers.rounding import Rounding, one_flip, round_fixed_mean, round_homogeneous
from solvers.solution import Iteration, Solution, Status

__all__ = [
    "BinaryQuadratic",
    "Elliptope",
    "Iteration",
    "MaxCut",
    "Rounding",
    "Solution",
    "Status",
    "brute_force",
    "exact",
    "low_rank",
    "one_flip",
    "read_problem",
    "read_rudy",
    "read_sdpa",
    "round_fixed_mean",
    "round_homogeneous",
    "symmetrise",
]
