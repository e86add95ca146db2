"""Semidefinite relaxations of binary quadratic problems: exact, low-rank, certified."""

from solvers.branching.branch_and_bound import branch_and_bound
from solvers.branching.records import TreeMoment
from solvers.branching.result import ProvedSolution, TreeEnd
from solvers.cuts.strengthen import Strengthened, strengthen
from solvers.exact.brute_force import brute_force
from solvers.exact.shor import exact
from solvers.heuristics.local_search import one_flip, two_flip
from solvers.heuristics.result import SearchEnd, SearchMoment, SearchResult
from solvers.heuristics.rounding import Rounding, round_fixed_mean, round_homogeneous
from solvers.heuristics.tabu_search import tabu_search
from solvers.io.files import read_problem, read_rudy, read_sdpa, write_problem
from solvers.low_rank import low_rank
from solvers.many import Outcome, solve_many
from solvers.problems.gram import Gram
from solvers.problems.problem import BinaryQuadratic, Elliptope, MaxCut, symmetrise
from solvers.problems.solution import Iteration, Solution, Status

__all__ = [
    "BinaryQuadratic",
    "Elliptope",
    "Gram",
    "Iteration",
    "MaxCut",
    "Outcome",
    "ProvedSolution",
    "Rounding",
    "SearchEnd",
    "SearchMoment",
    "SearchResult",
    "Solution",
    "Status",
    "Strengthened",
    "TreeEnd",
    "TreeMoment",
    "branch_and_bound",
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
    "strengthen",
    "symmetrise",
    "tabu_search",
    "two_flip",
    "write_problem",
]
