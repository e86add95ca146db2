"""S4-S6, S8 and V5: edges and vertices of the cube, correlated weights, and temperature zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

import vispa
from solvers.problems.problem import BinaryQuadratic
from theory_checks import instances
from theory_checks.claim import Claim, Measurement, Trial, at_least, at_most, claim
from theory_checks.monte_carlo import ERROR_PROBABILITY, hoeffding_radius
from theory_checks.oracles import central_difference, cube
from theory_checks.straight_through import Polynomial
from vispa.estimators import exact_gradient, losses
from vispa.estimators import registry as estimators
from vispa.gaussian.sign_gaussian import SignGaussian

Array = NDArray[np.float64]

SIZE = 5


@claim(
    "S4",
    title="the gradient at a vertex misses the edge difference by A_ii",
    statement="If dL/dw_i is Lipschitz with constant M_i along edge i, |dL/dw_i(w) - (L(w_i=+1) - "
    "L(w_i=-1))/2| <= M_i; for a quadratic the difference is exactly 2 A_ii w_i, and 0 once w_i^2 = 1 has "
    "moved the diagonal into the constant.",
    source="Mean value theorem along the edge. Derived.",
    computed="All edges of the cube, n = 5: `CallableLoss` on a quadratic and on a sum of cosines, "
    "`QuadraticLoss` on the same quadratic, `BinaryQuadratic.evaluate` for the differences.",
    falsified_by="An edge on which the difference is not 2 A_ii w_i, or exceeds M_i.",
)
def edges(trial: Trial) -> Iterator[Measurement]:
    """Compare gradients at all vertices with differences along all edges."""
    problem = instances.quadratic(trial.rng, SIZE)
    A, b = torch.from_numpy(np.asarray(problem.A)), torch.from_numpy(problem.b)
    points = cube(SIZE)
    differences = _half_differences(problem.evaluate, points)
    raw = losses.CallableLoss(lambda w: ((w @ A) * w).sum(dim=1) + w @ b).gradients(torch.from_numpy(points))[
        1
    ]
    bias = raw.numpy() - differences
    expected = 2.0 * np.diag(np.asarray(problem.A)) * points
    yield at_most("quadratic: largest |bias - 2 A_ii w_i|", np.abs(bias - expected).max(), 1e-12)
    moved = losses.QuadraticLoss(problem, dtype=torch.float64, device=torch.device("cpu"))
    exact = moved.gradients(torch.from_numpy(points))[1].numpy()
    yield at_most(
        "QuadraticLoss: largest |gradient - edge difference|", np.abs(exact - differences).max(), 1e-12
    )

    frequencies = trial.rng.normal(size=(8, SIZE))
    waves = torch.from_numpy(frequencies)
    smooth = losses.CallableLoss(lambda w: torch.cos(w @ waves.T).sum(dim=1))
    gradient = smooth.gradients(torch.from_numpy(points))[1].numpy()
    difference = _half_differences(lambda w: np.cos(w @ frequencies.T).sum(axis=1), points)
    lipschitz = (frequencies**2).sum(axis=0)
    excess = (np.abs(gradient - difference) - lipschitz).max()
    yield at_most("sum of cosines: largest |bias| - M_i", excess, 0.0)


def _half_differences(function: Callable[[Array], Array], points: Array) -> Array:
    columns = []
    for i in range(SIZE):
        up, down = points.copy(), points.copy()
        up[:, i], down[:, i] = 1.0, -1.0
        columns.append(0.5 * (function(up) - function(down)))
    return np.column_stack(columns)


@claim(
    "S5",
    title="the multilinear extension is least at a vertex",
    statement="L^(m) = E[L(w)] for independent w with means m attains its minimum over [-1, 1]^n at a "
    "vertex: the K = 0 problem has no relaxation gap.",
    source="L^ is affine in each coordinate. Derived.",
    computed="`QuadraticLoss` at 300 interior points: against the enumerated expectation, against brute "
    "force, and along the walk that takes each coordinate in turn to its better end.",
    falsified_by="An interior point below the binary minimum, or a walk that has to climb.",
)
def vertices(trial: Trial) -> Iterator[Measurement]:
    """Walk from inside the cube to its vertices."""
    problem = instances.quadratic(trial.rng, SIZE)
    loss = losses.QuadraticLoss(problem, dtype=torch.float64, device=torch.device("cpu"))

    def extension(points: Array) -> Array:
        return np.asarray(loss.values(torch.from_numpy(points)).numpy())

    interior = trial.rng.uniform(-1.0, 1.0, size=(trial.count(300), SIZE))
    plus = 0.5 * (1.0 + interior)
    weights = np.where(cube(SIZE) > 0, plus[:, None, :], 1.0 - plus[:, None, :]).prod(axis=-1)
    expected = weights @ problem.evaluate(cube(SIZE))
    climb, walk = -math.inf, interior.copy()
    for i in range(SIZE):
        before = extension(walk)
        ends = [np.where(np.arange(SIZE) == i, end, walk) for end in (1.0, -1.0)]
        better = extension(ends[0]) <= extension(ends[1])
        walk = np.where(better[:, None], ends[0], ends[1])
        climb = max(climb, float((extension(walk) - before).max()))
    minimum = vispa.brute_force(problem).value
    yield at_most("largest |L^(m) - enumerated E[L]|", np.abs(extension(interior) - expected).max(), 1e-12)
    yield at_most("largest climb on the way to a vertex", climb, 1e-12)
    yield at_least("smallest L^(m) - binary minimum", float(extension(interior).min()) - minimum, 0.0)
    yield at_most(
        "|best vertex reached - binary minimum|", abs(float(extension(walk).min()) - minimum), 1e-12
    )


@claim(
    "S6",
    title="with correlation, the true gradient conditions on x_i = 0",
    statement="Sigma fixed, sigma_i > 0: dE[L]/dmu_i = (2 phi(mu_i/sigma_i)/sigma_i) E[(L(w_i=+1) - "
    "L(w_i=-1))/2 | x_i = 0]. The straight-through estimator drops the condition; without correlation it "
    "may.",
    source="Differentiate the event x_i > 0. Derived.",
    computed="Random multilinear losses, n = 5, K = 1: differences of `probabilities` @ L in mu_i against "
    "the law of the others given x_i = 0, itself a sign-Gaussian, by enumeration, and against "
    "`exact_gradient`; the mean of `conditional`, with residual noise and without, within Hoeffding's radius.",
    falsified_by="A family in which the conditional form is not the derivative, or an estimate off its radius.",
)
def conditional_gradient(trial: Trial) -> Iterator[Measurement]:
    """Differentiate the exact expectation, and condition the exact law."""
    error, dropped, independent, library = 0.0, 0.0, 0.0, 0.0
    for slope in [1.0, 1.0, 0.0] * trial.count(1):
        family = instances.posterior(trial.rng, SIZE, 1)
        family = SignGaussian(family.mean, slope * family.factor, family.residual)
        loss = Polynomial(trial.rng, SIZE)
        values, halves = loss.values(cube(SIZE)), loss.half_differences(cube(SIZE))
        exact = exact_gradient.exact_gradient(values, family).mean
        for i in range(SIZE):
            truth = _derivative(family, values, i)
            sigma = math.sqrt(family.latent_covariance()[i, i])
            kernel = 2.0 * math.exp(-0.5 * (family.mean[i] / sigma) ** 2) / math.sqrt(2.0 * math.pi) / sigma
            given = kernel * float(_given_zero(family, i).probabilities() @ halves[:, i])
            unconditional = kernel * float(family.probabilities() @ halves[:, i])
            error = max(error, abs(truth - given))
            library = max(library, abs(truth - exact[i]))
            if slope:
                dropped = max(dropped, abs(truth - unconditional))
            else:
                independent = max(independent, abs(truth - unconditional))
    yield at_most("largest |dE[L]/dmu_i - conditional form|", error, 1e-8)
    yield at_most("largest |dE[L]/dmu_i - exact_gradient|", library, 1e-8)
    yield at_least("largest error without the condition, correlated", dropped, 1e-3)
    yield at_most("largest error without the condition, independent", independent, 1e-8)
    yield from _conditional_estimates(trial)


def _conditional_estimates(trial: Trial) -> Iterator[Measurement]:
    """Average `conditional` for a table of losses, with residual noise and, as in the published layer, without."""
    loss = Polynomial(trial.rng, SIZE)
    samples = trial.count(4000)
    for noise in (1.0, 0.0):
        family = instances.posterior(trial.rng, SIZE, 1, noise=noise)
        columns = [family.mean, family.factor] + [np.sqrt(family.residual)] * (noise > 0)
        rows = torch.from_numpy(np.column_stack(columns))
        generator = torch.Generator().manual_seed(int(trial.rng.integers(2**62)))
        draw = estimators.draw_noise(rows, 1, samples, generator=generator)
        wrapped = losses.CallableLoss(loss.torch)
        found = estimators.conditional(wrapped, rows, draw).gradient[:, 0].numpy()
        truth = exact_gradient.exact_gradient(loss.values(cube(SIZE)), family).mean
        sigma = np.sqrt(np.diag(family.latent_covariance()))
        kernel = 2.0 * np.exp(-0.5 * (family.mean / sigma) ** 2) / np.sqrt(2.0 * np.pi) / sigma
        # A draw lies between +- kernel max |D_i|.
        width = 2.0 * kernel * np.abs(loss.half_differences(cube(SIZE))).max(axis=0)
        radius = hoeffding_radius(1.0, samples)
        share = float((np.abs(found - truth) / width).max())
        quantity = f"conditional, {'d > 0' if noise else 'd = 0'}: largest |mean - exact| over its range"
        yield at_most(quantity, share, radius, error_probability=SIZE * ERROR_PROBABILITY)


def _derivative(family: SignGaussian, values: Array, i: int) -> float:
    unit = np.eye(SIZE)[i]

    def expectation(t: float) -> Array:
        moved = SignGaussian(family.mean + t * unit, family.factor, family.residual)
        return np.array([float(moved.probabilities() @ values)])

    return float(central_difference(expectation, 1e-3)[0])


def _given_zero(family: SignGaussian, i: int) -> SignGaussian:
    """Law of the signs given x_i = 0 (K = 1): g is normal again; w_i itself is left as any constant."""
    z, variance = family.factor[:, 0], family.latent_covariance()[i, i]
    centre = -z[i] * family.mean[i] / variance
    spread = math.sqrt(max(1.0 - z[i] ** 2 / variance, 0.0))
    mean, factor = family.mean + z * centre, spread * family.factor
    keep = np.arange(SIZE) != i
    return SignGaussian(
        np.where(keep, mean, 0.0), factor * keep[:, None], np.where(keep, family.residual, 1.0)
    )


@claim(
    "S8",
    title="Price: the slope of E[w_i w_j] in Sigma_ij is four times a density",
    statement="i != j, |rho| < 1, Sigma_ij and Sigma_ji moved together: dE[w_i w_j]/dSigma_ij = 4 x the "
    "bivariate normal density at 0.",
    source="Price, A useful theorem for nonlinear devices having Gaussian inputs (1958).",
    computed="Random means and covariances of two weights: fourth-order differences of `second_moments` in "
    "Sigma_12 against the density.",
    falsified_by="A pair at which they differ.",
)
def price(trial: Trial) -> Iterator[Measurement]:
    """Differentiate the sign moment of random pairs."""
    worst = 0.0
    for _ in range(trial.count(12)):
        mean, deviation = trial.rng.normal(size=2), trial.rng.uniform(0.5, 2.0, size=2)
        covariance = np.outer(deviation, deviation)
        covariance[0, 1] = covariance[1, 0] = trial.rng.uniform(-0.8, 0.8) * covariance[0, 1]

        def moment(t: float, mean: Array = mean, covariance: Array = covariance) -> Array:
            shifted = covariance + t * (np.ones((2, 2)) - np.eye(2))
            return np.array([SignGaussian(mean, np.linalg.cholesky(shifted)).second_moments()[0, 1]])

        found = float(central_difference(moment, 1e-3 * covariance[0, 0] ** 0.5 * covariance[1, 1] ** 0.5)[0])
        exponent = -0.5 * float(mean @ np.linalg.solve(covariance, mean))
        density = math.exp(exponent) / (2.0 * math.pi * math.sqrt(float(np.linalg.det(covariance))))
        worst = max(worst, abs(found - 4.0 * density) / max(4.0 * density, 1e-3))
    yield at_most("largest |slope - 4 density|, relative to it or to 1e-3", worst, 1e-6)


@claim(
    "V5",
    title="at temperature zero rank moves R1's objective, not the optimum",
    statement="T = 0, d = 0: inf E[L(w)] = min L for every K. The latent objective <C, Y>, by contrast, "
    "falls to the SDP's value, below min L where the relaxation has a gap.",
    source="E[L(w)] is a mean of values of L, and vertices are members of the family. Derived.",
    computed="Random quadratics with b, n = 9: E[L] of random and of the SDP's own families from exact "
    "moments against brute force; the family at the minimiser, mu = w, Z = 0, for K = 0..3.",
    falsified_by="A family whose E[L(w)] is below the minimum, or a minimum not attained.",
)
def zero_temperature(trial: Trial) -> Iterator[Measurement]:
    """Try to go below the minimum; attain it at every rank; then watch the latent objective pass it."""
    below, missed, relaxed, n = math.inf, 0.0, 0.0, trial.size(9, 16)
    for _ in range(3):
        problem = instances.quadratic(trial.rng, n)
        best = vispa.brute_force(problem)
        solution = vispa.low_rank(problem, rng=trial.rng)
        families = [instances.posterior(trial.rng, n, rank, noise=0.0) for rank in (1, 2, 3)]
        families.append(SignGaussian.from_solution(solution))
        below = min(below, *(_expected_loss(problem, family) - best.value for family in families))
        corners = [SignGaussian(best.point, np.zeros((n, rank))) for rank in range(4)]
        missed = max(missed, *(abs(_expected_loss(problem, vertex) - best.value) for vertex in corners))
        latent = (
            float((np.asarray(problem.relaxation().cost) * families[-1].elliptope()).sum()) + problem.constant
        )
        relaxed = max(relaxed, abs(latent - solution.value))
    yield at_least("smallest E[L(w)] - min L", below, -1e-12)
    yield at_most("largest |E[L(w)] - min L| at the minimiser, K = 0..3", missed, 1e-12)
    yield at_most("largest |latent objective of the SDP's family - SDP value|", relaxed, 1e-12)


def _expected_loss(problem: BinaryQuadratic, family: SignGaussian) -> float:
    quadratic = float((np.asarray(problem.A) * family.second_moments()).sum())
    return quadratic + float(problem.b @ family.mean_signs()) + problem.constant


STRAIGHT_THROUGH: tuple[Claim, ...] = (edges, vertices, conditional_gradient, price)
BOUND: tuple[Claim, ...] = (zero_temperature,)
