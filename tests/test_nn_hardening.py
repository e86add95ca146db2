"""Plain networks out of binary ones, over kinds of layer; ensembles."""

import pytest
import torch
from network_examples import Network, batch, network
from torch import nn
from torch.nn.utils import parametrize

import vispa


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
    layer = vispa.binarize(nn.Linear(3, 3).requires_grad_(False), keep=())
    assert not any(values.requires_grad for values in vispa.harden(layer).parameters())


def test_ensemble_is_the_mean_over_sampled_networks():
    model = network()
    torch.manual_seed(8)
    averaged = vispa.ensemble(model, batch(), samples=3)
    assert model.training
    model.eval()
    torch.manual_seed(8)
    with vispa.sampling(model), torch.no_grad():
        expected = sum(model(batch()) for _ in range(3)) / 3
    torch.testing.assert_close(averaged, expected)
    assert not averaged.requires_grad
    assert not torch.equal(averaged, model(batch()))


def test_ensemble_leaves_statistics_and_modes_of_every_module():
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).train()
    vispa.binarize(model, keep=(), rank=1)
    model[1].eval()
    before = model[1].running_mean.clone()
    vispa.ensemble(model, batch(), samples=2)
    assert [module.training for module in model] == [True, False, True]
    assert torch.equal(before, model[1].running_mean)


def test_an_ensemble_of_low_precision_outputs_adds_in_single_precision():
    model = vispa.binarize(nn.Linear(6, 4, dtype=torch.bfloat16), keep=(), rank=1)
    assert vispa.ensemble(model, batch().bfloat16(), samples=2).dtype == torch.float32


def test_sampling_nests_and_ends_after_an_error():
    model = network().eval()
    with vispa.sampling(model):
        with vispa.sampling(model):
            pass
        assert not torch.equal(model(batch()), model(batch()))
        assert not model.training
    with pytest.raises(KeyError), vispa.sampling(model):
        raise KeyError
    assert torch.equal(model(batch()), model(batch()))


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 2)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.layer(inputs), inputs


def parametrized_again() -> nn.Module:
    layer = vispa.binarize(nn.Linear(6, 2), keep=())
    parametrize.register_parametrization(layer, "weight", nn.Identity())
    return layer


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: vispa.harden(nn.Linear(2, 2)), ValueError, "no binary layer; call vispa.binarize"),
        (lambda: vispa.harden("model"), TypeError, "model must be a torch.nn.Module; found str"),
        (lambda: vispa.harden(network(), how="best"), ValueError, "how must be one of 'mean', 'sample', 'best_of'"),
        (
            lambda: vispa.harden(torch.compile(network(), backend="eager")),
            TypeError,
            "wrapped by torch.compile",
        ),
        (lambda: vispa.harden(parametrized_again()), ValueError, "parametrized again after binarize"),
        (lambda: vispa.ensemble(nn.Linear(6, 2), batch()), ValueError, "no binary layer"),
        (lambda: vispa.ensemble(network(), batch(), samples=0), ValueError, "samples must be at least 1"),
        (lambda: vispa.ensemble(network(), batch(), samples=1.5), TypeError, "samples must be an integer"),
        (lambda: vispa.ensemble(None, batch()), TypeError, "model must be a torch.nn.Module"),
        (
            lambda: vispa.ensemble(vispa.binarize(Pair(), keep=()), batch()),
            TypeError,
            "model must return one tensor; found tuple",
        ),
        (lambda: vispa.sampling(nn.Linear(2, 2)).__enter__(), ValueError, "no binary layer"),
    ],
)
def test_bad_input_is_refused_in_words(call, error, words):
    with pytest.raises(error, match=words):
        call()
