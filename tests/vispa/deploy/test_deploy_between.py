"""Operations between packed layers, done in one loop, give torch's floats and the signs of these."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import vispa
from vispa.deploy.between import found_between
from vispa.deploy.bits import PackSigns
from vispa.deploy.calls import flat_of
from vispa.deploy.chains import trace
from vispa.networks.layers import PadChannels

ACTIVATIONS = {
    "ReLU": nn.ReLU, "ReLU6": nn.ReLU6, "Hardtanh": lambda: nn.Hardtanh(-0.5, 1.5), "PReLU": nn.PReLU,
}  # fmt: skip
POOLS = {
    "largest": lambda size, stride, padding, ceil: nn.MaxPool2d(
        size, stride, min(padding, size // 2), ceil_mode=ceil
    ),
    "whole mean": lambda *_: nn.AdaptiveAvgPool2d(1),
    "mean": lambda size, stride, padding, ceil: nn.AvgPool2d(size, stride, ceil_mode=ceil),
}


def normalisation(channels, generator):
    """Factors of both signs, some zero."""
    norm = nn.BatchNorm2d(channels).eval()
    for values in (norm.weight.data, norm.bias.data, norm.running_mean):
        values.copy_(torch.randn(channels, generator=generator))
    norm.running_var.copy_(torch.rand(channels, generator=generator) * 4)
    norm.weight.data[torch.rand(channels, generator=generator) < 0.2] = 0.0
    return norm


def image(*shape, generator):
    """Channels-last images among whose floats are zeros of both signs, NaN and infinities."""
    found = torch.randn(shape, generator=generator)
    for special in (0.0, -0.0, float("nan"), float("inf"), float("-inf")):
        if found.numel():
            places = torch.randint(found.numel(), (1 + found.numel() // 60,), generator=generator)
            found.view(-1)[places] = special
    return found.contiguous(memory_format=torch.channels_last)


@settings(max_examples=80)
@given(
    rectified=st.booleans(),
    normalised=st.booleans(),
    active=st.sampled_from(["", *ACTIVATIONS]),
    pooled=st.sampled_from(["", *POOLS]),
    window=st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.booleans()),
    extra=st.integers(0, 5),
    shape=st.tuples(
        st.integers(0, 3), st.one_of(st.integers(1, 70), st.just(64)), st.integers(4, 9), st.integers(4, 9)
    ),
    seed=st.integers(0, 2**31),
)
def test_a_run_gives_torchs_floats_and_their_signs(
    rectified, normalised, active, pooled, window, extra, shape, seed
):
    generator = torch.Generator().manual_seed(seed)
    parts = [nn.ReLU()] if rectified else []
    parts += [normalisation(shape[1], generator)] if normalised else []
    parts += [ACTIVATIONS[active]()] if active else []
    parts += [POOLS[pooled](*window)] if pooled else []
    parts += [PadChannels(extra)] if extra else []
    model = nn.Sequential(*parts, PackSigns()).eval().requires_grad_(False)
    values = image(*shape, generator=generator)
    expected = nn.Sequential(*parts).eval()(values)
    traced = trace(model)
    source, outputs = values, torch.empty_like(expected)
    for run in found_between(traced).values():
        whole = nn.Sequential(*[traced.get_submodule(node.target) for node in run.nodes])(source)
        if not run.fits(source, whole):
            # images of one channel are contiguous and channels-last at once, and torch may return another order
            assert isinstance(run.pool, nn.AvgPool2d) or min(whole.shape) == 0 or shape[1] == 1
            return
        outputs = whole.clone(memory_format=torch.preserve_format)
        if run.padding is None:
            outputs.fill_(7.0)
        signs = run.signs_for(outputs) if run.wants_signs(traced) else None
        run.loop(source, outputs, signs)(flat_of(source))
        if pooled == "whole mean":
            # the order of a sum is seen to be torch's before the loop is taken; here for whole vectors at least
            torch.testing.assert_close(outputs, whole, rtol=1e-4, atol=1e-4, equal_nan=True)
            assert shape[1] % 32 or torch.equal(outputs.nan_to_num(77.0), whole.nan_to_num(77.0))
        else:
            assert torch.equal(outputs.nan_to_num(77.0), whole.nan_to_num(77.0))
        source = whole
        if signs is not None and pooled != "whole mean":
            assert torch.equal(signs, PackSigns()(whole))
    if parts and pooled != "whole mean":
        assert torch.equal(outputs.nan_to_num(77.0), expected.nan_to_num(77.0))


@settings(max_examples=40)
@given(
    size=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 2)),
    channels=st.sampled_from([(1, 5), (3, 16), (3, 64), (20, 33), (7, 96), (16, 16), (64, 64)]),
    alone=st.booleans(),
    bias=st.booleans(),
    pooled=st.booleans(),
    image_size=st.tuples(st.integers(0, 2), st.integers(9, 17), st.integers(9, 17)),
    seed=st.integers(0, 2**31),
)
def test_a_convolution_and_what_follows_it_is_torchs(
    size, stride, dilation, padding, channels, alone, bias, pooled, image_size, seed
):
    generator = torch.Generator().manual_seed(seed)
    inputs, outputs = channels
    groups = inputs if alone and inputs == outputs else 1
    layer = nn.Conv2d(inputs, outputs, size, stride, padding, dilation, groups, bias)
    layer.weight.data.normal_(generator=generator)
    parts = [layer, normalisation(outputs, generator), nn.ReLU()]
    parts += [nn.MaxPool2d(2, 1)] if pooled else []
    model = nn.Sequential(*parts, PackSigns()).eval().requires_grad_(False)
    model.to(memory_format=torch.channels_last)
    images, height, width = image_size
    source = torch.randn((images, inputs, height, width), generator=generator)
    source = source.contiguous(memory_format=torch.channels_last)
    before = nn.Sequential(*parts[:3])(source)
    if pooled and min(before.shape[2:]) < 2:
        return
    expected = nn.Sequential(*parts)(source).contiguous(memory_format=torch.channels_last)
    run = next(iter(found_between(trace(model)).values()))
    assert run.convolution is not None
    assert len(run.nodes) == len(parts)
    found = torch.full_like(expected, 7.0)
    run.loop(source, found, signs := run.signs_for(found))(flat_of(source))
    # the order of a sum is torch's on some processors, and seen to be before the loop is taken
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(signs, PackSigns()(found))


class Real(nn.Module):
    """Convolutions that stay real, of orders of sums that a loop has and has not."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 64, 5, 2, 2), nn.BatchNorm2d(64)
        self.alone, self.wide = nn.Conv2d(64, 64, 3, groups=64), nn.Conv2d(64, 64, 3, padding=1)
        self.sign, self.last = vispa.SignActivation(), nn.Conv2d(64, 40, 1)
        self.register_buffer("filter", torch.randn(64, 1, 2, 2))

    def forward(self, inputs):
        values = self.wide(self.alone(self.norm(self.stem(inputs)).relu()))
        blurred = nn.functional.conv2d(values, self.filter, stride=2, padding=1, groups=64)
        return self.last(self.sign(blurred)), blurred


@pytest.mark.parametrize("threads", [1, 2])
def test_a_loop_replaces_convolutions_only_where_it_adds_in_torchs_order(threads):
    torch.manual_seed(0)
    model = vispa.harden(vispa.binarize(Real(), keep=("stem", "alone", "wide"), rank=1)).eval()
    packed, allowed = vispa.pack(model), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for images in (0, 1, 3):
            inputs = torch.randn(images, 3, 19, 16).contiguous(memory_format=torch.channels_last)
            with torch.no_grad():
                for found, expected in zip(packed(inputs), packed.network(inputs), strict=True):
                    assert torch.equal(found, expected)
    finally:
        torch.set_num_threads(allowed)


class Branches(nn.Module):
    """A value in the middle of a run with another user, an activation in place, and signs of both ends."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.inner = nn.Conv2d(3, 40, 3), nn.BatchNorm2d(40), nn.ReLU(inplace=True)
        self.pool, self.sign = nn.MaxPool2d(2), vispa.SignActivation()
        self.first, self.second = (nn.Conv2d(40, 40, 1) for _ in range(2))

    def forward(self, inputs):
        values = self.norm(self.stem(inputs))
        pooled = self.pool(self.inner(values * 0.5) - 0.25)
        return self.first(self.sign(values)), self.second(self.sign(pooled)) + pooled, values


@pytest.mark.parametrize("last", [False, True])
def test_values_that_others_need_are_there(last):
    torch.manual_seed(0)
    model = vispa.harden(vispa.binarize(Branches(), keep=("stem",), rank=1)).eval()
    packed = vispa.pack(model)
    for size in (8, 11, 8):
        inputs = torch.randn(2, 3, size, size)
        inputs = inputs.contiguous(memory_format=torch.channels_last) if last else inputs
        with torch.no_grad():
            for found, expected in zip(packed(inputs), packed.network(inputs), strict=True):
                assert torch.equal(found, expected)
