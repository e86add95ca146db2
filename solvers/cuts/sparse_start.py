"""Where rounds of large sparse problems start: at Shor's relaxation, solved by sweeps, with its proof."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.cuts.tighten import SPARSE_TOL, Proof
from solvers.linalg.sphere import normalise
from solvers.low_rank import low_rank
from solvers.problems.problem import Elliptope

Matrix = NDArray[np.float64]

# Columns that start as noise have rows of this length: enough to move, too little to lose the solution.
NOISE = 0.05


def solved_start(cost: Matrix, max_seconds: float, rng: np.random.Generator) -> tuple[Matrix, Proof]:
    """Unit rows that solve Shor's relaxation, with columns to spare for cuts, and the proof of its bound.

    Minutes of quasi-Newton steps from random rows, at a few thousand of them, are seconds of sweeps.
    """
    limit = max_seconds if math.isfinite(max_seconds) else None
    problem = Elliptope(sp.csr_array(cost))
    solved = low_rank(problem, tol=SPARSE_TOL, certificate="rigorous", max_seconds=limit, rng=rng)
    order, width = solved.factor.shape
    # freedom for N rows and for about as many cuts that are active
    spare = max(0, min(order, 20 + math.isqrt(4 * order)) - width)
    noise = rng.standard_normal((order, spare)) * (NOISE / math.sqrt(max(spare, 1)))
    factor = normalise(np.hstack([solved.factor, noise]))
    return factor, Proof(solved.lower_bound, solved.dual, np.empty(0))
