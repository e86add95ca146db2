"""Noise and gradients: what a training loop relies on."""

import math

import pytest
import torch
from network_examples import batch, gradients, network
from torch import nn

import vispa
from vispa.nn import binary_layers
from vispa.nn.weights.binary_weight import BinaryWeight


@pytest.mark.parametrize("method", ["vispa", "bernoulli"])
def test_training_samples_evaluation_does_not(method):
    model = network(method=method)
    first, second = model(batch()), model(batch())
    assert not torch.equal(first, second)
    torch.manual_seed(4)
    third = model(batch())
    torch.manual_seed(4)
    assert torch.equal(third, model(batch()))
    model.eval()
    state = torch.random.get_rng_state()
    assert torch.equal(model(batch()), model(batch()))
    assert torch.equal(state, torch.random.get_rng_state())
    with vispa.sampling(model):
        assert not torch.equal(model(batch()), model(batch()))
    assert torch.equal(model(batch()), model(batch()))


def test_ste_never_draws():
    model = network(method="ste")
    state = torch.random.get_rng_state()
    assert torch.equal(model(batch()), model(batch()))
    with vispa.sampling(model):
        assert torch.equal(model(batch()), model.eval()(batch()))
    assert torch.equal(state, torch.random.get_rng_state())


def test_one_layer_in_evaluation_mode_is_deterministic_in_a_training_model():
    model = network()
    model.one.eval()
    hidden = torch.randn(4, 16)
    assert torch.equal(model.one(hidden), model.one(hidden))
    assert not torch.equal(model.two(hidden), model.two(hidden))


@pytest.mark.parametrize("fails", [False, True])
def test_noise_is_gone_after_the_forward_even_a_failing_one(fails):
    model = network()
    if fails:
        with pytest.raises(RuntimeError):
            model.one(torch.zeros(2, 5))
    else:
        model(batch())
    assert all(found.weight.noise is None for found in binary_layers(model))
    signs = torch.where(model.one.parametrizations["weight"].original >= 0, 1.0, -1.0)
    assert torch.equal(model.one.weight, signs / 4)


def test_every_read_of_the_weight_in_one_forward_sees_one_sample():
    model = network()
    seen = []
    model.one.register_forward_pre_hook(lambda layer, inputs: seen.extend([layer.weight, layer.weight]))
    model(batch())
    model(batch())
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[2], seen[3])
    assert not torch.equal(seen[0], seen[2])


def share_of_plus_one(weight: BinaryWeight, mean: torch.Tensor) -> torch.Tensor:
    def draw(_: torch.Tensor) -> torch.Tensor:
        return weight.realise(mean, weight.draw()) > 0

    with torch.no_grad():
        return torch.vmap(draw, randomness="different")(torch.empty(20_000)).double().mean(0)


def test_samples_follow_the_stated_law():
    """P(w = 1) = Phi(mean / sigma) with sigma^2 = |factor row|^2 / scale, over 20,000 draws of one layer."""
    torch.manual_seed(0)
    layer = vispa.binarize(nn.Linear(3, 2), rank=2, keep=(), scale=25.0, noise_ratio=1.0)
    (found,) = binary_layers(layer)
    weight, mean = found.weight, found.mean.detach()
    with torch.no_grad():
        positive = share_of_plus_one(weight, mean)
        deviation = (weight.factor.square().sum(1) / 25.0).sqrt()
        expected = torch.special.ndtr((mean / deviation).double())
    # Six standard errors of a share of 20,000.
    assert (positive - expected).abs().max() < 6 * 0.5 / math.sqrt(20_000)


def test_bernoulli_samples_follow_the_stated_law():
    torch.manual_seed(0)
    layer = vispa.binarize(nn.Linear(4, 1), keep=(), method="bernoulli")
    (found,) = binary_layers(layer)
    mean = torch.tensor([[-1.0, -0.5, 0.3, 1.0]])
    positive = share_of_plus_one(found.weight, mean)
    expected = torch.special.ndtr((mean / (1 - mean.square()).sqrt()).double())
    assert (positive - expected).abs().max() < 6 * 0.5 / math.sqrt(20_000)


def test_bernoulli_gradient_is_the_gradient_of_the_signs():
    layer = vispa.binarize(nn.Linear(4, 3, bias=False), keep=(), method="bernoulli")
    inputs = torch.randn(7, 4)
    layer(inputs).sum().backward()
    (found,) = binary_layers(layer)
    torch.testing.assert_close(found.mean.grad, inputs.sum(0).expand(3, 4) / 2)


def test_two_forwards_before_one_backward_each_keep_their_noise():
    model = network()
    torch.manual_seed(7)
    (model(batch(1)).square().sum() + model(batch(2)).square().sum()).backward()
    together = gradients(model)
    model.zero_grad()
    torch.manual_seed(7)
    model(batch(1)).square().sum().backward()
    model(batch(2)).square().sum().backward()
    for name, value in gradients(model).items():
        torch.testing.assert_close(together[name], value, msg=name)
    assert together["one.parametrizations.weight.0.factor"].abs().max() > 0


@pytest.mark.parametrize("method", ["vispa", "bernoulli"])
@pytest.mark.parametrize("forwards", [1, 2])
def test_checkpointing_changes_no_gradient(method, forwards):
    results = []
    for checkpointed in (False, True):
        model = network(checkpointed, method=method)
        torch.manual_seed(7)
        sum(model(batch(seed)).square().sum() for seed in range(forwards)).backward()
        results.append(gradients(model))
    for name, value in results[0].items():
        assert torch.equal(value, results[1][name]), name
