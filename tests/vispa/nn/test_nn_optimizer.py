"""Optimizers and projections: what `attach` promises to a training loop."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from network_examples import Network, batch, network, row_error
from torch import nn

import vispa
from vispa.nn import binary_layers


@pytest.mark.parametrize("projection", ["channel", "paper", "published"])
@pytest.mark.parametrize("optimizer_first", [False, True])
def test_the_whole_posterior_trains_whichever_was_made_first(projection, optimizer_first):
    torch.manual_seed(0)
    model = Network()
    if optimizer_first:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    vispa.binarize(model, rank=2, projection=projection)
    if not optimizer_first:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    assert vispa.attach(optimizer, model) is optimizer
    before = {name: values.detach().clone() for name, values in model.named_parameters()}
    model(batch()).square().sum().backward()
    optimizer.step()
    for name, values in model.named_parameters():
        assert values.grad.abs().max() > 0, name
        assert not torch.equal(values, before[name]), name
    held = [id(values) for group in optimizer.param_groups for values in group["params"]]
    assert sorted(held) == sorted(id(values) for values in model.parameters())


def test_factors_join_the_group_of_their_mean_with_their_name():
    model = Network()
    groups = [
        {"params": list(model.one.named_parameters()), "lr": 0.5},
        {"params": list(model.two.named_parameters()) + list(model.last.named_parameters()), "lr": 0.1},
    ]
    optimizer = torch.optim.SGD(groups)
    vispa.attach(optimizer, vispa.binarize(model, rank=2))
    for group, layer in zip(optimizer.param_groups, ("one", "two"), strict=True):
        weight = dict(model.named_modules())[layer].parametrizations["weight"][0]
        assert any(values is weight.factor for values in group["params"])
        assert any(values is weight.alpha for values in group["params"])
        assert f"{layer}.parametrizations.weight.0.factor" in group["param_names"]
        assert len(group["params"]) == len(group["param_names"])


def test_attaching_twice_is_attaching_once(monkeypatch):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    vispa.attach(vispa.attach(optimizer, model), model)
    calls = []
    for found in binary_layers(model):
        monkeypatch.setattr(found.weight, "project", calls.append)
    model(batch()).sum().backward()
    optimizer.step()
    assert len(calls) == 2
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))


def test_a_posterior_of_tied_weights_joins_once_and_is_projected_once(monkeypatch):
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
    model[2].weight = model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    vispa.attach(optimizer, vispa.binarize(model, rank=2, keep=()))
    held = [id(values) for group in optimizer.param_groups for values in group["params"]]
    assert sorted(held) == sorted(id(values) for values in model.parameters())
    calls = []
    monkeypatch.setattr(binary_layers(model)[0].weight, "project", calls.append)
    model(batch()).sum().backward()
    optimizer.step()
    assert len(calls) == 1


def test_a_copy_of_model_and_optimizer_attaches_again():
    model = network()
    optimizer = vispa.attach(torch.optim.SGD(model.parameters(), lr=0.3), model)
    model_copy, optimizer_copy = copy.deepcopy((model, optimizer))
    with pytest.raises(ValueError, match="optimizer holds no mean"):
        vispa.attach(optimizer_copy, model)
    vispa.attach(optimizer_copy, model_copy)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    model_copy(batch()).square().sum().backward()
    optimizer_copy.step()
    assert row_error(model_copy) < 1e-6
    assert not torch.equal(
        model_copy.one.parametrizations["weight"].original, model.one.parametrizations["weight"].original
    )
    assert all(torch.equal(before[name], values) for name, values in model.state_dict().items())


def test_optimizer_state_saves_and_loads_after_attach():
    model = network()
    optimizer = vispa.attach(torch.optim.Adam(model.parameters(), lr=0.01), model)
    model(batch()).square().sum().backward()
    optimizer.step()
    restored = Network()
    late = torch.optim.Adam(restored.parameters(), lr=0.01)
    vispa.binarize(restored, rank=3)
    restored.load_state_dict(model.state_dict())
    early = vispa.attach(torch.optim.Adam(restored.parameters(), lr=0.5), restored)
    early.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert early.param_groups[0]["lr"] == 0.01
    for current in (model, restored):
        torch.manual_seed(9)
        current.zero_grad()
        current(batch()).square().sum().backward()
    optimizer.step()
    early.step()
    for first, second in zip(model.parameters(), restored.parameters(), strict=True):
        assert torch.equal(first, second)
    assert len(vispa.attach(late, restored).param_groups[0]["params"]) == len(list(restored.parameters()))


@pytest.mark.parametrize(
    "options", [{}, {"radius": 0.3}, {"projection": "paper"}, {"projection": "paper", "radius": 2.0}]
)
def test_projection_holds_at_the_start_and_after_every_step(options):
    model = network(rank=5, **options)
    optimizer = vispa.attach(torch.optim.SGD(model.parameters(), lr=5.0, weight_decay=0.01), model)
    assert row_error(model) < 1e-6
    for step in range(4):
        optimizer.zero_grad()
        model(batch(step)).square().sum().backward()
        optimizer.step()
        assert row_error(model) < 1e-6


def test_published_projection_leaves_the_step_of_the_optimizer_alone():
    model = network(projection="published")
    reference = copy.deepcopy(model)
    attached = vispa.attach(torch.optim.SGD(model.parameters(), lr=0.5), model)
    plain = torch.optim.SGD(reference.parameters(), lr=0.5)
    for current, optimizer in ((model, attached), (reference, plain)):
        torch.manual_seed(2)
        current(batch()).square().sum().backward()
        optimizer.step()
    assert all(map(torch.equal, model.parameters(), reference.parameters()))
    assert row_error(model) > 0.1


@pytest.mark.parametrize("method", ["ste", "bernoulli"])
def test_means_are_clipped_after_every_step(method):
    model = network(method=method)
    optimizer = vispa.attach(torch.optim.SGD(model.parameters(), lr=50.0), model)
    model(batch()).square().sum().backward()
    optimizer.step()
    largest = max(float(found.mean.detach().abs().max()) for found in binary_layers(model))
    assert largest == 1.0


@settings(max_examples=40)
@given(
    shape=st.sampled_from([(3, 4), (2, 3, 2), (4, 2, 1, 3)]),
    rank=st.integers(1, 4),
    scale=st.sampled_from([0.5, 1.0, 100.0]),
    magnitude=st.sampled_from([1e-12, 1.0, 1e12]),
    projection=st.sampled_from(["channel", "paper"]),
    radius=st.sampled_from([None, 1e-3, 5.0]),
    seed=st.integers(0, 2**31),
)
def test_projection_and_gauge_leave_the_law_of_the_signs_alone(
    shape, rank, scale, magnitude, projection, radius, seed
):
    """Multiplying rows by positive numbers, the projection among them, changes no sign under any noise."""
    generator = torch.Generator().manual_seed(seed)
    kind = {2: nn.Linear, 3: nn.Conv1d, 4: nn.Conv2d}[len(shape)]
    sizes = (shape[1], shape[0]) if kind is nn.Linear else (shape[1], shape[0], shape[2:])
    layer = kind(*sizes, dtype=torch.float64)
    vispa.binarize(layer, rank=rank, keep=(), scale=scale, projection=projection, radius=radius)
    (found,) = binary_layers(layer)
    weight, mean = found.weight, found.mean
    with torch.no_grad():
        mean.copy_(magnitude * torch.randn(shape, generator=generator, dtype=torch.float64))
        weight.factor.copy_(
            magnitude * torch.randn(weight.factor.shape, generator=generator, dtype=torch.float64)
        )
        noises = torch.randn(20, rank, generator=generator, dtype=torch.float64)
        before = torch.stack([weight.realise(mean, noise) for noise in noises])
        stretch = torch.rand(shape, generator=generator, dtype=torch.float64) + 0.1
        mean.mul_(stretch)
        weight.factor.mul_(stretch.flatten(1).unsqueeze(1))
        assert torch.equal(before, torch.stack([weight.realise(mean, noise) for noise in noises]))
        vispa.nn.project(layer)
        assert torch.equal(before, torch.stack([weight.realise(mean, noise) for noise in noises]))
    assert row_error(layer) < 1e-14


@pytest.mark.parametrize(
    ("projection", "zeros", "words"),
    [
        ("paper", (0, 0), "layer 'two': a weight has a zero mean and a zero row"),
        (
            "channel",
            (0, slice(None)),
            "layer 'two': all weights of an output channel have a zero mean and a zero row",
        ),
    ],
)
def test_what_is_zero_has_no_projection(projection, zeros, words):
    model = network(projection=projection)
    with torch.no_grad():
        model.two.parametrizations["weight"].original[zeros] = 0
        model.two.parametrizations["weight"][0].factor[zeros[0], :, zeros[1]] = 0
    before = {name: values.clone() for name, values in model.state_dict().items()}
    with pytest.raises(ValueError, match=words):
        vispa.nn.project(model)
    assert all(torch.equal(before[name], values) for name, values in model.state_dict().items())
    optimizer = vispa.attach(torch.optim.SGD(model.parameters(), lr=0.0), model)
    model(batch()).sum().backward()
    optimizer.step()
    assert all(bool(torch.isfinite(values).all()) for values in model.parameters())


@pytest.mark.parametrize(
    ("attach", "error", "words"),
    [
        (lambda model: vispa.attach(model, model), TypeError, "optimizer must be a torch.optim.Optimizer"),
        (lambda model: vispa.attach(sgd(model), nn.Linear(2, 2)), ValueError, "has no binary layer"),
        (lambda model: vispa.attach(sgd(model), None), TypeError, "model must be a torch.nn.Module"),
        (lambda model: vispa.attach(sgd(nn.Linear(2, 2)), model), ValueError, "holds no mean"),
        (lambda model: vispa.nn.project(nn.Linear(2, 2)), ValueError, "has no binary layer"),
    ],
)
def test_attach_refuses_what_it_cannot_train(attach, error, words):
    with pytest.raises(error, match=words):
        attach(network())


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def test_an_optimizer_with_ready_made_state_must_come_second():
    model = Network()
    early = torch.optim.Adagrad(model.parameters())
    vispa.binarize(model)
    with pytest.raises(
        ValueError, match=r"Adagrad.*lacks 'one.parametrizations.weight.0.alpha'.*after binarize"
    ):
        vispa.attach(early, model)
    late = vispa.attach(torch.optim.Adagrad(model.parameters()), model)
    model(batch()).square().sum().backward()
    late.step()
    assert row_error(model) < 1e-6
