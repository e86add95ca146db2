"""Estimators and kernels against derivatives by enumeration."""

import numpy as np
import pytest
import torch
from instances import seeded

from solvers.problems.problem import BinaryQuadratic
from vispa import SignGaussian
from vispa.estimators.losses import CallableLoss, QuadraticLoss
from vispa.estimators.registry import (
    ESTIMATORS,
    bireal_kernel,
    draw_noise,
    gaussian_kernel,
    hard_tanh_kernel,
    identity_kernel,
    noise_of,
    score,
    ste_kernel,
    straight_through,
    swish_sign_kernel,
    tanh_kernel,
)
from vispa.gaussian.enumeration import all_signs
from vispa.inference.free_energy import mean_field_negentropy, semi_implicit_negentropy

CPU = torch.device("cpu")
KERNELS = [hard_tanh_kernel, bireal_kernel, tanh_kernel, gaussian_kernel]
POINTS = torch.from_numpy(all_signs(4).astype(float))


def law_of(rows: np.ndarray) -> SignGaussian:
    return SignGaussian(rows[:, 0], rows[:, 1:-1], rows[:, -1] ** 2)


def random_rows(rank: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(4, rank + 2))
    rows[:, -1] = np.abs(rows[:, -1]) + 0.4
    return rows


def numerical_gradient(function, rows: np.ndarray) -> np.ndarray:
    gradient, step = np.zeros_like(rows), 1e-5
    for index in np.ndindex(rows.shape):
        shift = np.zeros_like(rows)
        shift[index] = step
        gradient[index] = (function(rows + shift) - function(rows - shift)) / (2 * step)
    return gradient


def batch_gradients(
    estimator, loss, rows: np.ndarray, batches: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    generator, tensor = seeded(), torch.from_numpy(rows)
    gradients = np.stack(
        [
            estimator(loss, tensor, draw_noise(tensor, rows.shape[1] - 2, size, generator=generator))[
                2
            ].numpy()
            for _ in range(batches)
        ]
    )
    return gradients.mean(0), gradients.std(0) / np.sqrt(batches)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("name", ["gaussian", "rao-blackwell", "score"])
def test_exact_estimators_are_unbiased_for_a_quadratic(name: str, rank: int) -> None:
    rng = np.random.default_rng(1)
    M = rng.normal(size=(4, 4))
    problem = BinaryQuadratic(M + M.T, rng.normal(size=4))  # the diagonal is not zero
    rows = random_rows(rank)
    exact = numerical_gradient(
        lambda r: float(law_of(r).probabilities() @ problem.evaluate(all_signs(4))), rows
    )
    loss = QuadraticLoss(problem, dtype=torch.float64, device=CPU)
    mean, error = batch_gradients(ESTIMATORS[name], loss, rows, batches=100, size=600)
    assert np.all(np.abs(mean - exact) < 5 * error + 1e-9)
    assert error.max() < 0.1


def test_score_is_unbiased_for_a_loss_without_gradient() -> None:
    table = torch.from_numpy(np.random.default_rng(5).normal(size=16))

    def lookup(w: torch.Tensor) -> torch.Tensor:
        return table[((w > 0).long() * torch.tensor([8, 4, 2, 1])).sum(dim=1)]

    rows = random_rows(1, seed=3)
    exact = numerical_gradient(lambda r: float(law_of(r).probabilities() @ table.numpy()), rows)
    mean, error = batch_gradients(score, CallableLoss(lookup), rows, batches=100, size=600)
    assert np.all(np.abs(mean - exact) < 5 * error + 1e-9)
    # The baseline keeps a constant out of the variance.
    shifted, _ = batch_gradients(score, CallableLoss(lambda w: lookup(w) + 1e6), rows, batches=1, size=600)
    plain, _ = batch_gradients(score, CallableLoss(lookup), rows, batches=1, size=600)
    np.testing.assert_allclose(shifted, plain, atol=1e-6)


def test_score_variance_falls_under_rao_blackwell() -> None:
    rng = np.random.default_rng(2)
    M = rng.normal(size=(4, 4))
    loss = QuadraticLoss(BinaryQuadratic(M + M.T), dtype=torch.float64, device=CPU)
    errors = [
        batch_gradients(ESTIMATORS[name], loss, random_rows(1), batches=60, size=50)[1].mean()
        for name in ("score", "gaussian", "rao-blackwell")
    ]
    assert errors[0] > errors[1] > errors[2]


def test_independent_straight_through_gradient_is_the_gradient_at_the_mean() -> None:
    # E[grad L^(w)] = grad L^(m) exactly, and the true gradient is that times 2 phi(h) / sigma.
    rng = np.random.default_rng(8)
    M, b = rng.normal(size=(4, 4)), rng.normal(size=4)
    A = M + M.T - np.diag(np.diag(M + M.T))
    rows = random_rows(0, seed=4)
    law, W = law_of(rows), all_signs(4).astype(float)
    gradients = 2 * W @ A + b
    at_mean = 2 * A @ law.mean_signs() + b
    np.testing.assert_allclose(law.probabilities() @ gradients, at_mean, atol=1e-13)
    problem = BinaryQuadratic(A, b)
    true = numerical_gradient(lambda r: float(law_of(r).probabilities() @ problem.evaluate(W)), rows)[:, 0]
    weight = gaussian_kernel(torch.from_numpy(law.ratios())).numpy() / rows[:, -1]
    np.testing.assert_allclose(true, weight * at_mean, rtol=1e-7)


def test_low_rank_estimator_follows_the_semidefinite_objective() -> None:
    # Bussgang: E[grad_Z] = 2 A Diag(2 phi(mu/sigma)/sigma) Z, and E[grad_mu] = 2 A E[w] + b.
    rng = np.random.default_rng(6)
    M, b = rng.normal(size=(4, 4)), rng.normal(size=4)
    A = M + M.T - np.diag(np.diag(M + M.T))
    loss = QuadraticLoss(BinaryQuadratic(A, b), dtype=torch.float64, device=CPU)
    rows = rng.normal(size=(4, 3))
    tensor, generator = torch.from_numpy(rows), seeded(3)
    gradients = np.stack(
        [
            straight_through(loss, tensor, draw_noise(tensor, 2, 1000, generator=generator)).gradient.numpy()
            for _ in range(200)
        ]
    )
    mean, error = gradients.mean(0), gradients.std(0) / np.sqrt(200)
    law = SignGaussian(rows[:, 0], rows[:, 1:])
    sigma = np.linalg.norm(rows[:, 1:], axis=1)
    slope = gaussian_kernel(torch.from_numpy(law.ratios())).numpy() / sigma
    expected = np.column_stack([2 * A @ law.mean_signs() + b, 2 * A @ (slope[:, None] * rows[:, 1:])])
    assert np.all(np.abs(mean - expected) < 5 * error)


def test_covariance_derivative_is_the_density_at_zero() -> None:
    # Price: d E[w_i w_j] / d Sigma_ij = 4 phi_2 at latent value 0.
    mean, covariance, step = np.array([0.3, -0.5]), np.array([[1.0, 0.4], [0.4, 0.8]]), 1e-5

    def moment(shift: float) -> float:
        moved = covariance + shift * np.array([[0, 1], [1, 0]])
        return float(SignGaussian(mean, np.linalg.cholesky(moved)).second_moments()[0, 1])

    density = np.exp(-0.5 * mean @ np.linalg.solve(covariance, mean))
    density /= 2 * np.pi * np.sqrt(np.linalg.det(covariance))
    assert (moment(step) - moment(-step)) / (2 * step) == pytest.approx(4 * density, rel=1e-7)


def test_negentropy_gradients() -> None:
    rows = random_rows(0, seed=2)
    value, gradient = mean_field_negentropy(torch.from_numpy(rows))
    assert float(value) == pytest.approx(-law_of(rows).entropy(), rel=1e-12)
    np.testing.assert_allclose(gradient, numerical_gradient(lambda r: -law_of(r).entropy(), rows), atol=1e-8)


def test_semi_implicit_gradient_at_many_mixtures_is_that_of_the_entropy() -> None:
    rows = random_rows(1, seed=7)
    tensor, generator = torch.from_numpy(rows), seeded(1)
    gradients, values = [], []
    for _ in range(40):
        draw = draw_noise(tensor, 1, 20, generator=generator)
        sampled, gradient = semi_implicit_negentropy(tensor, draw, 500, generator=generator)
        values.append(float(sampled.mean()))
        gradients.append(gradient.numpy())
    exact = numerical_gradient(lambda r: -law_of(r).entropy(), rows)
    error = np.std(gradients, axis=0) / np.sqrt(40)
    assert np.all(np.abs(np.mean(gradients, axis=0) - exact) < 5 * error + 0.01)
    assert error.max() < 0.05
    assert np.mean(values) == pytest.approx(-law_of(rows).entropy(), abs=0.05)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_is_twice_the_density_of_its_noise(kernel) -> None:
    law = noise_of(kernel)
    assert ste_kernel(law) is kernel
    assert ste_kernel(law.name) is kernel
    x = torch.linspace(-3, 3, 601, dtype=torch.float64)
    torch.testing.assert_close(kernel(x), 2 * law.density(x))
    wide = torch.linspace(-40, 40, 800_001, dtype=torch.float64)
    assert float(torch.trapezoid(law.density(wide), wide)) == pytest.approx(1, abs=1e-4)
    # The density is the slope of the distribution, away from its kinks.
    smooth = (x.abs() - 1).abs() > 0.01
    slope = (law.mean_sign(x + 1e-6) - law.mean_sign(x - 1e-6)) / 2e-6
    torch.testing.assert_close(slope[smooth], kernel(x)[smooth], atol=2e-6, rtol=0)
    p = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    torch.testing.assert_close(law.cumulative(law.quantile(p)), p)


@pytest.mark.parametrize("kernel", KERNELS)
def test_noise_makes_its_kernel_exact(kernel) -> None:
    law, mean = noise_of(kernel), torch.tensor([-0.8, 0.1, 0.6], dtype=torch.float64)
    noise = law.sample((60_000, 3), generator=seeded(4))
    frequency = torch.where(mean + noise >= 0, 1.0, -1.0).mean(dim=0).double()
    assert float((frequency - law.mean_sign(mean)).abs().max()) < 4.5 / 60_000**0.5


def test_kernels_without_noise_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="not integrable"):
        noise_of(identity_kernel)
    with pytest.raises(ValueError, match=r"negative for \|beta x\| > 2.40"):
        noise_of("swish-sign")
    with pytest.raises(ValueError, match="noise must be one of"):
        ste_kernel("cauchy")
    x = torch.tensor([2.39, 2.41, 500.0], dtype=torch.float64) / 5
    assert (swish_sign_kernel(x) > 0).tolist() == [True, False, False]
    torch.testing.assert_close(identity_kernel(x), torch.ones(3, dtype=torch.float64))


def test_estimators_refuse_what_they_cannot_use() -> None:
    loss, rows = CallableLoss(lambda w: w.sum(dim=1)), torch.ones(4, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match="column of root residuals"):
        ESTIMATORS["gaussian"](loss, rows, draw_noise(rows, 1, 3, generator=seeded()))
    with pytest.raises(ValueError, match="samples >= 2"):
        score(loss, rows, draw_noise(rows, 0, 1, generator=seeded()))


def test_quadratic_loss_is_the_same_sparse_and_dense_and_mutates_nothing() -> None:
    import scipy.sparse as sp

    A = np.array([[1.0, 2.0, 0], [2, 0, -1], [0, -1, 3]])
    w = torch.tensor([[1.0, -1, 1], [-1, -1, 1]], dtype=torch.float64)
    dense, sparse = BinaryQuadratic(A, [1, 2, 3], 0.5), BinaryQuadratic(sp.csr_array(A), [1, 2, 3], 0.5)
    answers = [QuadraticLoss(p, dtype=torch.float64, device=CPU).gradients(w) for p in (dense, sparse)]
    for values, gradients in answers:
        np.testing.assert_allclose(values, dense.evaluate(w.numpy()))
        np.testing.assert_allclose(gradients, 2 * w.numpy() @ (A - np.diag(np.diag(A))) + [1, 2, 3])
    np.testing.assert_array_equal(dense.A, A)


def test_a_loss_cannot_mutate_the_points() -> None:
    points = POINTS.clone()
    CallableLoss(lambda w: w.mul_(2).sum(dim=1)).values(points)
    assert torch.equal(points, POINTS)
