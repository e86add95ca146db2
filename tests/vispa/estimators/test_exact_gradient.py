"""The exact gradient against differences of the enumerated expectation, and the estimators against it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import seeded

from solvers.problems.problem import BinaryQuadratic
from theory_checks.oracles import central_difference
from vispa import SignGaussian
from vispa.estimators.biased import at_mean, deterministic, marginal, through_kernel
from vispa.estimators.exact_gradient import exact_gradient
from vispa.estimators.kernels import hard_tanh_kernel, identity_kernel
from vispa.estimators.local import edge_differences
from vispa.estimators.losses import CallableLoss, QuadraticLoss
from vispa.estimators.registry import ESTIMATORS, Draw, draw_noise
from vispa.gaussian.enumeration import all_signs

N = 4
TABLE = np.random.default_rng(5).normal(size=2**N)


def lookup(w: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(TABLE)[((w > 0).long() @ torch.tensor([8, 4, 2, 1]))]


def law(rank: int, noise: float, seed: int = 0) -> SignGaussian:
    rng = np.random.default_rng(seed)
    return SignGaussian(rng.normal(size=N), rng.normal(size=(N, rank)), noise * rng.uniform(0.4, 1, size=N))


def rows_of(posterior: SignGaussian) -> np.ndarray:
    columns = [posterior.mean, posterior.factor]
    return np.column_stack([*columns, np.sqrt(posterior.residual)] if posterior.residual.any() else columns)


@pytest.mark.parametrize(("rank", "noise"), [(0, 1.0), (1, 1.0), (1, 0.01), (1, 1e-6), (1, 0.0)])
def test_exact_gradient_is_the_derivative_of_the_enumerated_expectation(rank: int, noise: float) -> None:
    posterior = law(rank, noise, seed=rank)
    rows = np.column_stack([posterior.mean, posterior.factor, np.sqrt(posterior.residual)])
    found = exact_gradient(TABLE, posterior).rows()
    step = 1e-3 * max(np.sqrt(noise), 0.1)
    for index in np.ndindex(rows.shape):
        if noise < 1e-3 and index[1] == rank + 1:
            continue  # s cannot be moved by so much

        def expectation(t: float, index: tuple[int, ...] = index) -> np.ndarray:
            moved = rows.copy()
            moved[index] += t
            return np.array(
                [SignGaussian(moved[:, 0], moved[:, 1:-1], moved[:, -1] ** 2).probabilities() @ TABLE]
            )

        assert found[index] == pytest.approx(central_difference(expectation, step)[0], abs=2e-9)


@pytest.mark.parametrize(
    ("name", "rank", "noise"),
    [(name, rank, 1.0) for name in ("score", "local", "conditional") for rank in (0, 1, 2)]
    + [("conditional", 1, 0.0), ("conditional", 2, 0.0)],
)
def test_estimators_that_need_no_gradient_are_unbiased_for_any_table(
    name: str, rank: int, noise: float
) -> None:
    posterior = law(rank, noise, seed=7)
    rows = torch.from_numpy(rows_of(posterior))
    exact = exact_gradient(TABLE, posterior).rows()[:, : rows.shape[1]]
    generator = seeded(1)
    batches = np.stack(
        [
            ESTIMATORS[name](CallableLoss(lookup), rows, draw_noise(rows, rank, 2000, generator=generator))[2]
            for _ in range(30)
        ]
    )
    error = batches.std(0, ddof=1) / np.sqrt(30)
    assert np.all(np.abs(batches.mean(0) - exact) < 5 * error + 1e-12)
    assert error.max() < 0.03


def test_two_factors_agree_with_one_factor_turned() -> None:
    one = law(1, 1.0, seed=3)
    angle = 0.7
    direction = np.array([np.cos(angle), np.sin(angle)])
    two = SignGaussian(one.mean, one.factor * direction, one.residual)
    first, second = exact_gradient(TABLE, one), exact_gradient(TABLE, two)
    np.testing.assert_allclose(second.mean, first.mean, atol=1e-11)
    np.testing.assert_allclose(second.factor @ direction, first.factor[:, 0], atol=1e-11)
    np.testing.assert_allclose(second.root_residual, first.root_residual, atol=1e-11)
    bare = [exact_gradient(TABLE, SignGaussian(p.mean, p.factor)) for p in (one, two)]
    np.testing.assert_allclose(bare[1].mean, bare[0].mean, atol=1e-11)
    np.testing.assert_allclose(bare[1].factor @ direction, bare[0].factor[:, 0], atol=1e-11)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([0, 1, 2]), st.floats(1e-3, 1e3))
def test_exact_gradient_is_tangent_to_the_gauge(seed: int, rank: int, scale: float) -> None:
    # The law ignores the scale of a row: no derivative along the row, and 1/c of it in rows c times as long.
    posterior = law(rank, 1.0, seed)
    found = exact_gradient(TABLE, posterior).rows()
    rows = np.column_stack([posterior.mean, posterior.factor, np.sqrt(posterior.residual)])
    assert np.abs((found * rows).sum(axis=1)).max() < 1e-10
    longer = SignGaussian(scale * posterior.mean, scale * posterior.factor, scale**2 * posterior.residual)
    np.testing.assert_allclose(scale * exact_gradient(TABLE, longer).rows(), found, atol=1e-9)


def test_one_weight_and_rows_of_zeros() -> None:
    found = exact_gradient([-1.0, 1.0], SignGaussian([0.0], None, [1.0]))
    assert found.mean[0] == pytest.approx(np.sqrt(2 / np.pi), rel=1e-14)
    still = exact_gradient(TABLE, SignGaussian([0.0, 1, 1, 1], np.zeros((4, 1)), [0.0, 1, 1, 1]))
    np.testing.assert_array_equal(still.rows()[0], 0.0)


@pytest.mark.parametrize(
    ("losses", "posterior", "message"),
    [
        (np.zeros(8), law(1, 1.0), "losses must have one entry a point, 16"),
        (np.full(16, np.nan), law(1, 1.0), "losses"),
        (TABLE, law(3, 1.0), "at most 1 factor"),
        (TABLE, SignGaussian(np.zeros(4), np.ones((4, 2)), [0.0, 1, 1, 1]), "at least sigma"),
        (np.zeros(2), SignGaussian(np.zeros(17)), "at most 16 weights"),
    ],
)
def test_what_cannot_be_enumerated_is_refused(losses, posterior: SignGaussian, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        exact_gradient(losses, posterior)


def test_edge_differences_are_those_of_the_table() -> None:
    points = torch.from_numpy(all_signs(N).astype(float))
    found = edge_differences(CallableLoss(lookup), points).numpy()
    for i, bit in enumerate((8, 4, 2, 1)):
        codes = np.arange(16)
        np.testing.assert_allclose(found[:, i], 0.5 * (TABLE[codes | bit] - TABLE[codes & ~bit]))


def test_conditional_draws_of_a_row_without_noise_move_nothing() -> None:
    rows = torch.tensor([[0.5, 0.0], [0.1, 1.0]], dtype=torch.float64)
    loss = CallableLoss(lambda w: w[:, 0] * 3 + w[:, 1])
    gradient = ESTIMATORS["conditional"](loss, rows, draw_noise(rows, 1, 50, generator=seeded())).gradient
    assert torch.equal(gradient[0], torch.zeros(2, dtype=torch.float64))
    assert float(gradient[1, 0]) == pytest.approx(2 * np.exp(-0.005) / np.sqrt(2 * np.pi), rel=1e-12)


def test_heuristics_are_exact_where_they_should_be() -> None:
    # Independent weights and a multilinear loss: marginal and at_mean are unbiased; uniform noise would make
    # hard-tanh exact; the deterministic one is the gradient at sgn(mean).
    rng = np.random.default_rng(2)
    M = rng.normal(size=(N, N))
    A = M + M.T - np.diag(np.diag(M + M.T))
    problem = BinaryQuadratic(A, rng.normal(size=N))
    loss = QuadraticLoss(problem, dtype=torch.float64, device=torch.device("cpu"))
    posterior = law(0, 1.0, seed=4)
    rows = torch.from_numpy(rows_of(posterior))
    exact = exact_gradient(problem.evaluate(all_signs(N)), posterior).rows()
    draw = draw_noise(rows, 0, 200_000, generator=seeded(3))
    np.testing.assert_allclose(at_mean(loss, rows, draw).gradient, exact, atol=1e-12)
    np.testing.assert_allclose(marginal(loss, rows, draw).gradient[:, 0], exact[:, 0], atol=0.03)
    clipped = deterministic(loss, rows, draw, kernel=hard_tanh_kernel).gradient[:, 0].numpy()
    at_signs = 2 * A @ posterior.signs() + problem.b
    np.testing.assert_allclose(clipped, np.where(np.abs(posterior.mean) <= 1, at_signs, 0.0))
    plain = ESTIMATORS["straight-through"](loss, rows, draw).gradient
    torch.testing.assert_close(through_kernel(identity_kernel)(loss, rows, draw).gradient, plain)


def test_at_mean_follows_a_factor_through_the_deviation() -> None:
    posterior = law(2, 1.0, seed=9)
    rows = torch.from_numpy(rows_of(posterior))
    draw = Draw(torch.zeros((1, 2), dtype=torch.float64), torch.zeros((1, N), dtype=torch.float64))
    linear = CallableLoss(lambda w: w @ torch.arange(1.0, N + 1, dtype=torch.float64))
    values = all_signs(N) @ np.arange(1.0, N + 1)
    np.testing.assert_allclose(
        at_mean(linear, rows, draw).gradient, exact_gradient(values, posterior).rows(), atol=1e-10
    )
