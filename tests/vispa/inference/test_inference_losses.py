"""Losses as users write them: in one buffer, in place, under inference mode, of every size, with faults."""

import warnings

import numpy as np
import pytest
import torch

from solvers import BinaryQuadratic, Elliptope, MaxCut
from vispa import minimize, minimize_by_sdp
from vispa.estimators.registry import ESTIMATORS
from vispa.gaussian.entropy import Estimate

MATRIX = torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
QUICK = {"max_iterations": 4, "samples": 8, "evaluation_samples": 16, "rank": 1}


def energy(points):
    return torch.einsum("bi,ij,bj->b", points, MATRIX.to(points.dtype), points)


def fit(loss, n=6, **options):
    return minimize(loss, n, generator=torch.Generator().manual_seed(1), **{**QUICK, **options})


def same(first, second):
    np.testing.assert_array_equal(first.posterior.mean, second.posterior.mean)
    assert first.value == second.value
    assert first.free_energy_bound == second.free_energy_bound


@pytest.mark.parametrize("estimator", [name for name, each in ESTIMATORS.items()])
def test_a_loss_may_answer_in_one_buffer_and_change_its_points(estimator):
    buffer = torch.zeros(10_000, dtype=torch.float64)

    def reused(points):
        answer = energy(points)
        if answer.requires_grad:
            return answer
        out = buffer[: len(points)]
        out.copy_(answer)
        points.zero_()
        return out

    same(fit(reused, estimator=estimator), fit(energy, estimator=estimator))

    def in_place(points):
        return energy(points.mul_(2.0)) / 4.0

    same(fit(in_place, estimator=estimator), fit(energy, estimator=estimator))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("estimator", ["straight-through", "gaussian", "score"])
def test_gradients_are_taken_whatever_mode_the_caller_is_in(mode, estimator):
    expected = fit(energy, estimator=estimator)
    with mode():
        same(fit(energy, estimator=estimator), expected)


@pytest.mark.parametrize("scale", [2.0**900, 2.0**-900])
@pytest.mark.parametrize("estimator", list(ESTIMATORS))
def test_losses_of_any_size_are_fitted_without_a_warning(estimator, scale):
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for factor in (1.0, scale):
            found[factor] = fit(lambda points, factor=factor: factor * energy(points), estimator=estimator)
    assert np.isfinite(found[scale].free_energy_standard_error)
    assert found[scale].value <= 0.4 * scale * found[1.0].value


def test_momentum_on_huge_gradients_keeps_its_rows():
    found = fit(lambda points: 1e200 * energy(points), optimizer="momentum")
    np.testing.assert_allclose(found.posterior.projected().mean, found.posterior.mean)
    with pytest.raises(ValueError, match=r"rows stay finite.*learning_rate"):
        fit(energy, optimizer="momentum", learning_rate=1e308)


def test_only_the_callback_ends_the_descent_by_stop_iteration():
    batches = iter(range(2))

    def exhausted(points):
        next(batches)
        return energy(points)

    with pytest.raises(StopIteration):
        fit(exhausted)


@pytest.mark.parametrize("size", [1e300, 1e-300])
def test_quadratics_beyond_single_precision_are_refused(size):
    problem = BinaryQuadratic(size * np.ones((3, 3)), [size, 0.0, 0.0])
    with pytest.raises(ValueError, match=r"range of torch.float32.*float64"):
        fit(problem, None, dtype=torch.float32)
    assert fit(problem, None).value == pytest.approx(0.0, abs=2.0 * size)


@pytest.mark.parametrize("problem", [MaxCut(np.ones((3, 3))), Elliptope(np.ones((3, 3)))])
def test_relaxations_are_sent_to_their_form_in_signs(problem):
    with pytest.raises(
        TypeError, match=r"found (MaxCut|Elliptope)\. BinaryQuadratic\(problem.relaxation\(\).cost\)"
    ):
        fit(problem, None)
    assert fit(BinaryQuadratic(problem.relaxation().cost), None).signs.shape == (3,)


def test_seeds_are_refused_by_name():
    with pytest.raises(TypeError, match="rng must be a numpy Generator"):
        minimize_by_sdp(BinaryQuadratic(np.eye(2)), rng="x")


def test_means_of_huge_numbers_are_those_of_small_ones():
    samples = np.array([1.0, -3.0, 2.5, 2.0])
    small, large = Estimate.of_mean(samples), Estimate.of_mean(np.ldexp(samples, 1020))
    assert large == tuple(np.ldexp(small, 1020))
    assert small == (samples.mean(), samples.std(ddof=1) / 2.0)
    assert Estimate.of_mean(samples[:1]) == (1.0, np.inf)
    assert np.isnan(Estimate.of_mean(np.array([np.nan, 1.0])).value)
