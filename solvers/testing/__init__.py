"""For tests of code that solves or uses these relaxations: problems to draw, and a check of what comes back.

The strategies need `hypothesis` (the extra ``testing``); everything else works without it.
"""

from solvers.testing.assert_certified import assert_certified
from solvers.testing.optimal import Optimum, optimal
from solvers.testing.planted import Planted, planted_dense, planted_dyadic, planted_sparse
from solvers.testing.strategies import (
    FAMILIES,
    REPRESENTATIONS,
    degenerate_matrix,
    degenerate_problems,
    in_representation,
    planted_problems,
)

__all__ = [
    "FAMILIES",
    "REPRESENTATIONS",
    "Optimum",
    "Planted",
    "assert_certified",
    "degenerate_matrix",
    "degenerate_problems",
    "in_representation",
    "optimal",
    "planted_dense",
    "planted_dyadic",
    "planted_problems",
    "planted_sparse",
]
