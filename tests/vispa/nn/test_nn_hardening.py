"""Plain networks out of binary ones, over kinds of layer; ensembles."""

import copy
import gc
import weakref

import pytest
import torch
from network_examples import Network, batch, network
from torch import nn
from torch.nn.utils import parametrize

import vispa
from vispa.nn import binary_layers


def test_hardened_network_is_new_plain_and_ready_to_save(tmp_path):
    model = network()
    model(batch()).sum().backward()
    before = {name: values.clone() for name, values in model.state_dict().items()}
    plain = vispa.harden(model)
    assert not any(parametrize.is_parametrized(module) for module in plain.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in plain.modules())
    assert all(values.grad is None and values.requires_grad for values in plain.parameters())
    torch.save(plain, tmp_path / "plain.pt")  # a parametrized module would refuse to be pickled
    loaded = torch.load(tmp_path / "plain.pt", weights_only=False)
    assert torch.equal(loaded(batch()), model.eval()(batch()))
    float_model = Network()
    float_model.load_state_dict(plain.state_dict())
    assert torch.equal(float_model(batch()), model(batch()))
    with torch.no_grad():
        for values in plain.parameters():
            values.zero_()
    assert all(torch.equal(before[name], values) for name, values in model.state_dict().items())
    assert not torch.equal(model.train()(batch()), model(batch()))


@pytest.mark.parametrize("options", [{}, {"method": "bernoulli", "channel_scale": "none"}])
def test_posteriors_of_the_copies_are_freed_at_once(monkeypatch, options):
    """No cycle of references: every copy would keep its factors until the collector's next full run."""
    model = network(**options)
    watched = []

    def watching_copy(original):
        twin = copy.deepcopy(original)
        watched.extend(weakref.ref(found.weight) for found in binary_layers(twin))
        return twin

    monkeypatch.setattr("vispa.nn.conversion.harden.deepcopy", watching_copy)
    gc.disable()
    try:
        plain = vispa.harden(model)
        assert len(watched) == 2
        assert all(reference() is None for reference in watched)
    finally:
        gc.enable()
    assert torch.equal(plain.eval()(batch()), model.eval()(batch()))


def test_weights_take_two_values_a_channel_also_for_negative_alpha():
    model = network()
    with torch.no_grad():
        model.one.parametrizations["weight"][0].alpha[::2].neg_()
    plain = vispa.harden(model.eval())
    assert torch.equal(plain(batch()), model(batch()))
    assert all(len(row.unique()) == 2 for row in plain.one.weight.abs().cumsum(1)[:, :2])
    assert torch.equal(plain.one.weight.abs(), plain.one.weight.abs()[:, :1].expand(16, 16))


def test_sampled_networks_differ_and_keep_mode_and_seed():
    model = network().eval()
    first, second = vispa.harden(model, how="sample"), vispa.harden(model, how="sample")
    assert not first.training
    assert not torch.equal(first.one.weight, second.one.weight)
    torch.manual_seed(0)
    third = vispa.harden(model, how="sample")
    torch.manual_seed(0)
    assert torch.equal(third.one.weight, vispa.harden(model, how="sample").one.weight)


def test_frozen_layers_harden_frozen():
    layer = vispa.binarize(nn.Linear(3, 3), keep=()).requires_grad_(False)
    assert not any(values.requires_grad for values in vispa.harden(layer).parameters())


def parametrized_again() -> nn.Module:
    layer = vispa.binarize(nn.Linear(6, 2), keep=())
    parametrize.register_parametrization(layer, "weight", nn.Identity())
    return layer


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: vispa.harden(nn.Linear(2, 2)), ValueError, "no binary layer; call vispa.binarize"),
        (lambda: vispa.harden("model"), TypeError, "model must be a torch.nn.Module; found str"),
        (
            lambda: vispa.harden(network(), how="best"),
            ValueError,
            "how must be one of 'mean', 'sample', 'best_of'",
        ),
        (
            lambda: vispa.harden(torch.compile(network(), backend="eager")),
            TypeError,
            "wrapped by torch.compile",
        ),
        (lambda: vispa.harden(parametrized_again()), ValueError, "parametrized again after binarize"),
    ],
)
def test_bad_input_is_refused_in_words(call, error, words):
    with pytest.raises(error, match=words):
        call()
