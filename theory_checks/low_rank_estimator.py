"""S7: what the low-rank straight-through estimator follows, and what biases it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special

from solvers.problems.problem import BinaryQuadratic
from theory_checks import instances
from theory_checks.claim import Claim, Measurement, Trial, at_least, at_most, claim
from theory_checks.oracles import central_difference, cube, normal_grid
from vispa.estimators import losses
from vispa.estimators import registry as estimators
from vispa.gaussian.sign_gaussian import SignGaussian
from vispa.nn.weights.autograd import CorrelatedLatent

Array = NDArray[np.float64]

SIZE = 5


@claim(
    "S7",
    title="the low-rank straight-through estimator follows the SDP's objective",
    statement="grad_mu = grad L(w), grad_Z = grad L(w) g^T. At x instead of w it is exact for E[L(x)] "
    "(Bonnet, Price). With the sign E[w_i g] = (2 phi(mu_i/sigma_i)/sigma_i) z_i, so for a quadratic E[grad_Z] = "
    "2 A Diag(2 phi(mu/sigma)/sigma) Z: at mu = 0, sigma = 1, sqrt(2/pi) times the Burer-Monteiro gradient, not "
    "that of E[L(w)]; A_ii biases it when mu is not 0.",
    source="Bussgang (1952); Bonnet (1964); Price (1958). Derived.",
    computed="Exact means of `straight_through`: for K = 1, and for K = 2 at mu = 0, the signs are constant on "
    "intervals or sectors of g, each with its probability and centre. The layer's `CorrelatedLatent` under "
    "quadrature, L = cos(a x), against closed forms.",
    falsified_by="A mean off the closed form, or one that is the gradient of E[L(w)].",
)
def low_rank(trial: Trial) -> Iterator[Measurement]:
    """Take exact means of the estimator and compare them with three candidate gradients."""
    problem = instances.quadratic(trial.rng, SIZE)
    A, b = np.asarray(problem.A), problem.b
    rows = instances.unit_rows(trial.rng, SIZE, 2)
    found = _mean_gradient(problem, rows, *_intervals(rows))
    family = SignGaussian(rows[:, 0], rows[:, 1:])
    slope = estimators.gaussian_kernel(torch.from_numpy(family.ratios())).numpy() / np.abs(rows[:, 1])
    expected = np.column_stack([2.0 * A @ family.mean_signs() + b, 2.0 * A @ (slope * rows[:, 1])])
    yield at_most(
        "K = 1: largest |mean - (2 A m + b, 2 A Diag(2 phi/sigma) Z)|", np.abs(found - expected).max(), 1e-12
    )

    centred = instances.quadratic(trial.rng, SIZE, linear=False)
    V = instances.unit_rows(trial.rng, SIZE, 2)
    flat = np.column_stack([np.zeros(SIZE), V])
    mean = _mean_gradient(centred, flat, *_sectors(V))[:, 1:]
    burer_monteiro = 2.0 * np.asarray(centred.relaxation().cost @ V)
    relaxed = math.sqrt(2.0 / math.pi) * burer_monteiro
    yield at_most(
        "mu = 0: largest |mean - sqrt(2/pi) Burer-Monteiro gradient|", np.abs(mean - relaxed).max(), 1e-12
    )
    true = _slopes_of_expected_loss(centred, V)
    apart = np.abs(_tangent(mean, V) - true).max() / np.abs(true).max()
    yield at_least("the same: its distance from the gradient of E[L(w)], relative", apart, 1e-3)

    bias = found - _mean_gradient(_without_diagonal(problem), rows, *_intervals(rows))
    flat_bias = mean - _mean_gradient(_without_diagonal(centred), flat, *_sectors(V))[:, 1:]
    yield at_most(
        "mu = 0: largest part of A_ii's bias along the sphere", np.abs(_tangent(flat_bias, V)).max(), 1e-12
    )
    yield at_least("mu not 0: the same", np.abs(_tangent(bias, rows)).max(), 1e-3)
    own, zeros = _own_noise_error(problem, trial.rng), estimators.signs_of(torch.tensor([0.0, -0.0]))
    yield at_most("K = 0: largest |mean for the root residual - 4 A_ii phi(mu/s)|", own, 1e-12)
    yield at_most("zeros of either sign taken for -1", int((zeros < 0).sum()), 0)
    yield at_most(
        "at x: largest |mean of the layer's gradient - closed form|", _latent_error(trial.rng), 1e-12
    )


def _mean_gradient(problem: BinaryQuadratic, rows: Array, points: Array, probabilities: Array) -> Array:
    """Return the exact mean of the estimator, linear in g where no sign changes: (n, K + 1)."""
    A, b = torch.from_numpy(np.asarray(problem.A)), torch.from_numpy(problem.b)
    loss = losses.CallableLoss(lambda w: ((w @ A) * w).sum(dim=1) + w @ b)
    own = torch.zeros((2, SIZE), dtype=torch.float64)
    total = np.zeros(rows.shape)
    for point, probability in zip(points, probabilities, strict=True):
        # Twice the same draw: the estimator is a mean over the batch.
        draw = estimators.Draw(torch.from_numpy(np.stack([point, point])), own)
        total += (
            probability * estimators.straight_through(loss, torch.from_numpy(rows), draw).gradient.numpy()
        )
    return total


def _own_noise_error(problem: BinaryQuadratic, rng: np.random.Generator) -> float:
    """K = 0: every combination of signs has its probability and its mean noise; E[w_i e_i] = 2 phi(mu_i/s_i)."""
    mean, s = rng.normal(size=SIZE), rng.uniform(0.5, 2.0, size=SIZE)
    rows = np.column_stack([mean, s])
    density = np.exp(-0.5 * (mean / s) ** 2) / math.sqrt(2.0 * math.pi)
    A, b = torch.from_numpy(np.asarray(problem.A)), torch.from_numpy(problem.b)
    loss = losses.CallableLoss(lambda w: ((w @ A) * w).sum(dim=1) + w @ b)
    total = np.zeros(SIZE)
    for point in cube(SIZE):
        plus = special.ndtr(point * mean / s)
        centre = torch.from_numpy(point * density / plus)[None, :]
        draw = estimators.Draw(torch.zeros((1, 0), dtype=torch.float64), centre)
        total += (
            plus.prod()
            * estimators.straight_through(loss, torch.from_numpy(rows), draw).gradient[:, 1].numpy()
        )
    return float(np.abs(total - 4.0 * np.diag(np.asarray(problem.A)) * density).max())


def _intervals(rows: Array) -> tuple[Array, Array]:
    """K = 1: E[g | interval] and P(interval) between the points where a sign changes."""
    edges = np.concatenate([[-np.inf], np.sort(-rows[:, 0] / rows[:, 1]), [np.inf]])
    probability = np.where(
        edges[1:] > 0, special.ndtr(-edges[:-1]) - special.ndtr(-edges[1:]), np.diff(special.ndtr(edges))
    )
    density = np.exp(-0.5 * edges**2) / math.sqrt(2.0 * math.pi)
    likely = probability > 0
    centre = (density[:-1] - density[1:])[likely] / probability[likely]
    return np.clip(centre, edges[:-1][likely], edges[1:][likely])[:, None], probability[likely]


def _sectors(V: Array) -> tuple[Array, Array]:
    """K = 2, mu = 0: E[g | sector] and P(sector) between the angles where a sign changes."""
    angles = np.arctan2(V[:, 1], V[:, 0])
    edges = np.sort(np.concatenate([angles + 0.5 * math.pi, angles - 0.5 * math.pi]) % (2.0 * math.pi))
    edges = np.append(edges, edges[0] + 2.0 * math.pi)
    width = np.diff(edges)
    moved = np.column_stack([np.diff(np.sin(edges)), -np.diff(np.cos(edges))])
    return math.sqrt(0.5 * math.pi) * moved / width[:, None], width / (2.0 * math.pi)


def _tangent(gradient: Array, rows: Array) -> Array:
    return np.asarray(gradient - (gradient * rows).sum(axis=1, keepdims=True) * rows)


def _without_diagonal(problem: BinaryQuadratic) -> BinaryQuadratic:
    A = np.asarray(problem.A)
    return BinaryQuadratic(A - np.diag(np.diag(A)), problem.b if problem.has_linear_term else None)


def _slopes_of_expected_loss(problem: BinaryQuadratic, V: Array) -> Array:
    """Differentiate E[L(w)] of the family mu = 0, Z = V; along the sphere, since the law ignores lengths."""
    A = np.asarray(problem.A)
    slopes = np.zeros(V.shape)
    for i, k in np.ndindex(V.shape):

        def expected(t: float, i: int = i, k: int = k) -> Array:
            moved = V.copy()
            moved[i, k] += t
            return np.array([float((A * SignGaussian(np.zeros(SIZE), moved).second_moments()).sum())])

        slopes[i, k] = central_difference(expected, 1e-4)[0]
    return slopes


def _latent_error(rng: np.random.Generator) -> float:
    """Compare the layer's mean gradient with that of E[cos(a x)] = cos(a mu) exp(-|a Z|^2 / 2)."""
    scale = 100.0
    mean, Z, a = rng.normal(size=3), 0.5 * rng.normal(size=(3, 2)), rng.normal(size=3)
    nodes, weights = normal_grid(2, step=0.25)
    count = len(nodes)
    means = torch.from_numpy(np.tile(mean, (count, 1))).requires_grad_()
    factors = torch.from_numpy(np.tile(math.sqrt(scale) * Z.T, (count, 1, 1))).requires_grad_()
    # One row a node: the layer takes noise of its own for every output channel.
    latent = CorrelatedLatent.apply(means, factors, torch.from_numpy(nodes) / math.sqrt(scale), scale)
    (torch.cos(latent @ torch.from_numpy(a)) @ torch.from_numpy(weights)).backward()
    assert means.grad is not None
    assert factors.grad is not None
    decay = math.exp(-0.5 * float((a @ Z) @ (a @ Z)))
    by_mean = -math.sin(float(a @ mean)) * decay * a
    by_factor = -math.cos(float(a @ mean)) * decay * np.outer(a, a @ Z)
    errors = (
        means.grad.numpy().sum(axis=0) - by_mean,
        factors.grad.numpy().sum(axis=0).T - by_factor,
    )
    return max(float(np.abs(error).max()) for error in errors)


CLAIMS: tuple[Claim, ...] = (low_rank,)
