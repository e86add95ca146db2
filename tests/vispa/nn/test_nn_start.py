"""Where a posterior starts: trained weights are kept, fresh draws are drawn for training, on request either."""

import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import vispa
from vispa.nn import binary_layers
from vispa.nn.conversion.layer_kinds import find_sites
from vispa.nn.conversion.start import keeps_weights

MAKERS = {
    "linear": lambda a, b: nn.Linear(a, b),
    "convolution": lambda a, b: nn.Conv2d(a, b, 3),
    "grouped": lambda a, b: nn.Conv2d(2 * a, 2 * b, 3, groups=2),
    "transposed": lambda a, b: nn.ConvTranspose2d(a, b, (3, 2)),
    "attention": lambda a, b: nn.MultiheadAttention(2 * a, 2),
    "embedding": lambda a, b: nn.Embedding(b + 20, a, padding_idx=0),
}


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 3))


def trained(steps: int = 20) -> nn.Sequential:
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    inputs, labels = torch.randn(64, 6), torch.randint(3, (64,))
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return model


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(MAKERS)),
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 2**16),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
)
def test_what_torch_draws_is_fresh_and_what_is_larger_is_not(name, sizes, seed, dtype):
    torch.manual_seed(seed)
    model = MAKERS[name](*sizes).to(dtype)
    sites = find_sites(model).values()
    assert not keeps_weights("auto", sites)
    assert keeps_weights("weights", sites)
    weights = [getattr(site.module, attribute) for site in sites for attribute in site.weights]
    if sum(weight.numel() for weight in weights) < 50:
        return  # a few numbers tell nothing of the law behind them
    with torch.no_grad():
        for weight in weights:
            weight.mul_(4.0)
    assert keeps_weights("auto", sites)
    assert not keeps_weights("fresh", sites)


def test_a_trained_network_keeps_its_signs_scales_and_biases():
    source = trained()
    model = trained()
    vispa.binarize(model, rank=2)
    plain = vispa.harden(model)
    assert torch.equal(plain[2].weight.sign(), source[2].weight.sign())
    torch.testing.assert_close(plain[2].weight.abs()[:, 0], source[2].weight.abs().mean(1))
    torch.testing.assert_close(plain[2].bias, source[2].bias)
    drawn = vispa.harden(vispa.binarize(trained(), rank=2, start="fresh"))
    assert not torch.equal(drawn[2].weight.sign(), source[2].weight.sign())


def test_a_new_network_is_drawn_anew_unless_it_is_to_be_kept():
    torch.manual_seed(1)
    model, kept = network(), network()
    kept.load_state_dict(model.state_dict())
    signs = model[2].weight.detach().sign()
    vispa.binarize(model, rank=2)
    vispa.binarize(kept, rank=2, start="weights")
    assert not torch.equal(model[2].weight.sign(), signs)
    assert torch.equal(kept[2].weight.sign(), signs)
    assert model[2].parametrizations.weight[0].alpha[0].item() == pytest.approx(20**-0.5)


@pytest.mark.parametrize("method", ["vispa", "ste", "bernoulli", "bop"])
def test_every_method_starts_where_load_float_does(method):
    one = vispa.binarize(trained(), method=method)
    other = vispa.load_float(vispa.binarize(trained(), method=method, start="fresh"), trained())
    for first, second in zip(binary_layers(one), binary_layers(other), strict=True):
        assert torch.equal(first.mean.sign(), second.mean.sign())
        torch.testing.assert_close(first.weight.alpha, second.weight.alpha)


def test_a_channel_of_zeros_adds_its_bias_still():
    model = trained()
    with torch.no_grad():
        model[2].weight[4] = 0.0
    bias = model[2].bias.detach().clone()
    vispa.binarize(model, rank=2)
    torch.testing.assert_close(model[2].bias, bias)
    model(torch.randn(3, 6)).sum().backward()


def test_the_choice_and_what_stayed_real_are_logged_and_nothing_is_printed(caplog, capsys):
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.experts = nn.Parameter(torch.randn(4, 30, 30))
            self.layers = network()

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.layers(inputs)

    with caplog.at_level(logging.INFO, logger="vispa"):
        vispa.binarize(Experts(), rank=2)
    assert "posteriors start from fresh draws" in caplog.text
    assert f"binary: 400 weights, {100 * 400 / (400 + 3600 + 120 + 60):.1f} %" in caplog.text
    assert "the largest experts, layers.0.weight, layers.4.weight" in caplog.text
    assert capsys.readouterr() == ("", "")


def test_another_start_is_refused():
    with pytest.raises(ValueError, match="start must be one of 'auto', 'weights', 'fresh'; found 'cold'"):
        vispa.binarize(network(), start="cold")
