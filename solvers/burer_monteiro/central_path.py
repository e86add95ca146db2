"""When a component leaves its narrow factor for the central path, which no conditioning of the cost slows.

On a dense cost the path to its end takes as long as some hundred sweeps, at every order (seen from 129 to 1025),
so sweeps are given as many: together no more than twice the time of the better one.  A sparse cost has sweeps
and second-order steps that are far cheaper, and comes here where those stall.
"""

from __future__ import annotations

import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from solvers.burer_monteiro.monitor import Monitor
from solvers.burer_monteiro.settings import COMPONENT
from solvers.certificates.dual_bound import dense_cost
from solvers.methods.interior_point import InteriorPoint, interior_point
from solvers.problems.cost import Cost
from solvers.problems.gram import Gram


def path_is_open(cost: Cost) -> bool:
    """Whether the cost can be had as a dense matrix that is small enough."""
    order = cost.shape[0]
    kept = isinstance(cost, Gram) or not isinstance(cost, LinearOperator)
    return order <= (COMPONENT.path_order if kept else COMPONENT.direct_order)


def path_is_cheaper(cost: Cost, sweeps: int) -> bool:
    """Whether so many sweeps that have not arrived have cost what the path would."""
    return not sp.issparse(cost) and sweeps >= COMPONENT.path_sweeps


def precedes_second_order(cost: Cost) -> bool:
    """Whether the path is followed before second-order steps are tried, and not after them."""
    return cost.shape[0] <= COMPONENT.direct_order or not sp.issparse(cost)


def follow_central_path(cost: Cost, monitor: Monitor, allowed: float) -> InteriorPoint:
    """The pair at the path's end, or where time ran out; O(n^3) some fifteen times."""
    return interior_point(
        dense_cost(cost), allowed, stop=lambda value, bound: monitor.remaining_seconds <= 0.0
    )
