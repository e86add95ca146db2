"""Writes to a binary weight: assignments and resets reach the posterior, lost writes and projections are told."""

import copy
import math
import warnings

import pytest
import torch
from torch import nn

import vispa
from vispa.nn import binary_layers

METHODS = ("vispa", "ste", "bernoulli", "bop")
LAYERS = {
    "linear": (lambda: nn.Linear(6, 5), (4, 6)),
    "conv": (lambda: nn.Conv2d(4, 6, 3, groups=2), (2, 4, 5, 5)),
    "transposed": (lambda: nn.ConvTranspose1d(4, 6, 3), (2, 4, 5)),
    "no bias": (lambda: nn.Linear(6, 5, bias=False), (4, 6)),
}


def binary(layer: nn.Module, method: str = "vispa", **options) -> nn.Module:
    if method == "vispa":
        options = {"rank": 2, "noise_ratio": 0.5} | options
    return vispa.binarize(layer, method=method, keep=(), **options)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", LAYERS)
def test_an_assigned_weight_is_the_best_binary_one_and_the_bias_adds_what_it_added(name, method):
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    layer = binary(make(), method)
    bias = None if layer.bias is None else layer.bias.detach().clone()
    mean = binary_layers(layer)[0].mean
    values = torch.randn_like(layer.weight)
    kept = values.clone()
    layer.weight = values
    assert torch.equal(values, kept)
    assert binary_layers(layer)[0].mean is mean
    assert torch.equal(layer.weight.sign(), values.sign())
    weight = binary_layers(layer)[0].weight
    rows = weight.layout.rows(values).flatten(1)
    torch.testing.assert_close(weight.alpha.detach(), rows.abs().mean(1))
    if bias is not None:
        torch.testing.assert_close(layer.bias, bias)
    inputs = torch.randn(shape)
    torch.testing.assert_close(vispa.harden(layer)(inputs), layer.eval()(inputs))


# On the unit spheres of the paper each row has noise of its own size, and the assigned rows meet those of others.
@pytest.mark.parametrize(("projection", "share"), [("channel", 0.25), ("paper", 1.0), ("published", 0.25)])
def test_an_assigned_weight_is_as_certain_as_the_one_before(projection, share):
    torch.manual_seed(0)
    layer = binary(nn.Linear(400, 30), projection=projection)

    def turned() -> float:
        signs = vispa.harden(layer).weight.sign()
        return float((vispa.harden(layer, how="sample").weight.sign() != signs).float().mean())

    before = sum(turned() for _ in range(40)) / 40
    layer.weight = 1e-3 * torch.randn(30, 400)
    after = sum(turned() for _ in range(40)) / 40
    assert after == pytest.approx(before, abs=share * before)
    assert before == pytest.approx(math.atan(0.5) / math.pi, rel=0.25)


@pytest.mark.parametrize(
    ("values", "words"),
    [(torch.zeros(5, 6), "zeros alone"), (torch.full((5, 6), float("nan")), "finite values; found NaN")],
)
def test_what_has_no_signs_cannot_be_assigned(values, words):
    layer = binary(nn.Linear(6, 5))
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(ValueError, match=words):
        layer.weight = values
    assert all(torch.equal(values, layer.state_dict()[name]) for name, values in before.items())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(6, 5),
        lambda: nn.Conv2d(4, 6, 3),
        lambda: nn.Embedding(7, 5, padding_idx=2),
        lambda: nn.MultiheadAttention(8, 2),
    ],
    ids=["linear", "convolution", "embedding", "attention"],
)
def test_a_reset_draws_what_the_plain_layer_draws(make, method):
    plain, layer = make(), make()
    name = "_reset_parameters" if isinstance(plain, nn.MultiheadAttention) else "reset_parameters"
    binary(layer, method, layers=lambda name, module: True)
    before = [found.mean.detach().clone() for found in binary_layers(layer)]
    for network in (plain, layer):
        torch.manual_seed(3)
        getattr(network, name)()
    for found, old in zip(binary_layers(layer), before, strict=True):
        # The output projection of an attention is not among what its own reset draws.
        assert torch.equal(found.mean, old) == (found.name == "out_proj" and method == "bop")
        if found.name == "" and not isinstance(layer, nn.Embedding):
            drawn = getattr(plain, found.attribute)
            assert torch.equal(getattr(layer, found.attribute).sign(), drawn.sign())
    if isinstance(layer, nn.Embedding):
        assert not layer.weight[2].any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        harden = vispa.harden(layer)
    assert type(harden) is type(plain)
    for key, values in harden.state_dict().items():
        if "bias" in key:
            torch.testing.assert_close(values, plain.state_dict()[key])


@pytest.mark.parametrize(
    "write",
    [
        lambda layer: nn.init.normal_(layer.weight, std=0.02),
        lambda layer: layer.weight.data.fill_(0.5),
        lambda layer: layer.weight.data.normal_(0.0, 0.02),
        lambda layer: layer.weight.detach().copy_(torch.randn(5, 6)),
        lambda layer: layer.weight.detach().__setitem__(0, 1.0),
    ],
)
def test_a_write_that_is_lost_is_told_once_at_the_next_forward(write):
    torch.manual_seed(0)
    layer = binary(nn.Linear(6, 5))
    signs = layer.weight.sign()
    write(layer)
    with pytest.warns(UserWarning, match=r"shape \(5, 6\) was written in place.*Assign it"):
        layer(torch.randn(2, 6))
    assert torch.equal(layer.weight.sign(), signs)
    layer(torch.randn(2, 6))  # warnings are errors here


def test_reading_a_weight_is_no_write():
    layer = binary(nn.Linear(6, 5))
    read = layer.weight
    optimizer = vispa.attach(torch.optim.SGD(layer.parameters(), lr=1.0), layer)
    layer(torch.randn(2, 6)).sum().backward()
    optimizer.step()
    assert not torch.equal(layer.weight, read) or layer.weight is not read
    layer(torch.randn(2, 6))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 6)).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("vispa", {}, r"off their sphere by up to .* of the radius"),
        ("vispa", {"projection": "paper"}, "off their sphere"),
        ("bernoulli", {}, r"its means reach .*, outside \[-1, 1\]"),
        ("bop", {}, r"off \+1 and -1.*vispa\.Bop"),
    ],
)
def test_training_without_a_projection_is_told_once(method, options, words):
    torch.manual_seed(0)
    layer = binary(nn.Linear(6, 5), method, **options)
    optimizer = torch.optim.SGD(layer.parameters(), lr=2.0)
    with pytest.warns(UserWarning, match=rf"(?s)without its projection: .*{words}.*vispa\.attach"):
        train(layer, optimizer, 4)
    train(layer, optimizer, 3)


@pytest.mark.parametrize("method", ["vispa", "ste", "bernoulli"])
def test_training_with_a_projection_is_silent(method):
    for follow in ("attach", "project"):
        layer = binary(nn.Linear(6, 5), method)
        optimizer = torch.optim.SGD(layer.parameters(), lr=2.0)
        if follow == "attach":
            train(layer, vispa.attach(optimizer, layer), 6)
        else:
            for _ in range(6):
                train(layer, optimizer, 1)
                vispa.project(layer)
    # Latent weights without a clip are what many mean by straight-through.
    latent = binary(nn.Linear(6, 5), "ste")
    train(latent, torch.optim.SGD(latent.parameters(), lr=2.0), 6)
    published = binary(nn.Linear(6, 5), projection="published")
    train(published, torch.optim.SGD(published.parameters(), lr=2.0), 6)


def test_a_copied_optimizer_has_lost_the_projection_and_is_told():
    torch.manual_seed(0)
    layer = binary(nn.Linear(6, 5))
    optimizer = vispa.attach(torch.optim.SGD(layer.parameters(), lr=2.0), layer)
    train(layer, optimizer, 3)
    model, copied = copy.deepcopy((layer, optimizer))
    with pytest.warns(UserWarning, match="a copied one has lost it"):
        train(model, copied, 4)
    train(layer, optimizer, 3)
