"""Bop and Bop2ndOrder: the published sign paths, the rule's edges, and Adam as a reference."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import vispa
from vispa.optim import bop_update, flipped, second_order_update
from vispa.optim.update import RunningMean

FORM_OF = {"biased": "biased", "published_unbiased": "published-unbiased"}


def run(make, case):
    """Feed the recorded gradients to an optimizer and return the signs after every step."""
    signs = torch.nn.Parameter(torch.from_numpy(case["w0"]).float())
    optimizer = make([signs], case)
    path = []
    for gradient in torch.from_numpy(case["gradients"]):
        signs.grad = gradient.clone()
        optimizer.step()
        path.append(signs.detach().to(torch.int8).numpy().copy())
    return np.array(path)


def cases(path):
    with np.load(path) as archive:
        names = sorted({key.split("/")[0] for key in archive.files})
        return {
            name: {key.split("/")[1]: archive[key] for key in archive.files if key.startswith(f"{name}/")}
            for name in names
        }


def make_bop(params, case):
    return vispa.Bop(params, threshold=float(case["threshold"]), gamma=float(case["gamma"]))


def make_second_order(form):
    def make(params, case):
        options = {name: float(case[name]) for name in ("threshold", "gamma", "sigma")}
        return vispa.Bop2ndOrder(params, form=form, **options)

    return make


@pytest.mark.shared_data
def test_the_published_sign_paths_of_bop(shared_data):
    recorded = cases(shared_data / "bop_reference.npz")
    assert len(recorded) == 4
    for case in recorded.values():
        assert (case["path"][1:] != case["path"][:-1]).any()
        np.testing.assert_array_equal(run(make_bop, case), case["path"])


@pytest.mark.shared_data
def test_the_published_sign_paths_of_both_second_order_forms(shared_data):
    recorded = cases(shared_data / "bop2ndorder_reference.npz")
    assert len(recorded) == 10
    for name, case in recorded.items():
        make = make_second_order(FORM_OF[name.rstrip("0123456789")])
        np.testing.assert_array_equal(run(make, case), case["path"])


@pytest.mark.parametrize("before", [1.0, -1.0])
def test_a_tie_gives_plus_one(before):
    signs = torch.nn.Parameter(torch.tensor([before]))
    signs.grad = torch.tensor([before])
    vispa.Bop([signs], threshold=0.5, gamma=0.5).step()
    assert signs.item() == 1.0
    signs = torch.nn.Parameter(torch.tensor([before]))
    signs.grad = torch.tensor([before])
    vispa.Bop2ndOrder([signs], threshold=1.0, gamma=0.5, sigma=0.25, eps=1e-30).step()
    assert signs.item() == 1.0


def test_the_rule_below_at_and_above_the_threshold():
    score = torch.tensor([0.25, 0.5, 0.75, -0.75, float("inf"), -float("inf")])
    for sign in (1.0, -1.0):
        found = flipped(torch.full((6,), sign), score, 0.5)
        assert found.tolist() == [sign, 1.0, -sign, sign, -sign, sign]


def test_a_gradient_that_is_not_a_number_shows_in_the_parameter():
    signs = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
    signs.grad = torch.tensor([float("nan"), 0.0])
    vispa.Bop([signs]).step()
    assert signs.isnan().tolist() == [True, False]


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.3, 1.0]), st.sampled_from([0.001, 0.5, 1.0]))
def test_the_corrected_form_flips_by_the_step_that_adam_would_take(seed, gamma, sigma):
    generator = torch.Generator().manual_seed(seed)
    options = {"generator": generator, "dtype": torch.float64}
    signs = torch.nn.Parameter(torch.where(torch.rand(20, **options) < 0.5, 1.0, -1.0).double())
    latent = torch.nn.Parameter(torch.zeros(20, dtype=torch.float64))
    threshold = 0.37
    ours = vispa.Bop2ndOrder(
        [signs], threshold=threshold, gamma=gamma, sigma=sigma, eps=1e-8, form="bias-corrected"
    )
    adam = torch.optim.Adam([latent], lr=1.0, betas=(1.0 - gamma, 1.0 - sigma), eps=1e-8)
    for _ in range(12):
        before, position = signs.detach().clone(), latent.detach().clone()
        signs.grad = torch.randn(20, **options)
        latent.grad = signs.grad.clone()
        ours.step()
        adam.step()
        score = before * (position - latent.detach())
        clear = (score - threshold).abs() > 1e-9
        expected = torch.where(score > threshold, -before, before)
        assert torch.equal(signs.detach()[clear], expected[clear])


def test_pure_functions_change_none_of_their_arguments():
    generator = torch.Generator().manual_seed(0)
    signs = torch.tensor([1.0, -1.0, 1.0])
    gradient, value, square = (torch.rand(3, generator=generator) for _ in range(3))
    arguments = [signs, gradient, value, square]
    copies = [each.clone() for each in arguments]
    mean, second = RunningMean(value, 0.5), RunningMean(square, 0.25)
    _, after = bop_update(signs, gradient, mean, gamma=0.5, threshold=0.0)
    assert after.weight == 0.75
    torch.testing.assert_close(after.value, 0.5 * (gradient + value))
    for form in ("biased", "published-unbiased", "bias-corrected"):
        second_order_update(
            signs, gradient, mean, second, gamma=0.5, sigma=0.5, threshold=0.1, eps=1e-10, form=form
        )
    assert all(torch.equal(now, before) for now, before in zip(arguments, copies, strict=True))


def test_a_running_mean_weighs_what_it_saw_by_its_weight():
    mean = RunningMean(torch.zeros(1, dtype=torch.float64), 0.0)
    for rate in (0.1, 0.9, 1e-6, 0.3):
        mean = mean.updated(torch.full((1,), 7.0, dtype=torch.float64), rate)
        assert mean.value.item() == pytest.approx(7.0 * mean.weight, rel=1e-15)
    assert RunningMean(torch.zeros(1), 0.0).updated(torch.ones(1), 1e-3).weight == 1e-3


@pytest.mark.parametrize("optimizer", [vispa.Bop, vispa.Bop2ndOrder])
def test_the_flips_of_a_vector_seek_the_signs_that_a_linear_loss_prefers(optimizer):
    generator = torch.Generator().manual_seed(3)
    slope = torch.randn(50, generator=generator)
    signs = torch.nn.Parameter(torch.where(torch.rand(50, generator=generator) < 0.5, 1.0, -1.0))
    moving = optimizer([signs], gamma=0.1, threshold=1e-3)
    for _ in range(20):
        moving.zero_grad()
        (slope @ signs).backward()
        moving.step()
    assert torch.equal(signs.detach(), torch.where(slope > 0, -1.0, 1.0).where(slope.abs() > 1e-2, signs))
