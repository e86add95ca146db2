"""Networks whose binary weights are the signs themselves: made, divided, trained, hardened."""

import copy

import pytest
import torch
from torch import nn

import vispa
from vispa.nn import binary_layers


def network(method="bop", *, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Hardtanh(), nn.Linear(16, 16), nn.Linear(16, 3)]
        return vispa.binarize(nn.Sequential(*layers), method=method)


def data(count=200):
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(count, 8, generator=generator)
    labels = (inputs @ torch.randn(8, 3, generator=generator)).argmax(dim=1)
    return inputs, labels


def test_the_parameter_of_a_binary_layer_holds_signs_and_the_weight_its_scale():
    model = network()
    (found,) = binary_layers(model)
    assert torch.equal(found.mean.abs(), torch.ones(16, 16))
    assert 0.2 < (found.mean > 0).float().mean() < 0.8
    assert torch.equal(model[3].weight, found.mean.detach() * found.weight.alpha[:, None])


def test_every_parameter_goes_to_exactly_one_optimizer():
    model = network()
    binary, real = vispa.split_parameters(model)
    assert [id(values) for values in binary] == [id(binary_layers(model)[0].mean)]
    assert len(binary) + len(real) == len(list(model.parameters()))
    assert {id(v) for v in binary} | {id(v) for v in real} == {id(v) for v in model.parameters()}


@pytest.mark.parametrize("optimizer", [vispa.Bop, vispa.Bop2ndOrder])
def test_flips_beside_adam_learn_and_the_hard_network_computes_the_same(optimizer):
    model = network()
    inputs, labels = data()
    binary, real = vispa.split_parameters(model)
    both = vispa.OptimizerGroup(optimizer(binary, gamma=0.1, threshold=1e-4), torch.optim.Adam(real, lr=0.01))
    tracker = vispa.FlipTracker(model)
    losses, flips = [], 0.0
    for _ in range(60):
        both.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        both.step()
        flips += tracker.update().total
        losses.append(loss.item())
    assert torch.equal(binary[0].detach().abs(), torch.ones(16, 16))
    assert flips > 0.05
    assert losses[-1] < 0.4 * losses[0]
    hard = vispa.harden(model.eval())
    torch.testing.assert_close(hard(inputs), model(inputs))
    assert type(hard[3]) is nn.Linear
    assert torch.equal(
        hard[3].weight.detach().sign(),
        binary[0].detach() * binary_layers(model)[0].weight.alpha.sign()[:, None],
    )


def test_the_gradient_is_the_one_of_the_weight_itself():
    model = network()
    (found,) = binary_layers(model)
    inputs, labels = data()
    nn.functional.cross_entropy(model(inputs), labels).backward()
    hard = vispa.harden(model)
    hard[3].weight.requires_grad_(True)
    nn.functional.cross_entropy(hard(inputs), labels).backward()
    expected = hard[3].weight.grad * found.weight.alpha[:, None]
    torch.testing.assert_close(found.mean.grad, expected)


def test_one_draws_nothing_in_training_or_in_a_sampled_evaluation():
    model = network()
    model[1].eval()
    inputs, _ = data()
    assert torch.equal(model(inputs), model(inputs))
    with vispa.sampling(model.eval()):
        assert torch.equal(model(inputs), model(inputs))


def test_optimizers_in_step_go_on_exactly_from_a_checkpoint():
    inputs, labels = data()

    def steps(model, both, count):
        for _ in range(count):
            both.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            both.step()

    def made(model):
        binary, real = vispa.split_parameters(model)
        return vispa.OptimizerGroup(
            vispa.Bop(binary, gamma=0.3, threshold=1e-4), torch.optim.Adam(real, lr=0.01)
        )

    whole, half = network(), network()
    steps(whole, made(whole), 12)
    first = made(half)
    steps(half, first, 6)
    resumed = network(seed=9)
    resumed.load_state_dict(copy.deepcopy(half.state_dict()))
    second = made(resumed)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    steps(resumed, second, 6)
    expected = whole.state_dict()
    assert all(torch.equal(values, expected[name]) for name, values in resumed.state_dict().items())
    with pytest.raises(ValueError, match="2 members"):
        second.load_state_dict({"members": []})


def test_attaching_another_optimizer_to_signs_is_refused():
    model = network()
    with pytest.raises(ValueError, match=r"vispa\.split_parameters"):
        vispa.attach(torch.optim.SGD(model.parameters(), lr=0.1), model)


def test_dividing_a_model_without_signs_is_refused():
    with pytest.raises(ValueError, match='method="bop"'):
        vispa.split_parameters(network("ste"))
    with pytest.raises(ValueError, match="must not be empty"):
        vispa.OptimizerGroup()
