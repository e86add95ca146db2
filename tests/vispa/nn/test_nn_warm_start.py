"""Warm starts: what the float network leaves in the binary one, and how much noise is added."""

import copy
import math
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import vispa
from vispa.nn import binary_layers


class Plain(nn.Module):
    """A transposed convolution, an attention and normalisation between a real first and last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(2, 8, 3, padding=1)
        self.norm = nn.BatchNorm1d(8)
        self.up = nn.ConvTranspose1d(8, 8, 4, stride=2, groups=2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.last = nn.Linear(8, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.up(torch.relu(self.norm(self.first(inputs)))).transpose(1, 2)
        return self.last(self.attention(hidden, hidden, hidden)[0].mean(1))


def pretrained() -> Plain:
    torch.manual_seed(0)
    model = Plain()
    model(torch.randn(16, 2, 5))  # running statistics of its own
    with torch.no_grad():
        for values in model.parameters():
            values.add_(0.1 * torch.randn_like(values))
    return model


def binarized(**options) -> Plain:
    torch.manual_seed(1)
    own = {"rank": 2} if options.get("method", "vispa") == "vispa" else {}
    return vispa.binarize(Plain(), **own | options)


def by_hand(plain: Plain) -> Plain:
    """The float network with the weights of its binary layers replaced by mean|w| sgn(w), channel by channel."""
    plain = copy.deepcopy(plain)
    with torch.no_grad():
        for weight in (plain.attention.in_proj_weight, plain.attention.out_proj.weight):
            weight.copy_(weight.abs().mean(1, keepdim=True) * weight.sign())
        for group in range(2):
            for channel in range(4):
                row = plain.up.weight[group * 4 : group * 4 + 4, channel]
                row.copy_(row.abs().mean() * row.sign())
    return plain


@pytest.mark.parametrize("method", ["vispa", "ste", "bernoulli", "bop"])
@pytest.mark.parametrize("as_state", [False, True])
def test_evaluation_is_the_float_network_with_its_signs(method, as_state):
    plain = pretrained().eval()
    model = binarized(method=method)
    assert vispa.load_float(model, plain.state_dict() if as_state else plain) is model
    inputs = torch.randn(4, 2, 5)
    torch.testing.assert_close(model.eval()(inputs), by_hand(plain)(inputs))
    assert torch.equal(model.norm.running_mean, plain.norm.running_mean)
    torch.testing.assert_close(model.up.bias, plain.up.bias)
    torch.testing.assert_close(model.attention.in_proj_bias, plain.attention.in_proj_bias)
    saved = vispa.harden(model).state_dict()
    assert saved.keys() == plain.state_dict().keys()


@pytest.mark.parametrize("channel_scale", ["mean", "none"])
def test_scales_that_are_not_learned(channel_scale):
    torch.manual_seed(0)
    plain = nn.Linear(5, 3)
    model = vispa.binarize(nn.Linear(5, 3), keep=(), projection="published", channel_scale=channel_scale)
    vispa.load_float(model, plain).eval()
    alpha = plain.weight.abs().mean(1, keepdim=True) if channel_scale == "mean" else 1.0
    torch.testing.assert_close(model.weight, alpha * plain.weight.sign())
    assert torch.equal(model.bias, plain.bias)
    assert "alpha" not in str(list(model.state_dict()))


@pytest.mark.parametrize(
    "options", [{}, {"residual": True}, {"covariance": "channel", "projection": "published"}]
)
@pytest.mark.parametrize("ratio", [0.05, 1.0])
def test_noise_ratio_sets_the_share_of_flipped_signs(options, ratio):
    torch.manual_seed(0)
    plain = nn.Linear(300, 300)
    nn.init.normal_(plain.weight, std=0.02)
    layer = vispa.binarize(nn.Linear(300, 300), rank=16, keep=(), **options)
    vispa.load_float(layer, plain, noise_ratio=ratio)
    samples = [vispa.harden(layer, how="sample").weight.sign() for _ in range(20)]
    share = float((torch.stack(samples) != plain.weight.sign()).double().mean())
    assert share == pytest.approx(math.atan(ratio) / math.pi, rel=0.08)


def test_default_noise_ratio_is_the_published_one_and_uniform_in_the_layer():
    torch.manual_seed(0)
    plain = nn.Linear(300, 200)
    layer = vispa.binarize(nn.Linear(300, 200), rank=8, keep=(), projection="published")
    vispa.load_float(layer, plain)
    (found,) = binary_layers(layer)
    variances = found.weight.factor.detach().square().sum(1) / 100
    stated = math.sqrt(8 * (300 + 200) / (100 * 300 * (200 + 8)))
    assert float((variances.mean() / plain.weight.detach().square().mean()).sqrt()) == pytest.approx(
        stated, rel=0.01
    )
    large = plain.weight.detach().abs() > plain.weight.detach().abs().median()
    assert float(variances[large].mean() / variances[~large].mean()) == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("ratio", [1.5, 3.0])
def test_bernoulli_means_are_scaled_to_the_ratio(ratio):
    torch.manual_seed(0)
    plain = nn.Linear(200, 200)  # uniform weights: nothing is clipped at these ratios
    layer = vispa.binarize(nn.Linear(200, 200), keep=(), method="bernoulli")
    vispa.load_float(layer, plain, noise_ratio=ratio)
    (found,) = binary_layers(layer)
    square = found.mean.detach().square().mean()
    assert float(((1 - square) / square).sqrt()) == pytest.approx(ratio, rel=1e-5)


def test_a_warm_start_trains_on():
    torch.manual_seed(0)
    inputs = torch.randn(256, 8)
    labels = (inputs @ torch.randn(8, 3)).argmax(1)
    plain = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))

    def train(model, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            return float(F.cross_entropy(model.eval()(inputs), labels))

    train(plain, torch.optim.Adam(plain.parameters(), lr=0.01), 100)
    warm, cold = (vispa.binarize(copy.deepcopy(plain).train()) for _ in range(2))
    vispa.load_float(warm, plain, noise_ratio=0.1)
    losses = []
    for model in (warm, cold):
        optimizer = vispa.attach(torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), model)
        losses.append(train(model.train(), optimizer, 5))
    assert losses[0] < losses[1]


def changed(**entries):
    state = pretrained().state_dict()
    for name, values in entries.items():
        state[name.replace("_w", ".w")] = values
    return {name: values for name, values in state.items() if values is not None}


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    return vispa.binarize(model, keep=())


@pytest.mark.parametrize(
    ("load", "error", "words"),
    [
        (lambda model: vispa.load_float(Plain(), model), ValueError, "model has no binary layer"),
        (
            lambda model: vispa.load_float(model, 3),
            TypeError,
            "source must be a torch.nn.Module or a mapping",
        ),
        (
            lambda model: vispa.load_float(model, binarized()),
            ValueError,
            "found one that is binarized itself",
        ),
        (
            lambda model: vispa.load_float(model, changed(up_weight=None)),
            ValueError,
            "missing: 'up.weight'; left",
        ),
        (lambda model: vispa.load_float(model, changed(x=torch.ones(1))), ValueError, "left over: 'x'"),
        (
            lambda model: vispa.load_float(model, changed(up_weight=torch.ones(2))),
            ValueError,
            r"source\['up.weight'\] must have shape \(8, 4, 4\); found \(2,\)",
        ),
        (
            lambda model: vispa.load_float(model, changed(up_weight=torch.full((8, 4, 4), math.nan))),
            ValueError,
            "must be finite",
        ),
        (
            lambda model: vispa.load_float(model, changed(up_weight=torch.zeros(8, 4, 4))),
            ValueError,
            "zeros alone",
        ),
        (
            lambda model: vispa.load_float(model, changed(up_weight=torch.ones(8, 4, 4, dtype=torch.int8))),
            TypeError,
            "must be floating point; found torch.int8",
        ),
        (
            lambda model: vispa.load_float(model, changed(up_weight="x")),
            TypeError,
            "must be a tensor; found str",
        ),
        (lambda model: vispa.load_float(model, pretrained(), noise_ratio=-1), ValueError, "must be positive"),
        (
            lambda model: vispa.load_float(binarized(method="ste"), pretrained(), noise_ratio=0.1),
            ValueError,
            "noise_ratio must be None for layer 'up'",
        ),
        (
            lambda model: vispa.load_float(tied(), nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))),
            ValueError,
            "must be equal: the model ties them",
        ),
    ],
)
def test_what_cannot_be_loaded_is_refused_and_nothing_changes(load, error, words):
    model = binarized()
    before = {name: values.clone() for name, values in model.state_dict().items()}
    with pytest.raises(error, match=words):
        load(model)
    assert all(torch.equal(before[name], values) for name, values in model.state_dict().items())


def float_network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


def test_a_state_that_binarize_has_overwritten_is_refused():
    model = float_network()
    state = model.state_dict()
    copied = copy.deepcopy(state)
    vispa.binarize(model)
    with pytest.raises(ValueError, match=r"own memory.*copy\.deepcopy"):
        vispa.load_float(model, state)
    vispa.load_float(model, copied)
    assert torch.equal(vispa.harden(model)[2].weight.sign(), copied["2.weight"].sign())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_the_prefix_of_a_wrapper_is_named_with_its_remedy(prefix):
    source = {prefix + name: values for name, values in float_network().state_dict().items()}
    model = vispa.binarize(float_network())
    with pytest.raises(ValueError, match=re.escape(f"name.removeprefix({prefix!r})")):
        vispa.load_float(model, source)
    vispa.load_float(model, {name.removeprefix(prefix): values for name, values in source.items()})


def test_a_checkpoint_around_the_state_and_a_wrapped_network_are_named_with_their_remedies():
    model = vispa.binarize(float_network())
    with pytest.raises(ValueError, match=r"pass source\['state_dict'\]"):
        vispa.load_float(model, {"epoch": 3, "state_dict": float_network().state_dict()})
    with pytest.raises(TypeError, match=r"pass source\.module"):
        vispa.load_float(model, nn.DataParallel(float_network()))
    with pytest.raises(TypeError, match=r"pass source\._orig_mod"):
        vispa.load_float(model, torch.compile(float_network(), backend="eager"))
    with pytest.raises(TypeError, match="no tensor"):
        vispa.load_float(model, {"epoch": 3})


def test_another_head_is_left_alone_on_request():
    source = float_network()
    source[4] = nn.Linear(8, 7)
    model = vispa.binarize(float_network())
    head = model[4].weight.detach().clone()
    with pytest.raises(ValueError, match=r"source\['4.weight'\] must have shape \(3, 8\); found \(7, 8\)"):
        vispa.load_float(model, source)
    vispa.load_float(model, source, strict=False)
    assert torch.equal(model[4].weight, head)
    assert torch.equal(model[0].weight, source[0].weight)
    assert torch.equal(vispa.harden(model)[2].weight.sign(), source[2].weight.sign())
    torch.testing.assert_close(vispa.harden(model)[2].bias, source[2].bias)
    with pytest.raises(ValueError, match="found none, such as 'elsewhere'"):
        vispa.load_float(model, {"elsewhere": torch.ones(2)}, strict=False)
