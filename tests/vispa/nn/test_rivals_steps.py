"""Steps of other methods against paths recorded from their published code, step by step."""

import pytest
import torch
from rivals import assert_reproduced, cases
from torch.optim import SGD, Adam

import vispa
from vispa.nn.methods import adaste, bayesbinn, mirror, pmf, proxquant, xnor
from vispa.optim.natural import natural_step

pytestmark = pytest.mark.shared_data


def adam_of(case, *parameters):
    return Adam(
        parameters, lr=case.lr, betas=(case.beta1, case.beta2), eps=case.eps, weight_decay=case.weight_decay
    )


@pytest.mark.parametrize("name", ["case0", "case1"])
def test_xnor(shared_data, name):
    case = cases(shared_data, "xnor")[name]
    latent = case.w0.clone().requires_grad_()
    if case.optimizer == "adam":
        optimizer = Adam([latent], lr=case.lr, weight_decay=case.weight_decay)
    else:
        optimizer = SGD([latent], lr=case.lr, momentum=case.momentum, weight_decay=case.weight_decay)
    for step, gradient in enumerate(case.gradients):
        with torch.no_grad():
            latent.copy_(xnor.centred_and_clamped(latent))
        assert_reproduced(latent.detach(), case.latent[step])
        weight = xnor.xnor_weight(latent, published_zero=True)
        assert_reproduced(weight.detach(), case.forward_weights[step])
        optimizer.zero_grad()
        weight.backward(gradient)
        assert_reproduced(latent.grad, case.latent_gradients[step])
        optimizer.step()
        assert_reproduced(latent.detach(), case.path[step])


@pytest.mark.parametrize("name", ["stable0", "chain0"])
def test_tanh_under_a_rising_beta(shared_data, name):
    case = cases(shared_data, "md_tanh_stable")[name]
    theta = case.theta0.clone().requires_grad_()
    optimizer = adam_of(case, theta)
    for step, gradient in enumerate(case.gradients):
        weight = mirror.tanh_weight(theta, float(case.beta[step]), chain=not case.straight_through)
        assert_reproduced(weight.detach(), case.forward_weights[step])
        optimizer.zero_grad()
        weight.backward(gradient)
        assert_reproduced(theta.grad, case.theta_gradients[step])
        optimizer.step()
        assert_reproduced(theta.detach(), case.path[step])


@pytest.mark.parametrize("name", ["pmf0", "pmf1", "mdbnn_pmf0"])
def test_proximal_mean_field(shared_data, name):
    case = cases(shared_data, "pmf")[name]
    low, high = (case.u0[level::2].clone().requires_grad_() for level in (0, 1))
    optimizer = adam_of(case, low, high)
    twice = "md-bnn" not in case.implementation
    for step, gradient in enumerate(case.gradients):
        weight = pmf.mean_field_weight(low, high, float(case.beta[step]), softmax_twice=twice)
        assert_reproduced(weight.detach(), case.forward_weights[step])
        optimizer.zero_grad()
        weight.backward(gradient)
        for level, scores in enumerate((low, high)):
            assert_reproduced(scores.grad, case.u_gradients[step][level::2])
        optimizer.step()
        for level, scores in enumerate((low, high)):
            assert_reproduced(scores.detach(), case.path[step][level::2])
    assert torch.equal(torch.where(high > low, 1.0, -1.0).to(case.rounded.dtype), case.rounded)


@pytest.mark.parametrize("name", ["case0", "case1"])
def test_prox_steps(shared_data, name):
    case = cases(shared_data, "proxquant")[name]
    weight = case.w0.clone().requires_grad_()
    optimizer = None
    for step, gradient in enumerate(case.gradients):
        if step % case.steps_per_epoch == 0:  # the published loop makes a new one every epoch
            optimizer = Adam([weight], lr=case.lr)
        assert_reproduced(weight.detach(), case.forward_weights[step])
        weight.grad = gradient.clone()
        optimizer.step()
        with torch.no_grad():
            weight.copy_(proxquant.prox(weight, float(case.prox_strength[step])).clamp(-1, 1))
        assert_reproduced(weight.detach(), case.path[step])
    assert torch.equal(weight.detach().sign(), case.quantized)


def test_the_prox_alone(shared_data):
    case = cases(shared_data, "proxquant")["prox0"]
    for strength, expected in zip(case.strengths.tolist(), case.prox, strict=True):
        assert_reproduced(proxquant.prox(case.w, strength), expected)


@pytest.mark.parametrize("name", ["case0", "case1"])
def test_adaste(shared_data, name):
    case = cases(shared_data, "adaste")[name]
    theta = case.theta0.clone().requires_grad_()
    momentum = torch.zeros_like(theta)
    for step, gradient in enumerate(case.gradients):
        weight = adaste.adaste_weight(theta, case.alpha, case.beta[step], published_zero=True)
        assert_reproduced(weight.detach(), case.forward_weights[step])
        assert torch.equal(theta.detach().sign(), case.sign_weights[step])
        (scaled,) = torch.autograd.grad(weight, theta, gradient)
        assert_reproduced(scaled, case.scaled_gradients[step])
        moved, momentum = natural_step(
            theta.detach(), case.train_set_size**2 * scaled, momentum,
            step=step + 1, rate=case.lr, beta=case.momentum, reweight=case.reweight,
        )  # fmt: skip
        theta = moved.requires_grad_()
        assert_reproduced(theta.detach(), case.theta[step])


def test_bayesbinn_by_samples(shared_data):
    """As published, mu is that of lambda before the step: scale and evaluation lag behind."""
    case = cases(shared_data, "bayesbinn")["sampled0"]
    natural, mean = case.lamda0.clone(), torch.tanh(case.lamda0)
    momentum = torch.zeros_like(natural)
    for step in range(len(case.gradients)):
        natural.requires_grad_()
        total = torch.zeros_like(natural)
        for sample in range(case.num_samples):
            noise = bayesbinn.concrete_noise(case.noise[step, sample])
            weight = bayesbinn.concrete_weight(natural, noise, mean, case.temperature)
            assert_reproduced(weight.detach(), case.weights[step, sample], tolerance=2e-4)
            total += torch.autograd.grad(weight, natural, case.gradients[step, sample])[0]
        natural = natural.detach()
        mean = torch.tanh(natural)
        natural, momentum = natural_step(
            natural, case.train_set_size / case.num_samples * total, momentum,
            step=step + 1, rate=case.lr, beta=case.beta, reweight=case.reweight, prior=case.prior_lamda,
        )  # fmt: skip
        assert_reproduced(momentum, case.momentum[step], tolerance=2e-4)
        assert_reproduced(natural, case.lamda[step], tolerance=2e-4)
        assert_reproduced(mean, case.mu[step], tolerance=2e-4)
        assert torch.equal(torch.where(mean > 0, 1.0, -1.0), case.eval_weights[step])


def test_bayesbinn_at_the_mean(shared_data):
    case = cases(shared_data, "bayesbinn")["mean0"]
    natural, momentum = case.lamda0.clone(), torch.zeros_like(case.lamda0)
    for step in range(len(case.gradients)):
        assert_reproduced(torch.tanh(natural), case.weights[step, 0])
        natural, momentum = natural_step(
            natural, case.train_set_size * case.gradients[step, 0], momentum,
            step=step + 1, rate=case.lr, beta=case.beta, reweight=case.reweight, prior=case.prior_lamda,
        )  # fmt: skip
        assert_reproduced(momentum, case.momentum[step])
        assert_reproduced(natural, case.lamda[step])


@pytest.mark.parametrize("name", ["case0", "case1"])
def test_mirror_descent(shared_data, name):
    case = cases(shared_data, "md_tanh")[name]
    weight = case.w0.clone().requires_grad_()
    optimizer = vispa.MirrorDescent([weight], lr=case.lr, betas=(case.beta1, case.beta2), eps=case.eps)
    for step, gradient in enumerate(case.gradients):
        optimizer.param_groups[0]["beta"] = float(case.beta[step])
        weight.grad = gradient.clone()
        optimizer.step()
        assert_reproduced(weight.detach(), case.path[step])


@pytest.mark.parametrize("name", ["case0", "case1"])
def test_mirror_descent_with_a_softmax_is_that_with_a_tanh(shared_data, name):
    """Two levels a weight, as published, against half the difference of their logits under one tanh."""
    case = cases(shared_data, "md_softmax")[name]
    weight = torch.tanh((case.logits0[1::2] - case.logits0[::2]) / 2).requires_grad_()
    optimizer = vispa.MirrorDescent([weight], lr=case.lr, betas=(case.beta1, case.beta2), eps=case.eps)
    for step, gradient in enumerate(case.gradients):
        optimizer.param_groups[0]["beta"] = float(case.beta[step])
        weight.grad = gradient.clone()
        optimizer.step()
        assert_reproduced(weight.detach(), case.weights[step])


def test_the_stable_softmax_is_the_stable_tanh(shared_data):
    """Weight decay is zero here; theta is half the difference of the scores."""
    case = cases(shared_data, "pmf")["md_softmax_stable0"]
    theta = ((case.u0[1::2] - case.u0[::2]) / 2).requires_grad_()
    assert case.weight_decay == 0
    optimizer = adam_of(case, theta)
    for step, gradient in enumerate(case.gradients):
        weight = mirror.tanh_weight(theta, float(case.beta[step]))
        assert_reproduced(weight.detach(), case.forward_weights[step])
        optimizer.zero_grad()
        weight.backward(gradient)
        optimizer.step()


@pytest.mark.parametrize("name", ["sampled0", "mean0"])
def test_the_optimizer_of_bayesbinn(shared_data, name):
    """With the gradients of the recording handed over, its state and parameters are the published ones."""
    case = cases(shared_data, "bayesbinn")[name]
    natural = case.lamda0.clone().requires_grad_()
    samples = max(1, case.num_samples)
    optimizer = vispa.BayesBiNN(
        [natural], lr=case.lr, train_set_size=case.train_set_size, momentum=case.beta, reweight=case.reweight,
        samples=samples,
    )  # fmt: skip
    optimizer.param_groups[0]["prior"] = case.prior_lamda
    mean = torch.tanh(case.lamda0)
    tolerance = 2e-4 if case.num_samples else None
    for step in range(len(case.gradients)):
        draws = iter(range(samples))

        def closure(step=step, mean=mean, draws=draws):
            sample = next(draws)
            if case.num_samples:
                noise = bayesbinn.concrete_noise(case.noise[step, sample])
                weight = bayesbinn.concrete_weight(natural, noise, mean, case.temperature)
                weight.backward(case.gradients[step, sample])
            else:
                natural.grad = case.gradients[step, sample].clone()
            return 0.0

        before = natural.detach().clone()
        optimizer.step(closure)
        mean = torch.tanh(before)
        assert_reproduced(optimizer.state[natural]["momentum"], case.momentum[step], tolerance=tolerance)
        assert_reproduced(natural.detach(), case.lamda[step], tolerance=tolerance)


@pytest.mark.parametrize("betas", [None, 3, (0.9,), (0.9, 0.99, 0.999)])
def test_mirror_descent_takes_two_betas(betas):
    with pytest.raises(TypeError, match="betas must be two numbers"):
        vispa.MirrorDescent([torch.nn.Parameter(torch.ones(3))], betas=betas)
