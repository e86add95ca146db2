"""Every kind of layer under every option, against its plain twin with the weights worked out by hand."""

import copy
import math
import sys
import types

import pytest
import torch
from torch import nn

import vispa
from vispa.nn import binary_layers

LAYERS = {
    "linear": (lambda: nn.Linear(6, 4), (3, 6)),
    "linear-without-bias": (lambda: nn.Linear(6, 4, bias=False), (2, 3, 6)),
    "conv1d-reflect": (lambda: nn.Conv1d(4, 6, 3, padding=2, padding_mode="reflect"), (2, 4, 9)),
    "conv2d-groups": (lambda: nn.Conv2d(4, 6, (3, 2), groups=2, stride=2), (2, 4, 8, 8)),
    "conv2d-depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4, padding="same"), (2, 4, 6, 6)),
    "conv2d-dilated": (lambda: nn.Conv2d(3, 5, 3, dilation=2, padding=2, bias=False), (1, 3, 7, 7)),
    "conv2d-circular": (lambda: nn.Conv2d(3, 5, 3, padding=1, padding_mode="circular"), (1, 3, 6, 6)),
    "conv2d-replicate": (lambda: nn.Conv2d(3, 5, 3, padding=(2, 1), padding_mode="replicate"), (1, 3, 6, 6)),
    "conv3d-groups": (lambda: nn.Conv3d(4, 4, (1, 2, 3), groups=2, dilation=(1, 1, 2)), (1, 4, 3, 4, 7)),
    "conv3d-circular": (lambda: nn.Conv3d(2, 3, 3, padding=1, padding_mode="circular"), (1, 2, 4, 4, 4)),
    "transposed1d": (lambda: nn.ConvTranspose1d(3, 5, 4, stride=2, padding=1), (2, 3, 6)),
    "transposed2d-groups": (
        lambda: nn.ConvTranspose2d(4, 6, (3, 2), groups=2, stride=2, output_padding=1),
        (2, 4, 5, 5),
    ),
    "transposed2d-depthwise": (lambda: nn.ConvTranspose2d(3, 3, 2, groups=3, bias=False), (1, 3, 4, 4)),
    "transposed3d-dilated": (lambda: nn.ConvTranspose3d(2, 3, 2, dilation=2), (1, 2, 3, 3, 3)),
    "embedding": (lambda: nn.Embedding(7, 5), None),
}
LOW_RANK = {"rank": 2, "noise_ratio": 1.0}
OPTIONS = {
    "default": LOW_RANK,
    "ste": {"method": "ste"},
    "bernoulli": {"method": "bernoulli"},
    "channel": {**LOW_RANK, "covariance": "channel"},
    "residual": {**LOW_RANK, "residual": True, "scale": 4.0},
    "mean-scale": {**LOW_RANK, "channel_scale": "mean", "covariance": "channel", "residual": True},
    "no-scale": {"channel_scale": "none", "method": "bernoulli"},
}


def every_layer(name: str, module: nn.Module) -> bool:
    return True


def inputs_for(shape: tuple[int, ...] | None) -> torch.Tensor:
    return torch.tensor([[0, 6, 3], [3, 3, 1]]) if shape is None else torch.randn(shape)


def row_of(layer: nn.Module, weight: torch.Tensor, channel: int) -> torch.Tensor:
    """View of the entries that one output channel sums over, worked out channel by channel."""
    if not isinstance(layer, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        return weight[channel]
    inputs, outputs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    group = channel // outputs
    return weight[group * inputs : (group + 1) * inputs, channel % outputs]


def copy_sample(layer: nn.Module, plain: nn.Module, seed: int | None) -> None:
    """Give the plain twin the weights that the binary layer has under a seed, at the mean for None."""
    (found,) = binary_layers(layer)
    weight, mean = found.weight, found.mean.detach()
    draws = None if seed is None else draw_by_hand(weight, mean, seed)
    for channel in range(weight.layout.out_channels):
        row = row_of(layer, mean, channel)
        latent = row.clone()
        if draws is not None and draws[0] is not None:
            shared = draws[0] if draws[0].ndim == 1 else draws[0][channel]
            latent += (shared @ weight.factor.detach()[channel]).view_as(row)
        if draws is not None and draws[1] is not None:
            latent += own_deviation(weight, layer, channel, row) * draws[1][channel].view_as(row)
        signs = torch.where(latent >= 0, 1.0, -1.0)
        scale = {
            "learned": lambda channel=channel: weight.alpha[channel],
            "mean": lambda row=row: row.abs().mean(),
            "none": lambda: 1.0,
        }[weight.channel_scale]()
        row_of(plain, plain.weight, channel).copy_(scale * signs)
    if getattr(plain, "bias", None) is not None:
        learned = weight.channel_scale == "learned"
        plain.bias.copy_(weight.alpha * layer.parametrizations["bias"].original if learned else layer.bias)


def draw_by_hand(weight, mean, seed):
    torch.manual_seed(seed)
    kind = type(weight).__name__
    if kind == "StraightThroughWeight":
        return None, None
    size = (weight.layout.out_channels, weight.layout.fan_in)
    if kind == "BernoulliWeight":
        return None, torch.randn(size)
    shape = (weight.rank,) if weight.covariance == "layer" else (size[0], weight.rank)
    shared = torch.randn(shape) / math.sqrt(weight.scale)
    own = None if weight.root_residual is None else torch.randn(size) / math.sqrt(weight.scale)
    return shared, own


def own_deviation(weight, layer, channel, row):
    if type(weight).__name__ == "BernoulliWeight":
        return (1 - row.square()).sqrt()
    return row_of(layer, weight.root_residual.detach(), channel)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", LAYERS)
def test_every_kind_of_layer_computes_with_scaled_signs(name, options):
    make, shape = LAYERS[name]
    torch.manual_seed(0)
    plain, layer = make(), make()
    keys = list(plain.state_dict())
    vispa.binarize(layer, layers=every_layer, **OPTIONS[options])
    inputs = inputs_for(shape)
    with torch.no_grad():
        copy_sample(layer, plain, seed=1)
    torch.manual_seed(1)
    torch.testing.assert_close(layer(inputs), plain(inputs))
    torch.manual_seed(1)
    sampled = vispa.harden(layer, how="sample")
    torch.testing.assert_close(sampled(inputs), plain(inputs))

    with torch.no_grad():
        copy_sample(layer, plain, seed=None)
    hardened = vispa.harden(layer.eval())
    torch.testing.assert_close(hardened(inputs), plain(inputs))
    assert torch.equal(hardened(inputs), layer(inputs))
    assert type(hardened) is type(plain)
    assert list(hardened.state_dict()) == keys
    plain.load_state_dict(hardened.state_dict())
    assert torch.equal(plain(inputs), layer(inputs))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("covariance", ["layer", "channel"])
def test_gradients_are_those_of_the_estimator(name, covariance):
    """grad_mean = G, grad_factor = sqrt(S) r outer G and grad_root_residual = sqrt(S) eps G, row by row."""
    make, shape = LAYERS[name]
    torch.manual_seed(0)
    layer, plain = make(), make()
    vispa.binarize(layer, rank=3, layers=every_layer, noise_ratio=1.0, covariance=covariance, residual=True)
    with torch.no_grad():
        copy_sample(layer, plain, seed=1)
    inputs = inputs_for(shape)
    torch.manual_seed(1)
    output = layer(inputs)
    grad = torch.randn(output.shape)
    output.backward(grad)
    plain(inputs).backward(grad)
    (found,) = binary_layers(layer)
    weight = found.weight
    shared, own = draw_by_hand(weight, found.mean, seed=1)
    size = math.sqrt(weight.scale)
    for channel in range(weight.layout.out_channels):
        expected = weight.alpha[channel].detach() * row_of(plain, plain.weight.grad, channel)
        torch.testing.assert_close(row_of(layer, found.mean.grad, channel), expected)
        direction = size * (shared if shared.ndim == 1 else shared[channel])
        torch.testing.assert_close(weight.factor.grad[channel], torch.outer(direction, expected.flatten()))
        torch.testing.assert_close(
            row_of(layer, weight.root_residual.grad, channel).flatten(),
            size * own[channel] * expected.flatten(),
        )


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("projection", ["channel", "paper"])
def test_rows_are_where_they_are_kept_after_a_step(name, projection):
    make, shape = LAYERS[name]
    torch.manual_seed(0)
    layer = vispa.binarize(
        make(), rank=2, layers=every_layer, residual=True, scale=4.0, noise_ratio=0.5, projection=projection
    )
    optimizer = vispa.attach(torch.optim.SGD(layer.parameters(), lr=3.0), layer)
    layer(inputs_for(shape)).square().sum().backward()
    optimizer.step()
    (found,) = binary_layers(layer)
    weight = found.weight
    for channel in range(weight.layout.out_channels):
        squares = row_of(layer, found.mean.detach(), channel).flatten().square()
        squares = squares + weight.factor.detach()[channel].square().sum(0) / 4.0
        squares = squares + row_of(layer, weight.root_residual.detach(), channel).flatten().square() / 4.0
        kept = squares.mean() if projection == "channel" else squares
        torch.testing.assert_close(kept, torch.full_like(kept, weight.radius**2))
        assert projection == "channel" or weight.radius == 1.0


@pytest.mark.parametrize(
    ("make", "inputs"),
    [
        (lambda: nn.Linear(400, 200), torch.randn(64, 400)),
        (lambda: nn.Conv2d(32, 50, 3, groups=2), torch.randn(2, 32, 16, 16)),
        (lambda: nn.ConvTranspose2d(64, 50, 4, stride=2), torch.randn(1, 64, 24, 24)),
        (lambda: nn.Embedding(100, 50), torch.arange(100)),
    ],
)
def test_unit_inputs_give_unit_outputs_at_the_start(make, inputs):
    torch.manual_seed(0)
    layer = vispa.binarize(make(), layers=every_layer)
    assert float(layer(inputs).detach().std()) == pytest.approx(1.0, abs=0.1)


def test_padding_of_an_embedding_stays_zero():
    layer = vispa.binarize(nn.Embedding(5, 4, padding_idx=2), layers=every_layer)
    optimizer = vispa.attach(torch.optim.SGD(layer.parameters(), lr=1.0, momentum=0.9), layer)
    for _ in range(2):
        layer(torch.tensor([[0, 2, 3]])).sum().backward()
        optimizer.step()
    assert torch.equal(layer(torch.tensor(2)), torch.zeros(4))
    assert layer(torch.tensor([0])).abs().min() > 0


@pytest.mark.parametrize(("covariance", "correlated"), [("layer", True), ("channel", False)])
def test_channels_are_independent_on_request(covariance, correlated):
    torch.manual_seed(0)
    layer = vispa.binarize(nn.Linear(4, 2, bias=False), layers=every_layer, rank=1, covariance=covariance)
    (found,) = binary_layers(layer)
    weight = found.weight
    with torch.no_grad():
        found.mean.zero_()
        weight.factor.fill_(1.0)
        signs = torch.stack([weight.realise(found.mean, weight.draw()).sign().flatten() for _ in range(400)])
    second_moments = signs.T @ signs / 400
    assert torch.equal(second_moments[:4, :4], torch.ones(4, 4))  # one noise within a channel
    if correlated:
        assert torch.equal(second_moments, torch.ones(8, 8))
    else:
        assert second_moments[:4, 4:].abs().max() < 5 / math.sqrt(400)


def test_own_noise_decorrelates_the_weights_by_the_arcsine_law():
    """At mean zero, E[w_i w_j] = (2 / pi) arcsin(z_i z_j / (sigma_i sigma_j)): 1/3 where they are half and half."""
    torch.manual_seed(0)
    layer = vispa.binarize(nn.Linear(2, 1, bias=False), layers=every_layer, rank=1, residual=True)
    (found,) = binary_layers(layer)
    weight = found.weight
    with torch.no_grad():
        found.mean.zero_()
        weight.factor.fill_(2.0)
        weight.root_residual.fill_(2.0)
        draw = torch.vmap(lambda _: weight.realise(found.mean, weight.draw()), randomness="different")
        signs = draw(torch.empty(4000)).sign().flatten(1)
    assert float((signs[:, 0] * signs[:, 1]).mean()) == pytest.approx(1 / 3, abs=5 / math.sqrt(4000))


@pytest.mark.parametrize("options", [{}, {"residual": True}, {"covariance": "channel"}])
def test_share_of_flipped_signs_is_as_stated(options):
    torch.manual_seed(0)
    layer = nn.Linear(300, 300)
    vispa.binarize(layer, rank=16, layers=every_layer, noise_ratio=0.5, **options)
    at_mean = layer.eval().weight.sign()
    with vispa.sampling(layer), torch.no_grad():
        samples = [vispa.harden(layer, how="sample").weight.sign() for _ in range(30)]
    share = float((torch.stack(samples) != at_mean).double().mean())
    assert share == pytest.approx(math.atan(0.5) / math.pi, rel=0.06)


class Conv1D(nn.Module):
    """The linear layer of GPT-2: its weight is stored as (in, out)."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight = nn.Parameter(0.02 * torch.randn(nx, nf))
        self.bias = nn.Parameter(torch.randn(nf))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self.bias, inputs.view(-1, self.nx), self.weight).view(*inputs.shape[:-1], self.nf)


@pytest.fixture
def conv1d(monkeypatch: pytest.MonkeyPatch) -> type[nn.Module]:
    """The class of the library where it is installed, else one that computes the same under its name."""
    try:
        from transformers.pytorch_utils import Conv1D as real
    except ImportError:
        module = types.ModuleType("transformers.pytorch_utils")
        module.Conv1D = Conv1D
        monkeypatch.setitem(sys.modules, "transformers.pytorch_utils", module)
        return Conv1D
    return real


def test_a_linear_layer_stored_by_columns_is_the_linear_layer(conv1d):
    torch.manual_seed(0)
    columns, rows = conv1d(5, 7), nn.Linear(7, 5)
    with torch.no_grad():
        rows.weight.copy_(columns.weight.T)
        rows.bias.copy_(columns.bias)
    networks = []
    for layer in (columns, rows):
        source = copy.deepcopy(layer)
        model = vispa.load_float(vispa.binarize(layer, rank=2, keep=()), source, noise_ratio=0.5)
        networks.append(model)
    one, other = (model.parametrizations.weight for model in networks)
    with torch.no_grad():
        other.original.copy_(one.original.T)
        other[0].alpha.copy_(one[0].alpha)
        other[0].factor.copy_(one[0].factor)
    networks[1].bias = networks[0].bias.detach()
    inputs = torch.randn(3, 7)
    outputs = []
    for model in networks:
        torch.manual_seed(1)
        output = model(inputs)
        output.square().sum().backward()
        outputs.append(output)
        assert torch.equal(vispa.harden(model)(inputs), model.eval()(inputs))
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(one.original.grad.T, other.original.grad)
    torch.testing.assert_close(one[0].factor.grad, other[0].factor.grad)
    assert one[0].factor.shape == (5, 2, 7)
