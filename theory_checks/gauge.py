"""G1-G4: the gauge of the sign-Gaussian family, its corners, its means and the elliptope."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import special

from theory_checks import instances
from theory_checks.claim import Claim, Measurement, Trial, at_least, at_most, claim
from theory_checks.oracles import cube, mean_field_law, sign_product_moment
from vispa.gaussian.sign_gaussian import SignGaussian

Array = NDArray[np.float64]

SIZE = 6
RANKS = (0, 1, 3, SIZE)


@claim(
    "G1",
    title="the law of w ignores the scale of a row; unit rows are the projection",
    statement="The law of w = sgn(x) does not change when x_i is multiplied by c_i > 0, so unit second "
    "moments mu_i^2 + |z_i|^2 + d_i = 1 can be had; dividing (mu_i, z_i, sqrt(d_i)) by its norm is the "
    "Euclidean projection onto them; a zero row has none.",
    source="sgn(c x) = sgn(x); the distance of a point r from the unit sphere is | |r| - 1 |.",
    computed="E[w], E[w w^T] and, for K <= 1, all 2^n probabilities before and after random scalings from "
    "1e-3 to 1e3 and after `projected()`; the distance moved against | |r| - 1 |; families with a zero "
    "row.",
    falsified_by="A scaling that moves a moment by more than rounding, or a unit row nearer than the "
    "projection.",
)
def gauge(trial: Trial) -> Iterator[Measurement]:
    """Compare a family with its rescaled and its projected versions."""
    change, moment_error, distance_error = 0.0, 0.0, 0.0
    for rank in RANKS * trial.count(1):
        original = instances.posterior(trial.rng, SIZE, rank)
        scale = 10.0 ** trial.rng.uniform(-3, 3, size=SIZE)
        rescaled = SignGaussian(
            scale * original.mean, scale[:, None] * original.factor, scale**2 * original.residual
        )
        unit = original.projected()
        change = max(change, *(_law_distance(original, other) for other in (rescaled, unit)))
        moment_error = max(moment_error, float(np.abs(np.diag(unit.elliptope())[1:] - 1.0).max()))
        before, after = _rows(original), _rows(unit)
        moment_error = max(moment_error, float(np.abs((after**2).sum(axis=1) - 1.0).max()))
        moved = np.linalg.norm(after - before, axis=1)
        distance_error = max(
            distance_error, float(np.abs(moved - abs(np.linalg.norm(before, axis=1) - 1.0)).max())
        )
    yield at_most("largest change of a moment or probability under rescaling and projection", change, 1e-12)
    yield at_most("largest |mu_i^2 + |z_i|^2 + d_i - 1| after projection", moment_error, 1e-14)
    yield at_most("largest difference of the distance moved from | |r| - 1 |", distance_error, 1e-13)
    yield at_most("families with a zero row that were not refused", _zero_rows_accepted(), 0)
    yield at_most(
        "zero rows, whose sign is sgn(0) = +1: |E[w] - 1| and |P(w = 1) - 1|", _zero_row_error(), 1e-14
    )


def _rows(posterior: SignGaussian) -> Array:
    return np.column_stack([posterior.mean, posterior.factor, np.sqrt(posterior.residual)])


def _law_distance(first: SignGaussian, second: SignGaussian) -> float:
    pairs = [
        (first.mean_signs(), second.mean_signs()),
        (first.second_moments(), second.second_moments()),
    ]
    if first.rank <= 1:
        pairs.append((first.probabilities(), second.probabilities()))
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def _zero_rows_accepted() -> int:
    accepted = 0
    for rank in RANKS:
        try:
            SignGaussian([0.5, 0.0], np.zeros((2, rank)), [0.5, 0.0]).projected()
        except ValueError:
            continue
        accepted += 1
    return accepted


def _zero_row_error() -> float:
    """A weight without mean and noise of its own is the constant sgn(0), beside one that is random."""
    law = SignGaussian([0.0, 0.3], [[0.0], [1.0]], [0.0, 0.5])
    return max(abs(float(law.mean_signs()[0]) - 1.0), abs(float(law.probabilities()[2:].sum()) - 1.0))


@claim(
    "G2",
    title="K = 0 is the factorised corner, d = 0 the Burer-Monteiro corner",
    statement="K = 0 and d = 1 - mu^2: independent signs with E[w_i] = 2 Phi(mu_i / sqrt(1 - mu_i^2)) - 1. "
    "d = 0: unit rows (mu_i, z_i) of width K + 1, a Burer-Monteiro point; at mu = 0, E[w w^T] = (2/pi) "
    "arcsin(Z Z^T). In general both noises add: Sigma = Z Z^T + Diag(d).",
    source="Sheppard (1899) for the arcsine; Burer and Monteiro (2003) for the factorisation.",
    computed="All 2^n probabilities of the first corner against the product law; the moments of the second "
    "against the arcsine; moments between the corners by quadrature conditional on one sign.",
    falsified_by="A dependent pair at K = 0, a rank above K + 1 at d = 0, or a moment off its closed form.",
)
def corners(trial: Trial) -> Iterator[Measurement]:
    """Compare both corners with closed forms, and the interior with quadrature."""
    mean = trial.rng.uniform(-0.95, 0.95, size=SIZE)
    independent = mean_field_law(special.erf(mean / np.sqrt(2.0 * (1.0 - mean**2))))
    factorised = SignGaussian.factorised(mean)
    product_error = np.abs(factorised.probabilities() - independent).max()
    yield at_most("K = 0: largest error of a probability against the product law", product_error, 1e-13)

    rank = 3
    Z = instances.unit_rows(trial.rng, SIZE, rank)
    arcsine = 2.0 / math.pi * np.arcsin(np.clip(Z @ Z.T, -1.0, 1.0))
    np.fill_diagonal(arcsine, 1.0)
    corner = SignGaussian(np.zeros(SIZE), Z)
    yield at_most(
        "d = 0, mu = 0: largest error of E[w w^T] against the arcsine",
        np.abs(corner.second_moments() - arcsine).max(),
        1e-13,
    )
    rows = instances.unit_rows(trial.rng, SIZE, rank + 1)
    vispa = SignGaussian(rows[:, 0], rows[:, 1:])
    yield at_most(
        "d = 0: largest error of Y against V V^T with V of width K + 1",
        np.abs(vispa.elliptope()[1:, 1:] - rows @ rows.T).max(),
        1e-14,
    )
    between = instances.posterior(trial.rng, SIZE, 2)
    yield at_most(
        "both noises: largest error of E[w_i w_j] against quadrature",
        max(_pair_errors(between)),
        1e-10,
    )


def _pair_errors(posterior: SignGaussian) -> Iterator[float]:
    Sigma = posterior.factor @ posterior.factor.T + np.diag(posterior.residual)
    moments = posterior.second_moments()
    for i in range(posterior.n):
        for j in range(i):
            pair = np.array([i, j])
            reference = sign_product_moment(posterior.mean[pair], Sigma[np.ix_(pair, pair)])
            yield abs(float(moments[i, j]) - reference)


@claim(
    "G3",
    title="in the gauge the attainable means fill the box exactly",
    statement="The gauge makes the set of attainable means exactly [-1, 1]^n, for the latent mean mu and "
    "for E[w]. Weight clipping is another projection: of mu alone, with d as slack.",
    source="mu_i^2 <= mu_i^2 + |z_i|^2 + d_i = 1, with equality where z_i = 0 and d_i = 0.",
    computed="`factorised` at random targets, at all corners and on edges of the box; the largest mean of "
    "random projected families; both projections of a row with mu = 0.9 and d = 1, whose distance is "
    "closed form.",
    falsified_by="A target in the box that the family misses, or a projected family with a mean outside it.",
)
def box(trial: Trial) -> Iterator[Measurement]:
    """Try to miss a point of the box, and to leave it."""
    interior = trial.rng.uniform(-1.0, 1.0, size=(trial.count(200), SIZE))
    edges = np.where(trial.rng.random(interior.shape) < 0.5, np.sign(interior), interior)
    targets = np.concatenate([interior, edges, cube(SIZE), np.zeros((1, SIZE))])
    missed = max(float(np.abs(SignGaussian.factorised(t).projected().mean - t).max()) for t in targets)
    yield at_most("largest |mu - target| over the box, its edges and corners", missed, 1e-15)

    ratio = special.ndtri(0.5 * (1.0 + 0.999 * interior))
    latent = ratio / np.sqrt(1.0 + ratio**2)
    sign_missed = max(
        float(np.abs(SignGaussian.factorised(m).mean_signs() - 0.999 * t).max())
        for m, t in zip(latent, interior, strict=True)
    )
    yield at_most("largest |E[w] - target| over the interior", sign_missed, 1e-12)

    families = [instances.posterior(trial.rng, SIZE, rank) for rank in RANKS for _ in range(trial.count(50))]
    largest = max(float(np.abs(family.projected().mean).max()) for family in families)
    yield at_most("largest |mu_i| of a projected family", largest, 1.0)
    projected = SignGaussian([0.9], None, [1.0]).projected().mean[0]
    clipped = SignGaussian.factorised(np.clip([0.9], -1.0, 1.0)).mean[0]
    apart = 0.9 - 0.9 / math.sqrt(1.81)
    yield at_most(
        "error of the distance between both projections, 0.231", abs(clipped - projected - apart), 1e-15
    )


@claim(
    "G4",
    title="variational family and Shor relaxation share one feasible set",
    statement="With K free, Y = [[1, mu^T], [mu, Sigma + mu mu^T]] runs over exactly {Y PSD, diag(Y) = 1}, "
    "and rank(Y) = 1 + rank(Sigma). From unit rows V: rotate v_0 to e_1 and split the columns.",
    source="Schur complement of the corner 1 in Y; Shor (1987).",
    computed="Y of random families: its blocks, smallest eigenvalue, rank for K = 0..n. Conversely random Y "
    "of every rank 1..n+1, factored in a random basis, through `from_solution` and back.",
    falsified_by="A family whose Y leaves the elliptope, or a Y that no family attains.",
)
def elliptope(trial: Trial) -> Iterator[Measurement]:
    """Go from families to Y and from Y to families."""
    block_error, factor_error, smallest, wrong_ranks = 0.0, 0.0, math.inf, 0
    for rank in range(SIZE + 1):
        for noise in (0.0, 1.0):
            if rank == 0 and noise == 0.0:
                continue
            unit = instances.posterior(trial.rng, SIZE, rank, noise=noise).projected()
            Sigma = unit.factor @ unit.factor.T + np.diag(unit.residual)
            Y = unit.elliptope()
            expected = np.block(
                [
                    [np.ones((1, 1)), unit.mean[None, :]],
                    [unit.mean[:, None], Sigma + np.outer(unit.mean, unit.mean)],
                ]
            )
            block_error = max(block_error, float(np.abs(Y - expected).max()))
            V, weights_alone = unit.to_factor(), unit.to_factor(homogenised=False)
            error = max(float(np.abs(V @ V.T - Y).max()), float(np.abs(weights_alone - V[1:]).max()))
            factor_error = max(factor_error, error)
            smallest = min(smallest, float(np.linalg.eigvalsh(Y)[0]))
            wrong_ranks += int(_rank(Y) != 1 + _rank(Sigma))
    yield at_most("largest error of a block of Y", block_error, 1e-14)
    yield at_most("largest error of V V^T against Y, V = to_factor()", factor_error, 1e-14)
    yield at_least("smallest eigenvalue of any Y", smallest, -1e-14)
    yield at_most("families with rank(Y) other than 1 + rank(Sigma)", wrong_ranks, 0)

    attained_error, wrong_widths = 0.0, 0
    for rank in range(1, SIZE + 2):
        V = instances.unit_rows(trial.rng, SIZE + 1, rank)
        with_mean = SignGaussian.from_solution(instances.elliptope_point(V, homogenised=True))
        without = SignGaussian.from_solution(instances.elliptope_point(V, homogenised=False))
        attained_error = max(
            attained_error,
            float(np.abs(with_mean.elliptope() - V @ V.T).max()),
            float(np.abs(without.latent_covariance() - V @ V.T).max()),
            float(np.abs(without.mean).max()),
        )
        wrong_widths += int(with_mean.rank != rank - 1) + int(without.rank != rank)
    yield at_most("largest error of Y through from_solution, with and without a mean", attained_error, 1e-13)
    yield at_most("families whose K is not k - 1 (with mean) or k (without)", wrong_widths, 0)


def _rank(matrix: Array) -> int:
    return int(np.linalg.matrix_rank(matrix, tol=1e-10, hermitian=True))


CLAIMS: tuple[Claim, ...] = (gauge, corners, box, elliptope)
