"""S10: how often the sign of the deterministic straight-through gradient is wrong, in closed form and by trial."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special

from solvers.problems.problem import BinaryQuadratic
from theory_checks.claim import Claim, Measurement, Trial, at_least, at_most, claim
from theory_checks.monte_carlo import ERROR_PROBABILITY, hoeffding_radius
from theory_checks.oracles import cube
from vispa.estimators import biased as heuristics
from vispa.estimators import exact_gradient
from vispa.estimators.latent import Draw
from vispa.estimators.losses import QuadraticLoss
from vispa.gaussian.sign_gaussian import SignGaussian

Array = NDArray[np.float64]


def closed_form_share(means: Array) -> float:
    r"""Average over rows m = E[w] and weights i of arccos(\|m\|_1 / (sqrt(n - 1) \|m\|_2)) / pi, m without m_i.

    The two gradients at weight i are a . m and a . sgn(m) with a standard normal: jointly normal with that
    cosine, so their signs differ with its angle over pi (Sheppard 1899).

    Parameters
    ----------
    means : (samples, n) ndarray
        n >= 2.

    Examples
    --------
    >>> closed_form_share(np.array([[0.5, -0.5, 0.5]]))
    0.0
    >>> round(closed_form_share(np.random.default_rng(0).uniform(-1, 1, (200, 500))), 3)
    0.167
    """
    absolute = np.abs(means)
    total = absolute.sum(axis=1, keepdims=True) - absolute
    square = (absolute**2).sum(axis=1, keepdims=True) - absolute**2
    cosine = total / np.sqrt((means.shape[1] - 1) * square)
    return float(np.arccos(np.minimum(cosine, 1.0)).mean() / math.pi)


def random_problem(rng: np.random.Generator, n: int) -> tuple[BinaryQuadratic, SignGaussian]:
    """Gaussian couplings without a diagonal, and independent weights with uniform means."""
    upper = np.triu(rng.normal(size=(n, n)), 1)
    ratio = special.ndtri(0.5 * (1.0 + rng.uniform(-1.0, 1.0, size=n)))
    return BinaryQuadratic(upper + upper.T), SignGaussian.factorised(ratio / np.sqrt(1.0 + ratio**2))


def simulated_share(rng: np.random.Generator, n: int, problems: int) -> tuple[float, float]:
    """Share of weights whose deterministic gradient has the wrong sign, with its standard error.

    The truth is the gradient at the mean, exact here for independent weights (S2).
    """
    shares = np.empty(problems)
    empty = Draw(torch.zeros((1, 0), dtype=torch.float64), torch.zeros((1, n), dtype=torch.float64))
    for trial in range(problems):
        problem, law = random_problem(rng, n)
        loss = QuadraticLoss(problem, dtype=torch.float64, device=torch.device("cpu"))
        rows = torch.from_numpy(np.column_stack([law.mean, np.sqrt(law.residual)]))
        true = heuristics.at_mean(loss, rows, empty).gradient[:, 0]
        found = heuristics.deterministic(loss, rows, empty).gradient[:, 0]
        shares[trial] = float((torch.sign(true) != torch.sign(found)).double().mean())
    return float(shares.mean()), float(shares.std(ddof=1) / math.sqrt(problems))


def _error_of_truth(rng: np.random.Generator, n: int, problems: int) -> float:
    """Largest difference of the gradient at the mean from the enumerated one."""
    empty = Draw(torch.zeros((1, 0), dtype=torch.float64), torch.zeros((1, n), dtype=torch.float64))
    worst = 0.0
    for _ in range(problems):
        problem, law = random_problem(rng, n)
        loss = QuadraticLoss(problem, dtype=torch.float64, device=torch.device("cpu"))
        rows = torch.from_numpy(np.column_stack([law.mean, np.sqrt(law.residual)]))
        found = heuristics.at_mean(loss, rows, empty).gradient[:, 0].numpy()
        exact = exact_gradient.exact_gradient(problem.evaluate(cube(n)), law).mean
        worst = max(worst, float(np.abs(found - exact).max()))
    return worst


@claim(
    "S10",
    title="the deterministic straight-through gradient has a sixth of its signs wrong",
    statement="The gradient at sgn(mu) is that of no expectation. For independent weights with means m and "
    "Gaussian couplings its sign is wrong with probability arccos(|m|_1 / (sqrt(n-1) |m|_2)) / pi over the other "
    "weights: about 16 % at n = 12 for uniform means, 1/6 in the limit.",
    source="Both gradients are jointly normal; Sheppard (1899). Derived.",
    computed="Random couplings without a diagonal, n = 12: signs of `deterministic` against `at_mean`, which the "
    "exact gradient by enumeration confirms, within Hoeffding's radius of the closed form.",
    falsified_by="A share outside the radius, or an exact gradient that is not the one at the mean.",
)
def deterministic_signs(trial: Trial) -> Iterator[Measurement]:
    """Count wrong signs."""
    n, problems = 12, trial.count(1500)
    yield at_most("largest |gradient at the mean - exact gradient|", _error_of_truth(trial.rng, n, 2), 1e-9)
    share, _ = simulated_share(trial.rng, n, problems)
    expected = closed_form_share(trial.rng.uniform(-1.0, 1.0, size=(100_000, n)))
    # Two samples: of the problems, and of the means over which the closed form is averaged.
    radius = hoeffding_radius(1.0, problems) + hoeffding_radius(1.0, 100_000)
    yield at_most(
        "|share of wrong signs - closed form|",
        abs(share - expected),
        radius,
        error_probability=2.0 * ERROR_PROBABILITY,
    )
    yield at_least("share of wrong signs", share, 0.06, error_probability=ERROR_PROBABILITY)
    limit = closed_form_share(trial.rng.uniform(-1.0, 1.0, size=(200, 4000)))
    yield at_most("|closed form at n = 4000 - 1/6|", abs(limit - 1.0 / 6.0), 2e-3)


CLAIMS: tuple[Claim, ...] = (deterministic_signs,)
