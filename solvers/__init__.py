"""Semidefinite relaxations of binary quadratic problems: exact, low-rank, certified."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

# eager, because each shares its name with a module here, which would come in its place
from solvers.exact.shor import exact
from solvers.low_rank import low_rank
from solvers.problems.gram import Gram
from solvers.problems.problem import BinaryQuadratic, Elliptope, MaxCut, symmetrise
from solvers.problems.solution import Iteration, Solution, Status

if TYPE_CHECKING:
    from solvers.branching.branch_and_bound import branch_and_bound
    from solvers.branching.records import TreeMoment
    from solvers.branching.result import ProvedSolution, TreeEnd
    from solvers.cuts.strengthen import Strengthened, strengthen
    from solvers.exact.brute_force import brute_force
    from solvers.heuristics.local_search import one_flip, two_flip
    from solvers.heuristics.result import SearchEnd, SearchMoment, SearchResult
    from solvers.heuristics.rounding import Rounding, round_fixed_mean, round_homogeneous
    from solvers.heuristics.tabu_search import tabu_search
    from solvers.io.files import read_problem, read_rudy, read_sdpa, write_problem
    from solvers.many import Outcome, solve_many

# Loaded on first use: one solve need not wait for the readers of files, searches and process pools.
_HOME = {
    "Outcome": "many",
    "ProvedSolution": "branching.result",
    "Rounding": "heuristics.rounding",
    "SearchEnd": "heuristics.result",
    "SearchMoment": "heuristics.result",
    "SearchResult": "heuristics.result",
    "Strengthened": "cuts.strengthen",
    "TreeEnd": "branching.result",
    "TreeMoment": "branching.records",
    "branch_and_bound": "branching.branch_and_bound",
    "brute_force": "exact.brute_force",
    "one_flip": "heuristics.local_search",
    "read_problem": "io.files",
    "read_rudy": "io.files",
    "read_sdpa": "io.files",
    "round_fixed_mean": "heuristics.rounding",
    "round_homogeneous": "heuristics.rounding",
    "solve_many": "many",
    "strengthen": "cuts.strengthen",
    "tabu_search": "heuristics.tabu_search",
    "two_flip": "heuristics.local_search",
    "write_problem": "io.files",
}

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


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    # Packages such as solvers.io are names too, whether or not something has loaded them.
    if not name.startswith("_") and importlib.util.find_spec(f"{__name__}.{name}") is not None:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module 'solvers' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
