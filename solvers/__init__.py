"""Semidefinite relaxations of binary quadratic problems: exact, low-rank, certified."""

from solvers.brute_force import brute_force
from solvers.exact import exact
from solvers.gram import Gram
from solvers.io import read_problem, read_rudy, read_sdpa
from solvers.local_search import one_flip, two_flip
from solvers.low_rank import low_rank
from solvers.many import Outcome, solve_many
from solvers.problem import BinaryQuadratic, Elliptope, MaxCut, symmetrise
from solvers.rounding import Rounding, round_fixed_mean, round_homogeneous
from solvers.search_result import SearchEnd, SearchMoment, SearchResult
from solvers.solution import Iteration, Solution, Status
from solvers.tabu import tabu_search

__all__ = [
    "BinaryQuadratic",
    "Elliptope",
    "Gram",
    "Iteration",
    "MaxCut",
    "Outcome",
    "Rounding",
    "SearchEnd",
    "SearchMoment",
    "SearchResult",
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
    "solve_many",
    "symmetrise",
    "tabu_search",
    "two_flip",
]
