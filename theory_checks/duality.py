"""R3, R5 and R7: dual vectors, the bounds they give, and problems whose optimum was planted."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

import vispa
from solvers.certificates import dual_bound as certificate
from theory_checks.claim import Claim, Measurement, Trial, at_least, at_most, claim
from theory_checks.plants import Plant, planted, planted_exactly

Array = NDArray[np.float64]

TOLERANCE = 1e-6


@claim(
    "R3",
    title="any dual vector bounds the SDP; at a critical point it decides optimality",
    statement="For any y, 1^T y + N min(lambda_min(C - Diag(y)), 0) <= <C, Y> on the elliptope. At a "
    "critical V, y_i = <(C V)_i, v_i> and S = C - Diag(y) has S V = 0; V V^T solves the SDP iff S is PSD.",
    source="Weak duality with trace(Y) = N; Burer and Monteiro (2003); Journée et al. (2010), theorem 7.",
    computed="Planted optima up to N = 260, where the eigenvalue is no longer LAPACK's but a Lanczos "
    "estimate, which may miss the smallest of a cluster: the bound at 40 vectors y from the optimal one to "
    "far away, along y + t 1, and at the optimum; a critical V whose S has one planted negative "
    "eigenvalue.",
    falsified_by="A y whose bound exceeds the planted optimum, or a critical V misjudged.",
)
def dual_bounds(trial: Trial) -> Iterator[Measurement]:
    """Try to push a bound above a planted optimum, then judge a critical point that is not optimal."""
    plants = [
        planted(trial.rng, 12, 3),
        planted_exactly(trial.rng, 40),
        planted_exactly(trial.rng, trial.size(260, 800)),
    ]
    recovered = max(
        float(np.abs(certificate.dual_vector(plant.problem.cost, plant.factor) - plant.dual).max())
        for plant in plants
    )
    *dense, large = (_largest_excess(plant, trial.rng) for plant in plants)
    loss = max(abs(_bound(plant, plant.dual) - plant.value) / plant.scale for plant in plants)
    shift = max(
        abs(_bound(plant, plant.dual + t) - plant.value) / plant.scale
        for plant in plants
        for t in (0.1, 1.0, 10.0)
    )
    yield at_most("largest |y_i - <(C V)_i, v_i>| at a planted V", recovered, 1e-12)
    yield at_most(
        "N <= 200: largest bound - optimum over 40 vectors y a problem, relative", max(dense), 1e-12
    )
    yield at_most("N > 200, estimated by Lanczos: the same", large, TOLERANCE)
    yield at_most("largest |bound - optimum| at the planted y, relative", loss, 1e-9)
    yield at_most("largest |bound - optimum| at the planted y + t 1, t > 0, relative", shift, 1e-9)

    spoiled = planted(trial.rng, 12, 3, descent=0.25)
    judged = certificate.dual_bound(spoiled.problem.cost, spoiled.dual).smallest_eigenvalue
    better = vispa.low_rank(spoiled.problem, tol=TOLERANCE, rng=trial.rng)
    yield at_most(
        "|lambda_min + 0.25| at a critical V with that eigenvalue planted", abs(judged + 0.25), 1e-12
    )
    yield at_least(
        "how far below that V the optimum lies, relative",
        (spoiled.value - better.value) / spoiled.scale,
        1e-3,
    )


def _bound(plant: Plant, y: Array) -> float:
    return float(certificate.dual_bound(plant.problem.cost, y, rng=0).bound)


def _largest_excess(plant: Plant, rng: np.random.Generator) -> float:
    worst = -math.inf
    for spread in np.geomspace(1e-6, 10.0, 40):
        y = plant.dual + spread * rng.normal(size=plant.dual.shape)
        worst = max(worst, (_bound(plant, y) - plant.value) / plant.scale)
    return worst


@claim(
    "R5",
    title="planted optima are found, by both solvers",
    statement="Unit rows V, S PSD with S V = 0, any y and C = S + Diag(y): the SDP's value is 1^T y and V "
    "V^T attains it. With dyadic V and integer S and y nothing is rounded.",
    source="Complementary slackness, <S, V V^T> = 0. Derived.",
    computed="Dense plants of ranks 1..4 at N = 24, integer plants at N = 60 and 150 (low-rank solver): "
    "value, bound and gap that `low_rank` and `exact` report; <C, V V^T> of integer plants, without "
    "rounding.",
    falsified_by="A solver that claims certification with a value or bound off the plant by more than its "
    "tolerance.",
)
def planted_optima(trial: Trial) -> Iterator[Measurement]:
    """Solve planted problems with both solvers."""
    dense = [planted(trial.rng, trial.size(24, 48), rank) for rank in (1, 2, 3, 4)]
    integer = [planted_exactly(trial.rng, 60), planted_exactly(trial.rng, trial.size(150, 600))]
    for name, solve, plants in (
        (
            "low_rank",
            lambda problem: vispa.low_rank(problem, tol=TOLERANCE, rng=trial.rng),
            [*dense, *integer],
        ),
        ("exact", vispa.exact, [dense[0], dense[-1]]),
    ):
        solutions = [(plant, solve(plant.problem)) for plant in plants]
        value = max(abs(found.value - plant.value) / plant.scale for plant, found in solutions)
        excess = max((found.lower_bound - plant.value) / plant.scale for plant, found in solutions)
        yield at_most(f"{name}: largest |value - 1^T y|, relative", value, TOLERANCE)
        yield at_most(f"{name}: largest lower bound - 1^T y, relative", excess, 1e-12)
        yield at_most(f"{name}: largest gap", max(found.gap for _, found in solutions), TOLERANCE)
    rounding = max(
        abs(float(certificate.dual_vector(plant.problem.cost, plant.factor).sum()) - plant.value)
        for plant in integer
    )
    yield at_most("integer plants: <C, V V^T> - 1^T y", rounding, 0.0)


@claim(
    "R7",
    title="the rigorous bound never exceeds the exact optimum",
    statement="If lambda_min(S) >= -delta - eps is proved, with eps covering every rounding, then 1^T y - N "
    "(delta + eps), rounded down, is a proved lower bound.",
    source="Rump, Verification of positive definiteness, BIT 46 (2006).",
    computed="Integer plants, whose optimum 1^T y is an exact integer, solved at tol = 1e-4, 1e-6 and 1e-8 "
    "with certificate='rigorous': the bound is compared with the integer, without tolerance.",
    falsified_by="One rigorous bound above the integer optimum.",
)
def rigorous_bounds(trial: Trial) -> Iterator[Measurement]:
    """Compare proved bounds with integers."""
    excess, loss, labels = -math.inf, -math.inf, 0
    for size in (8, 30, trial.size(80, 300)):
        plant = planted_exactly(trial.rng, size)
        for tol in (1e-4, 1e-6, 1e-8):
            found = vispa.low_rank(plant.problem, tol=tol, certificate="rigorous", rng=trial.rng)
            excess = max(excess, found.lower_bound - plant.value)
            loss = max(loss, (plant.value - found.lower_bound) / plant.scale - tol)
            labels += int(found.certificate != "rigorous")
    yield at_most("largest rigorous bound - integer optimum", excess, 0.0)
    yield at_most("largest loss of a rigorous bound beyond tol, relative", loss, 1e-6)
    yield at_most("solutions not labelled rigorous", labels, 0)


CLAIMS: tuple[Claim, ...] = (dual_bounds, planted_optima, rigorous_bounds)
