"""I1: the interior point behind the bounds of layers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from solvers.certificates import dual_bound as certificate
from solvers.methods.interior_point import interior_point
from theory_checks.claim import Claim, Measurement, Trial, at_most, claim
from theory_checks.plants import planted


@claim(
    "I1",
    title="the interior point closes the gap at any conditioning of the cost",
    statement="Along X S = mu I, diag(X) = 1, the gap <C, X> - 1^T y is <X, S>; predictor and corrector "
    "steps bring it to "
    "1e-9 of |C|_F in some tens of steps, whatever the eigenvalues of S.",
    source="Helmberg, Rendl, Vanderbei and Wolkowicz (1996); Mehrotra (1992).",
    computed="Planted optima of 60 rows whose S has eigenvalues over 0, 6 and 14 decades: value and "
    "bound against the "
    "planted optimum, and the bound against the smallest eigenvalue of C - Diag(y).",
    falsified_by="A gap that stays open, a bound above the optimum, or more than 40 steps.",
)
def interior_points(trial: Trial) -> Iterator[Measurement]:
    """Solve planted problems of ever worse conditioning."""
    steps, open_, above, below, unproved = 0, 0.0, -np.inf, -np.inf, -np.inf
    for decades in (0.0, 6.0, 14.0):
        plant = planted(trial.rng, 60, 4)
        slack = plant.problem.cost - np.diag(plant.dual)
        values, vectors = np.linalg.eigh(slack)
        values[4:] = 10.0 ** -np.linspace(0.0, decades, len(values) - 4)
        values[:4] = 0.0
        cost = (vectors * values) @ vectors.T + np.diag(plant.dual)
        cost = 0.5 * (cost + cost.T)
        size = float(np.linalg.norm(cost))
        found = interior_point(cost, 1e-9 * size)
        proved = certificate.dual_bound(cost, found.dual).bound
        steps = max(steps, found.steps)
        open_ = max(open_, (found.value - found.bound) / size)
        above = max(above, (found.bound - plant.value) / size)
        below = max(below, (plant.value - found.value) / size)
        unproved = max(unproved, (found.bound - proved) / size)
    yield at_most("largest gap, relative to |C|_F", open_, 1e-9)
    yield at_most("largest bound - planted optimum, relative", above, 1e-12)
    yield at_most("largest planted optimum - value, relative", below, 1e-12)
    yield at_most("largest bound - the one that the eigenvalue proves, relative", unproved, 1e-12)
    yield at_most("steps", steps, 40)


CLAIMS: tuple[Claim, ...] = (interior_points,)
