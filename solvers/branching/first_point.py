"""The point that a search begins with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solvers.heuristics.result import SearchEnd
from solvers.heuristics.tabu_search import tabu_search
from solvers.problems.integer_form import IntegerForm
from solvers.problems.problem import BinaryQuadratic

STARTS = 5
# Steps of the tabu search: so many times N^2, at most.
SHARE, STEPS = 10, 100_000


def first_point(form: IntegerForm, generator: np.random.Generator) -> tuple[NDArray[np.int64], bool]:
    """A good point of the whole problem (N,), by tabu search, and whether an interrupt ended that."""
    starts = generator.choice([-1, 1], size=(STARTS, form.order))
    energies = BinaryQuadratic(0.5 * form.weights)
    steps = min(STEPS, SHARE * form.order**2)
    found = tabu_search(energies, starts, max_iterations=steps, rng=generator)
    return found.signs.astype(np.int64), found.status is SearchEnd.INTERRUPTED
