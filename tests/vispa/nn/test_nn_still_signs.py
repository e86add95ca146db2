"""The warning about signs that stand still, and signs that move where nothing was chosen."""

import warnings

import pytest
import torch
from network_examples import Network, batch, network
from torch import nn

import vispa
from vispa.nn.conversion import still_signs


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(still_signs, "STEPS", 12)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 30) -> None:
    for step in range(steps):
        optimizer.zero_grad()
        model(batch(step)).square().sum().backward()
        optimizer.step()


def test_signs_that_stand_still_are_told_once_with_their_rate(soon):
    model = network(projection="paper", noise_ratio=1e-3)
    optimizer = vispa.attach(torch.optim.Adam(model.parameters(), lr=3e-3), model)
    with pytest.warns(UserWarning, match=r"12 steps in 2 binary layer.*'one', 'two'.*now 0\.003") as told:
        train(model, optimizer)
    assert len(told) == 1


@pytest.mark.parametrize(
    "optimizer_of", [lambda v: torch.optim.Adam(v, lr=1e-3), lambda v: torch.optim.SGD(v, lr=1.0)]
)
@pytest.mark.parametrize("options", [{}, {"channel_scale": "mean"}, {"method": "ste"}])
def test_nothing_is_told_where_signs_turn(soon, optimizer_of, options):
    model = network(**options)
    optimizer = vispa.attach(optimizer_of(model.parameters()), model)
    tracker = vispa.FlipTracker(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(model, optimizer)
    assert tracker.agreement().total < 1 - still_signs.SHARE


def frozen_means(model: Network) -> None:
    for name in ("one", "two"):
        getattr(model, name).parametrizations["weight"].original.requires_grad_(False)


def unused(model: Network) -> None:
    model.forward = lambda inputs: model.last(model.first(inputs))


@pytest.mark.parametrize("prepare", [frozen_means, unused])
def test_nothing_is_told_of_layers_that_do_not_train(soon, prepare):
    model = network(projection="paper", noise_ratio=1e-3)
    prepare(model)
    optimizer = vispa.attach(torch.optim.Adam(model.parameters(), lr=3e-3), model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(model, optimizer)


@pytest.mark.parametrize("rate", [0.0, 1e-7])
def test_nothing_is_told_of_rates_that_move_nothing_else(soon, rate):
    model = network(projection="paper", noise_ratio=1e-3)
    optimizer = vispa.attach(torch.optim.Adam(model.parameters(), lr=rate), model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(model, optimizer)


def test_memory_is_given_back_after_the_look(soon):
    model = network()
    optimizer = vispa.attach(torch.optim.Adam(model.parameters(), lr=1e-3), model)
    watch = optimizer._vispa_projection.still_signs
    train(model, optimizer, 3)
    assert len(watch.starts) == 2
    train(model, optimizer, 10)
    assert not watch.starts
