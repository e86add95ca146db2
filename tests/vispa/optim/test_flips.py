"""Flip-flop ratio and C2I on any model, against counts made by hand."""

import copy

import pytest
import torch
from torch import nn

import vispa


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 4), nn.Linear(4, 2)
    )


def flip(values, count):
    with torch.no_grad():
        values.view(-1)[:count].neg_()


def test_shares_are_those_counted_by_hand_per_layer_and_in_all():
    model = network()
    tracker = vispa.FlipTracker(model)
    flip(model[0].weight, 9)
    flip(model[3].weight, 16)
    found = tracker.update()
    assert found.layers == {"0.weight": 9 / 36, "3.weight": 16 / 64, "4.weight": 0.0}
    assert found.total == 25 / 108
    assert tracker.agreement().layers == {"0.weight": 27 / 36, "3.weight": 48 / 64, "4.weight": 1.0}
    assert tracker.agreement().total == 83 / 108


def test_a_flip_back_counts_again_in_the_ratio_and_restores_agreement():
    model = network()
    tracker = vispa.FlipTracker(model)
    for _ in range(2):
        flip(model[3].weight, 10)
        assert tracker.update().total == 10 / 108
    assert tracker.update().total == 0.0
    assert tracker.agreement().total == 1.0


def test_zero_is_positive_and_magnitudes_do_not_matter():
    layer = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, -0.0, 1e-30, -1.0]]))
    tracker = vispa.FlipTracker(layer)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[5.0, 2.0, 0.0, -1e-30]]))
    assert tracker.update().total == 0.0
    with torch.no_grad():
        layer.weight[0, 3] = 0.0
    assert tracker.update().total == 0.25


@pytest.mark.parametrize("method", ["vispa", "ste", "bernoulli", "bop"])
def test_binary_layers_are_watched_where_there_are_any(method):
    model = vispa.binarize(network(), method=method, **({"rank": 2} if method == "vispa" else {}))
    tracker = vispa.FlipTracker(model)
    assert list(tracker.update().layers) == ["3.weight"]
    flip(model[3].parametrizations["weight"].original, 8)
    assert tracker.update().layers == {"3.weight": 8 / 64}
    # The network that evaluation mode computes is the one whose signs are counted.
    before = vispa.FlipTracker(vispa.harden(model), parameters=["3.weight"])
    plain = vispa.harden(model)[3].weight
    assert torch.equal(plain >= 0, before.initial["3.weight"])
    assert torch.equal(plain >= 0, tracker.previous["3.weight"])


def test_the_input_projections_of_an_attention_are_watched():
    torch.manual_seed(0)
    model = nn.ModuleDict({"attention": nn.MultiheadAttention(8, 2), "head": nn.Linear(8, 2)})
    vispa.binarize(model, layers=["attention"], rank=2)
    tracker = vispa.FlipTracker(model)
    assert set(tracker.update().layers) == {"attention.in_proj_weight", "attention.out_proj.weight"}
    flip(model["attention"].parametrizations["in_proj_weight"].original, 48)
    assert tracker.update().layers == {
        "attention.in_proj_weight": 48 / 192,
        "attention.out_proj.weight": 0.0,
    }
    only = vispa.binarize(nn.MultiheadAttention(8, 2), layers=lambda name, module: not name, rank=2)
    assert list(vispa.FlipTracker(only).update().layers) == ["in_proj_weight"]


def test_named_parameters_are_watched_instead():
    model = network()
    tracker = vispa.FlipTracker(model, parameters=["1.weight", "4.bias"])
    flip(model[4].bias, 1)
    assert tracker.update() == (0.25 * 4 / 6, {"1.weight": 0.0, "4.bias": 0.5})


def test_a_tied_weight_counts_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    tracker = vispa.FlipTracker(model)
    flip(model[1].weight, 3)
    assert tracker.update() == (1 / 3, {"0.weight": 1 / 3})


def test_it_goes_on_from_its_state():
    model = network()
    tracker = vispa.FlipTracker(model)
    flip(model[3].weight, 5)
    tracker.update()
    resumed = vispa.FlipTracker(copy.deepcopy(model))
    resumed.load_state_dict(tracker.state_dict())
    flip(resumed.model[3].weight, 2)
    assert resumed.update().total == 2 / 108
    assert resumed.agreement().total == (108 - 3) / 108


def test_the_model_is_left_alone():
    model = network()
    before = copy.deepcopy(model.state_dict())
    tracker = vispa.FlipTracker(model)
    tracker.update()
    tracker.agreement()
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())


def test_what_cannot_be_watched_is_refused():
    with pytest.raises(TypeError, match="Module"):
        vispa.FlipTracker(torch.ones(3))
    with pytest.raises(ValueError, match="no weight"):
        vispa.FlipTracker(nn.ReLU())
    with pytest.raises(ValueError, match=r"'9\.weight'"):
        vispa.FlipTracker(network(), parameters=["9.weight"])
    with pytest.raises(TypeError, match="collection"):
        vispa.FlipTracker(network(), parameters="3.weight")
    with pytest.raises(ValueError, match="state_dict"):
        vispa.FlipTracker(network()).load_state_dict(vispa.FlipTracker(nn.Linear(2, 2)).state_dict())


@pytest.mark.parametrize(
    ("arguments", "error", "word"),
    [
        ((0.1, 0.0), ValueError, "weight_decay must be positive"),
        ((-0.1, 1.0), ValueError, "learning_rate must be positive"),
        ((1.0, 1.0), ValueError, r"within \(0, 1\); found 1.0"),
        ((1e-200, 1e-200), ValueError, r"within \(0, 1\); found 0.0"),
        ((float("nan"), 1.0), ValueError, "learning_rate must be finite"),
        (("fast", 1.0), TypeError, "learning_rate must be a real number"),
    ],
)
def test_laws_of_flips_refuse_what_has_no_stationary_law(arguments, error, word):
    with pytest.raises(error, match=word):
        vispa.flip_rate(*arguments)
    with pytest.raises(error, match=word):
        vispa.sign_agreement(*arguments, 3)


def test_agreement_takes_whole_steps_that_are_not_negative():
    assert vispa.sign_agreement(0.1, 1.0, [[0, 1], [2, 3]]).shape == (2, 2)
    with pytest.raises(TypeError, match="steps must be integers"):
        vispa.sign_agreement(0.1, 1.0, 2.5)
    with pytest.raises(ValueError, match="steps must not be negative; found -1"):
        vispa.sign_agreement(0.1, 1.0, [3, -1])


def test_sigma_points_need_a_factor():
    with pytest.raises(ValueError, match="rank must be at least 1; found 0"):
        vispa.sigma_points(0)
    assert vispa.sigma_points(3, dtype=torch.float32).dtype == torch.float32
