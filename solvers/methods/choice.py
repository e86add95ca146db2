"""Which method a component begins with, and which follows one that crawls."""

from __future__ import annotations

import scipy.sparse as sp

from solvers.linalg.matvec import Matvec
from solvers.methods.base import Method
from solvers.methods.coloured_relaxation import PARALLEL_ORDER, ColouredRelaxation, few_colours
from solvers.methods.conjugate_gradient import ConjugateGradient
from solvers.methods.gram_relaxation import GramRelaxation
from solvers.methods.over_relaxation import OverRelaxation
from solvers.methods.trust_region import TrustRegion
from solvers.problems.cost import Cost
from solvers.problems.gram import Gram


def first_method(cost: Cost, matvec: Matvec) -> Method:
    """Sweeps where the entries of the cost are at hand, and conjugate gradient where it is only applied."""
    if isinstance(cost, Gram):
        return GramRelaxation(cost)
    if matvec.arguments is None:
        return ConjugateGradient(cost)
    # whatever the number of threads, so that they do not change the result
    colours = few_colours(matvec) if sp.issparse(cost) and cost.shape[0] >= PARALLEL_ORDER else None
    return OverRelaxation(matvec) if colours is None else ColouredRelaxation(matvec, colours)


def next_method(method: Method, matvec: Matvec) -> Method | None:
    """Second-order steps after first-order ones; None where those crawl too, and nothing is left to try."""
    return None if is_second_order(method) else TrustRegion(matvec)


def is_second_order(method: Method) -> bool:
    """Whether a few iterations of the method cost as much as many sweeps, and gain as much."""
    return isinstance(method, TrustRegion)


def begins_in_single_precision(method: Method) -> bool:
    """Whether random rows are best kept in float32 at first: half the memory traffic, where that is the price."""
    return isinstance(method, ColouredRelaxation)
