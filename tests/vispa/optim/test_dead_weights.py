"""Dead weights: their share, the steps and moments of dead and live ones, and histograms of latent weights."""

import math

import pytest
import torch
from torch import nn

import vispa
from vispa.nn import binary_layers


def half_dead(make=lambda values: torch.optim.Adam(values, lr=0.01), **options):
    """Two channels of which the first saturates on every example."""
    torch.manual_seed(0)
    model = vispa.binarize(nn.Linear(3, 2, bias=False), keep=(), method="ste", channel_scale="none")
    (layer,) = binary_layers(model)
    with torch.no_grad():
        layer.mean.copy_(torch.tensor([[0.5, 0.5, 0.25], [0.5, 0.5, -0.5]]))
    optimizer = vispa.attach(make(model.parameters()), model)
    return model, layer, optimizer, vispa.DeadWeightTracker(model, optimizer, **options)


def step(model, optimizer):
    optimizer.zero_grad()
    outputs = torch.tensor([5.0, 0.1]) * model(torch.eye(3) + 1)
    (vispa.SignActivation("hard-tanh")(outputs) * torch.tensor([1.0, 2.0])).sum().backward()
    optimizer.step()


def test_dead_and_live_weights_are_told_apart():
    model, layer, optimizer, tracker = half_dead()
    before = layer.mean.detach().clone()
    step(model, optimizer)
    found = tracker.update()["weight"]
    assert found.dead == 0.5
    gradient = layer.mean.grad
    assert (gradient[0] == 0).all()
    assert found.gradient == pytest.approx(float(gradient[1].square().mean().sqrt()))
    assert found.second_moment_dead == 0
    assert found.second_moment_live == pytest.approx(math.sqrt(0.001) * found.gradient)
    assert found.step_dead == 0
    assert found.step_live == pytest.approx(float((layer.mean.detach() - before)[1].square().mean().sqrt()))


def test_steps_are_since_the_last_update_and_the_history_is_kept():
    model, _, optimizer, tracker = half_dead(
        lambda values: torch.optim.Adam(values, lr=0.01, weight_decay=0.1)
    )
    for _ in range(3):
        step(model, optimizer)
        tracker.update()
    assert [each["weight"].step_dead for each in tracker.history] == pytest.approx([0.01] * 3, rel=0.01)
    assert tracker.history[0]["weight"].dead == 0.5


def test_a_threshold_counts_small_gradients_and_other_optimizers_have_no_moments():
    model, _, optimizer, tracker = half_dead(lambda values: torch.optim.SGD(values, lr=0.01), threshold=100.0)
    step(model, optimizer)
    found = tracker.update()["weight"]
    assert found.dead == 1.0
    assert math.isnan(found.gradient)
    assert math.isnan(found.second_moment_dead)
    optimizer.zero_grad()
    assert tracker.update() == {}


def test_histograms_count_every_weight_once_and_mirror_with_the_signs():
    torch.manual_seed(1)
    model = nn.Sequential(*(nn.Linear(16, 16) for _ in range(3)))
    vispa.binarize(model, keep=(), method="ste")
    found = vispa.latent_histograms(model, bins=8)
    assert list(found) == ["0.weight", "1.weight", "2.weight"]
    for layer in binary_layers(model):
        counts, edges = found[f"{layer.name}.weight"]
        expected = torch.histogram(layer.mean.detach().double().flatten(), edges).hist
        assert torch.equal(counts.double(), expected)
        assert counts.sum() == 256
        with torch.no_grad():
            layer.mean.neg_()
    mirrored = vispa.latent_histograms(model, bins=8)
    assert torch.equal(mirrored["1.weight"].counts, found["1.weight"].counts.flip(0))


def test_a_layer_of_zeros_has_a_histogram():
    model = vispa.binarize(nn.Linear(4, 2), keep=(), method="ste")
    with torch.no_grad():
        binary_layers(model)[0].mean.zero_()
    assert vispa.latent_histograms(model, bins=3)["weight"].counts.tolist() == [0, 8, 0]


def test_bad_input_is_named():
    model, _, optimizer, _ = half_dead()
    with pytest.raises(TypeError, match="optimizer must be"):
        vispa.DeadWeightTracker(model, None)
    with pytest.raises(ValueError, match="threshold"):
        vispa.DeadWeightTracker(model, optimizer, threshold=-1.0)
    with pytest.raises(ValueError, match="no binary layer"):
        vispa.DeadWeightTracker(nn.Linear(2, 2), optimizer)
    with pytest.raises(ValueError, match="bins"):
        vispa.latent_histograms(model, bins=0)
