"""`minimize` against enumeration, closed forms and the bounds it must respect."""

import numpy as np
import pytest
import torch
from instances import seeded

from solvers.exact.brute_force import brute_force
from solvers.problems.problem import BinaryQuadratic
from vispa import SignGaussian, minimize, minimize_by_sdp
from vispa.estimators.registry import GradientEstimator, straight_through
from vispa.gaussian.enumeration import all_signs
from vispa.inference.result import InferenceStatus

FERROMAGNET = BinaryQuadratic(np.full((6, 6), -0.1))
FREE_ENERGY, MEAN_FIELD = -5.285, -4.759


def random_quadratic(seed: int, n: int = 12) -> BinaryQuadratic:
    rng = np.random.default_rng(seed)
    M = rng.normal(size=(n, n))
    return BinaryQuadratic((M + M.T) / 2, rng.normal(size=n))


def log_partition(loss: np.ndarray, temperature: float) -> float:
    return float(-temperature * np.log(np.exp(-loss / temperature).sum()))


def test_semi_implicit_bound_beats_mean_field_by_far() -> None:
    correlated = minimize(FERROMAGNET, rank=1, temperature=1.0, max_iterations=300, generator=seeded())
    error = correlated.free_energy_standard_error
    assert 0 < error < 0.01
    assert correlated.free_energy_bound + 4 * error < MEAN_FIELD - 0.3
    assert correlated.free_energy_bound > FREE_ENERGY - 4 * error
    # The law itself, by enumeration: its true entropy does at least as well as its estimated bound.
    law, W = correlated.posterior, all_signs(6)
    true = float(law.probabilities() @ FERROMAGNET.evaluate(W)) - law.entropy()
    assert FREE_ENERGY - 1e-3 < true < correlated.free_energy_bound + 4 * error


def test_exact_mean_field() -> None:
    result = minimize(FERROMAGNET, temperature=1.0, max_iterations=200, samples=4, generator=seeded())
    assert result.free_energy_bound == pytest.approx(MEAN_FIELD, abs=2e-3)
    assert result.free_energy_standard_error == 0


@pytest.mark.parametrize("rank", [0, 1])
def test_bounds_lie_above_the_free_energy_of_any_loss(rank: int) -> None:
    table = torch.from_numpy(np.random.default_rng(3).normal(size=(5, 4)))

    def loss(w: torch.Tensor) -> torch.Tensor:
        return torch.tanh(w @ table).square().sum(dim=1) - w[:, 0]

    exact = log_partition(loss(torch.from_numpy(all_signs(5).astype(float))).numpy(), 0.5)
    result = minimize(loss, 5, rank=rank, temperature=0.5, max_iterations=100, generator=seeded())
    slack = result.free_energy_bound - exact
    assert -4 * result.free_energy_standard_error < slack < 0.5


def test_brute_force_is_matched_on_random_quadratics() -> None:
    matched = 0
    for seed in range(30):
        problem = random_quadratic(seed)
        result = minimize(
            problem, rank=2, max_iterations=100, samples=16, evaluation_samples=100, generator=seeded(seed)
        )
        best = brute_force(problem).value
        assert result.lower_bound <= best + 1e-9
        assert result.value >= best - 1e-9
        assert result.value == pytest.approx(float(problem.evaluate(result.signs)), abs=1e-9)
        matched += result.value <= best + 1e-9
    assert matched >= 27


@pytest.mark.parametrize(("rank", "optimizer"), [(0, "adam"), (2, "momentum")])
def test_a_smooth_loss_is_minimised(rank: int, optimizer: str) -> None:
    weights = torch.from_numpy(np.random.default_rng(1).normal(size=(8, 3)))

    def loss(w: torch.Tensor) -> torch.Tensor:
        return torch.logsumexp(w @ weights, dim=1) + torch.cos(w[:, 0] * w[:, 1] + w[:, 2])

    result = minimize(loss, 8, rank=rank, optimizer=optimizer, max_iterations=60, generator=seeded())
    best = float(loss(torch.from_numpy(all_signs(8).astype(float))).min())
    assert result.value == pytest.approx(best, abs=1e-9)
    assert result.lower_bound == -np.inf
    assert float(loss(torch.from_numpy(result.signs[None].astype(float)))) == pytest.approx(best)


def test_score_solves_a_loss_without_gradient_and_moves_the_law_there() -> None:
    target = torch.tensor([1, -1, -1, 1, 1, -1, 1, 1, -1, -1, 1, -1, 1, -1, 1, 1])

    def mistakes(w: torch.Tensor) -> torch.Tensor:
        return (w.long() != target).sum(dim=1)  # integers

    result = minimize(mistakes, 16, estimator="score", max_iterations=250, generator=seeded())
    assert result.value == 0
    # 2^16 points: chance alone does not put the mean there.
    np.testing.assert_array_equal(result.posterior.signs(), target.numpy())
    assert result.free_energy_bound < 1.0


@pytest.mark.parametrize("loss", [lambda w: (w[:, 0] > 0).double(), lambda w: torch.round(w.sum(dim=1))])
def test_losses_without_gradient_name_the_remedy(loss) -> None:
    with pytest.raises(ValueError, match='estimator="score"'):
        minimize(loss, 6, rank=1, generator=seeded())


def test_sdp_route() -> None:
    problem = random_quadratic(4)
    result = minimize_by_sdp(problem, rng=0)
    best = brute_force(problem).value
    assert result.lower_bound <= best <= result.value + 1e-9
    assert result.value == pytest.approx(best, abs=1e-9)
    relaxation = problem.relaxation()
    energy = float(np.sum(relaxation.cost * result.posterior.elliptope()))
    assert energy == pytest.approx(result.lower_bound, rel=1e-4)


@pytest.mark.parametrize(
    ("problem", "options", "error", "words"),
    [
        (torch.sum, {}, TypeError, r"vispa\.minimize takes any loss"),
        (FERROMAGNET, {"max_seconds": -1.0}, ValueError, "max_seconds must be positive"),
        (FERROMAGNET, {"rank": 2}, TypeError, "rank"),
    ],
)
def test_sdp_route_refuses_what_it_cannot_use(problem, options, error, words: str) -> None:
    with pytest.raises(error, match=words):
        minimize_by_sdp(problem, **options)


def test_an_estimator_of_ones_own_is_taken_like_a_named_one() -> None:
    """A function that repeats the published estimator gives its result, bit for bit; a wrapped one gets s > 0."""
    options = {"rank": 1, "max_iterations": 20, "evaluation_samples": 10}
    seen = []

    def mine(loss, rows, draw):
        seen.append(rows.shape[1])
        return straight_through(loss, rows, draw)

    named = minimize(FERROMAGNET, estimator="straight-through", generator=seeded(3), **options)
    own = minimize(FERROMAGNET, estimator=mine, generator=seeded(3), **options)
    np.testing.assert_array_equal(own.posterior.factor, named.posterior.factor)
    assert set(seen) == {2}  # mean and factor: the residual is zero
    seen.clear()
    wrapped = GradientEstimator(mine, needs_residual=True, least_samples=3)
    minimize(FERROMAGNET, estimator=wrapped, generator=seeded(3), **options)
    assert set(seen) == {3}
    with pytest.raises(ValueError, match="samples must be at least 3"):
        minimize(FERROMAGNET, estimator=wrapped, samples=2, generator=seeded(3), **options)


def test_same_seed_same_result_and_global_state_untouched() -> None:
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    options = {"rank": 1, "temperature": 0.3, "max_iterations": 8, "evaluation_samples": 10}
    first, second = (minimize(FERROMAGNET, generator=seeded(5), **options) for _ in range(2))
    np.testing.assert_array_equal(first.posterior.factor, second.posterior.factor)
    assert first.free_energy_bound == second.free_energy_bound
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_callback_limit_and_interrupt_keep_the_best() -> None:
    problem = random_quadratic(1)

    def stop(step) -> None:
        if step.iteration == 2:
            raise StopIteration

    def interrupt(step) -> None:
        raise KeyboardInterrupt

    stopped = minimize(problem, rank=1, callback=stop, generator=seeded())
    assert (stopped.status, stopped.nit) == (InferenceStatus.STOPPED, 3)
    interrupted = minimize(problem, rank=1, callback=interrupt, generator=seeded())
    assert (interrupted.status, interrupted.nit) == (InferenceStatus.INTERRUPTED, 1)
    late = minimize(problem, rank=1, max_seconds=1e-9, generator=seeded())
    assert (late.status, late.nit) == (InferenceStatus.TIME_LIMIT, 1)
    for result in (stopped, interrupted, late):
        assert result.value <= result.history[-1].best_value
        assert "start" in result.message


def test_interrupt_inside_the_first_loss_still_returns() -> None:
    calls = []

    def loss(w: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return w.sum(dim=1)

    result = minimize(loss, 3, generator=seeded())
    assert result.status is InferenceStatus.INTERRUPTED
    assert result.value == result.signs.sum()


def test_start_is_used_and_the_gauge_is_kept() -> None:
    start = SignGaussian(np.full(6, 5.0), np.full((6, 1), 0.1))
    result = minimize(FERROMAGNET, rank=1, start=start, max_iterations=3, generator=seeded())
    law = result.posterior
    np.testing.assert_allclose(law.mean**2 + (law.factor**2).sum(1) + law.residual, 1, atol=1e-12)
    assert not law.residual.any()  # the published objective has none
    assert (law.mean > 0.8).all()
    assert result.value == pytest.approx(-3.6)


def test_single_precision_and_one_weight() -> None:
    result = minimize(lambda w: w[:, 0], 1, dtype=torch.float32, max_iterations=5, generator=seeded())
    assert (result.value, result.signs.tolist()) == (-1.0, [-1])


def total(w: torch.Tensor) -> torch.Tensor:
    return w.sum(dim=1)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        ((3.0, 2), {}, TypeError, "loss must be a BinaryQuadratic or a function"),
        ((total,), {}, ValueError, "n must be given"),
        ((total, 0), {}, ValueError, "n must be at least 1"),
        ((total, 2.5), {}, TypeError, "n must be an integer"),
        ((FERROMAGNET, 5), {}, ValueError, "which has 6 weights; found 5"),
        ((total, 2), {"rank": -1}, ValueError, "rank must be at least 0"),
        ((total, 2), {"temperature": -1.0}, ValueError, "temperature must be at least"),
        ((total, 2), {"temperature": float("nan")}, ValueError, "temperature must be finite"),
        ((total, 2), {"estimator": "magic"}, ValueError, "estimator must be one of 'straight-through'"),
        ((total, 2), {"samples": 0}, ValueError, "samples must be at least 1"),
        ((total, 2), {"estimator": "score", "samples": 1}, ValueError, "samples must be at least 2"),
        ((total, 2), {"learning_rate": 0.0}, ValueError, "learning_rate must be positive"),
        ((total, 2), {"max_iterations": 0}, ValueError, "max_iterations must be at least 1"),
        ((total, 2), {"max_seconds": 0.0}, ValueError, "max_seconds must be positive"),
        ((total, 2), {"mixtures": 0}, ValueError, "mixtures must be at least 1"),
        ((total, 2), {"optimizer": "lbfgs"}, ValueError, "optimizer must be one of"),
        ((total, 2), {"dtype": torch.int64}, ValueError, "dtype must be torch.float64"),
        ((total, 2), {"generator": 3}, TypeError, "generator must be a torch.Generator"),
        ((total, 2), {"device": "abacus"}, ValueError, "device must be one that torch can use here"),
        ((total, 2), {"device": 3.5}, ValueError, "device must be one that torch can use here"),
        ((total, 2), {"callback": 3}, TypeError, "callback must be callable or None; found int"),
        ((total, 2), {"start": np.ones(2)}, TypeError, "start must be a SignGaussian"),
        ((total, 2), {"start": SignGaussian([1.0])}, ValueError, "start must have 2 weights and rank 0"),
        ((lambda w: w.sum(), 2), {}, ValueError, r"losses of shape \(32,\); found shape \(\)"),
        ((lambda w: 1.0, 2), {}, TypeError, "loss must return a tensor; found float"),
        ((lambda w: w.sum(dim=1) / 0, 2), {}, ValueError, "loss must be finite"),
        ((lambda w: (w.sum(dim=1) - w.sum(dim=1)).sqrt(), 2), {}, ValueError, "finite gradients"),
        ((lambda w: w.sum(dim=1) * 1j, 2), {}, TypeError, "real numbers"),
    ],
)
def test_bad_input_is_refused_in_words(arguments, options, error, words: str) -> None:
    with pytest.raises(error, match=words):
        minimize(*arguments, **{"generator": seeded(), "max_iterations": 2, **options})


def test_an_operator_has_no_entries_to_differentiate() -> None:
    from scipy.sparse.linalg import aslinearoperator

    with pytest.raises(TypeError, match="found a LinearOperator"):
        minimize(BinaryQuadratic(aslinearoperator(np.eye(3))), generator=seeded())
