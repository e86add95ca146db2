"""Packed layers equal torch's own float32 operations bit for bit, on every kernel."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.vispa.deploy.kernels_here import KERNELS_HERE, tiles_first  # noqa: F401  a fixture
from vispa.deploy.bits import PackSigns, PoolBits
from vispa.deploy.epilogue import Epilogue
from vispa.deploy.layers import PackedConv1d, PackedConv2d
from vispa.deploy.layout import signs_of, table_of, words_of
from vispa.deploy.linear_layer import PackedLinear
from vispa.deploy.thresholds import limits_of, turning_sums


def binary(layer, generator):
    """A layer whose weight is alpha times signs, some alphas zero."""
    shape = (len(layer.weight), *[1] * (layer.weight.ndim - 1))
    signs = torch.randint(2, layer.weight.shape, generator=generator) * 2.0 - 1.0
    scale = torch.rand(shape, generator=generator) * (torch.rand(shape, generator=generator) > 0.1)
    layer.weight.data = signs * scale
    if layer.bias is not None:
        layer.bias.data = torch.randn(len(layer.weight), generator=generator)
    return layer


def normalisation(kind, channels, generator):
    """Statistics of all sizes, factors of both signs, some zero, some variances zero."""
    norm = kind(channels).eval()
    for values in (norm.weight.data, norm.bias.data, norm.running_mean):
        values.copy_(torch.randn(channels, generator=generator))
    norm.running_mean.mul_(5)
    norm.running_var.copy_(torch.rand(channels, generator=generator) * 400)
    norm.weight.data[torch.rand(channels, generator=generator) < 0.2] = 0.0
    norm.running_var[torch.rand(channels, generator=generator) < 0.2] = 0.0
    return norm


def activation(name, channels, generator):
    if name == "PReLU":
        module = nn.PReLU(channels)
        module.weight.data = torch.randn(channels, generator=generator)
        return module
    return {"": None, "Hardtanh": nn.Hardtanh(-0.5, 2.0), "ReLU": nn.ReLU(), "ReLU6": nn.ReLU6()}[name]


def values(*shape, generator):
    """Floats among which are zeros of both signs, NaN and infinities."""
    found = torch.randn(shape, generator=generator)
    flat = found.view(-1)
    for special in (0.0, -0.0, float("nan"), float("inf"), float("-inf"), -1e-45):
        if len(flat):
            flat[torch.randint(len(flat), (1 + len(flat) // 50,), generator=generator)] = special
    return found


def equal(first, second):
    return first.shape == second.shape and torch.equal(first, second)


GEOMETRY = {
    "kernel_size": st.tuples(st.integers(1, 4), st.integers(1, 4)),
    "stride": st.tuples(st.integers(1, 3), st.integers(1, 3)),
    "dilation": st.tuples(st.integers(1, 3), st.integers(1, 2)),
    "padding": st.tuples(st.integers(0, 3), st.integers(0, 3)),
    "bias": st.booleans(),
}


@pytest.mark.parametrize("kernel", KERNELS_HERE)
@settings(max_examples=60)
@given(
    geometry=st.fixed_dictionaries(GEOMETRY),
    channels=st.tuples(st.integers(1, 100), st.integers(1, 70)),
    groups=st.sampled_from([0, 0, 1, 2, 3]),
    size=st.tuples(st.integers(10, 13), st.integers(7, 10)),
    images=st.sampled_from([0, 1, 2]),
    ones=st.sampled_from([(), (1, 2), (2,)]),
    residual=st.booleans(),
    rectified=st.booleans(),
    normalised=st.booleans(),
    active=st.sampled_from(["", "Hardtanh", "ReLU", "ReLU6", "PReLU"]),
    last=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_a_convolution_is_torchs(
    kernel,
    geometry,
    channels,
    groups,
    size,
    images,
    ones,
    residual,
    rectified,
    normalised,
    active,
    last,
    seed,
):
    generator = torch.Generator().manual_seed(seed)
    inputs, outputs = (32 * groups, 32 * groups) if groups else channels
    layer = binary(nn.Conv2d(inputs, outputs, groups=max(groups, 1), **geometry), generator)
    options = {
        "norm": normalisation(nn.BatchNorm2d, outputs, generator) if normalised else None,
        "activation": activation(active, outputs, generator),
        "one_padding": ones,
        "rectified": rectified,
        "kernel": kernel,
    }
    packed = PackedConv2d(layer, residual=residual, outputs="both", **options)
    image = values(images, inputs, *size, generator=generator)
    if last:
        image = image.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        beside = None
        if residual:
            beside = torch.randn(packed.reference(image, 0.0).shape, generator=generator)
        floats, bits = packed(image, beside)
        expected = packed.reference(image, beside)
        assert equal(floats, expected)
        assert equal(bits, PackSigns()(expected))
        assert equal(PackedConv2d(layer, residual=residual, **options)(PackSigns()(image), beside), expected)
        if residual:
            return
        try:
            threshold = PackedConv2d(layer, outputs="bits", **options)
        except ValueError as error:
            assert active == "PReLU", error  # noqa: PT017
        else:
            assert equal(threshold(image), bits)


@pytest.mark.parametrize("kernel", KERNELS_HERE)
@settings(max_examples=40)
@given(
    pixels=st.integers(1, 150),
    words=st.integers(1, 70),
    channels=st.integers(1, 90),
    extreme=st.sampled_from([None, True, False]),
    seed=st.integers(0, 2**31),
)
def test_sums_are_counts_of_differing_signs(kernel, pixels, words, channels, extreme, seed):
    rng = np.random.default_rng(seed)
    inputs = 32 * words - int(rng.integers(32))
    negative = rng.random((channels, 1, inputs)) < 0.5
    image = rng.random((pixels, inputs)) < 0.5
    if extreme is not None:  # as many or as few as can be: no byte of a sum may overflow
        negative[:], image[:] = extreme, not extreme
    layer = nn.Conv2d(inputs, channels, 1, bias=False)
    layer.weight.data = torch.from_numpy(1.0 - 2.0 * negative.transpose(0, 2, 1)[..., None]).float()
    packed = PackedConv2d(layer, kernel=kernel)
    floats = torch.from_numpy(1.0 - 2.0 * image.T[None, :, None]).float()
    found = packed.sums(PackSigns()(floats))[0, :, 0].numpy()
    expected = (
        negative[:, 0].astype(int) @ (1 - image.T.astype(int)) + (1 - negative[:, 0].astype(int)) @ image.T
    )
    assert (found == expected).all()
    assert torch.equal(packed.signs()[..., None], layer.weight.data)


@pytest.mark.parametrize("kernel", KERNELS_HERE)
@settings(max_examples=30)
@given(
    rows=st.integers(0, 20),
    inputs=st.integers(1, 300),
    outputs=st.integers(1, 100),
    active=st.sampled_from(["", "ReLU", "PReLU"]),
    seed=st.integers(0, 2**31),
)
def test_a_linear_layer_is_torchs(kernel, rows, inputs, outputs, active, seed):
    generator = torch.Generator().manual_seed(seed)
    layer = binary(nn.Linear(inputs, outputs), generator)
    norm = normalisation(nn.BatchNorm1d, outputs, generator)
    found = values(rows, inputs, generator=generator)
    with torch.no_grad():
        packed = PackedLinear(
            layer, norm=norm, activation=activation(active, outputs, generator), kernel=kernel
        )
        assert equal(packed(found), packed.reference(found))
        bits = PackedLinear(layer, norm=norm, outputs="bits", kernel=kernel)
        signs = PackSigns(rows=True)
        assert equal(bits(signs(found)), signs(bits.reference(found)))
        whole = PackedLinear(layer, kernel=kernel)
        assert whole(found.view(1, rows, inputs)).shape == (1, rows, outputs)


@given(
    length=st.integers(8, 40),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    padding=st.integers(0, 4),
    ones=st.integers(0, 2),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=30)
def test_a_convolution_over_one_axis_is_torchs(length, kernel, stride, dilation, padding, ones, seed):
    generator = torch.Generator().manual_seed(seed)
    layer = binary(nn.Conv1d(40, 33, kernel, stride, padding, dilation), generator)
    packed = PackedConv1d(layer, one_padding=(ones,))
    inputs = values(2, 40, length, generator=generator)
    with torch.no_grad():
        assert equal(packed(inputs), packed.reference(inputs))


@given(
    size=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    ceil=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_pooled_bits_are_signs_of_pooled_floats(size, stride, padding, ceil, seed):
    pool = nn.MaxPool2d(size, stride, min(padding, size // 2), ceil_mode=ceil)
    signs = torch.randn(2, 40, 9, 7, generator=torch.Generator().manual_seed(seed)).sign()
    pooled = PoolBits(pool, torch.zeros(2, dtype=torch.int32))(PackSigns()(signs))
    assert equal(pooled, PackSigns()(pool(signs)))


@given(channels=st.integers(1, 40), largest=st.integers(1, 300), seed=st.integers(0, 2**31))
def test_limits_are_the_signs_of_all_sums(channels, largest, seed):
    generator = torch.Generator().manual_seed(seed)
    norm = normalisation(nn.BatchNorm2d, channels, generator)
    epilogue = Epilogue(torch.rand(channels, generator=generator), norm=norm, activation=nn.Hardtanh())
    sums = torch.arange(-largest, largest + 1, 2, dtype=torch.float32)
    with torch.no_grad():
        negative = ~(epilogue(sums[:, None].expand(-1, channels)) >= 0).numpy()
    bases = np.full((1, -(-channels // 32) * 32), largest, dtype=np.int32)
    limits, flips = limits_of(turning_sums(epilogue, largest), bases)
    counts = (largest - sums.numpy().astype(int)) // 2
    flipped = np.unpackbits(flips.view(np.uint8), bitorder="little")[:channels].astype(bool)
    assert ((counts[:, None] > limits[0, :channels]) ^ flipped == negative).all()


def test_a_sign_that_turns_twice_has_no_limit():
    prelu = nn.PReLU(init=-1.0)
    assert turning_sums(Epilogue(torch.ones(2), torch.full((2,), -2.5), activation=prelu), 9) is not None
    prelu.weight.data = torch.tensor([-1.0])
    norm = nn.BatchNorm1d(2).eval()
    norm.bias.data[:] = 2.5
    assert turning_sums(Epilogue(torch.ones(2), norm=norm, activation=prelu), 9) is not None

    class Bump(nn.Module):
        def forward(self, inputs):
            return 2.0 - inputs.abs()

    assert turning_sums(Epilogue(torch.ones(2), activation=Bump()), 9) is None


@given(
    channels=st.integers(1, 70), taps=st.integers(1, 9), inputs=st.integers(1, 70), seed=st.integers(0, 999)
)
def test_words_hold_the_signs(channels, taps, inputs, seed):
    negative = np.random.default_rng(seed).random((channels, taps, inputs)) < 0.5
    words = words_of(negative, 1)
    assert (signs_of(words, channels, taps, inputs) == negative).all()
    assert table_of(words).sum() == sum(
        int(value) for value in np.ascontiguousarray(words.numpy()).view(np.uint8).ravel() % 16
    ) + sum(int(value) for value in np.ascontiguousarray(words.numpy()).view(np.uint8).ravel() // 16)


@pytest.mark.parametrize(
    ("layer", "options", "message"),
    [
        (nn.Conv2d(3, 3, 3), {}, "one absolute value"),
        (nn.Conv2d(3, 3, 1, padding_mode="circular"), {"signs": True}, "padding_mode"),
        (nn.Conv2d(4, 4, 1, groups=2), {"signs": True}, "multiples of 32"),
        (nn.Conv2d(4, 4, 1).double(), {"signs": True}, "float32"),
        (nn.Conv2d(4, 4, 1), {"signs": True, "outputs": "bits", "residual": True}, "no threshold"),
        (nn.Conv2d(4, 4, 1), {"signs": True, "one_padding": (1, 1, 1)}, "one_padding"),
        (nn.Conv2d(4, 4, 1), {"signs": True, "kernel": "fast"}, "kernel"),
    ],
)
def test_what_cannot_be_packed_is_refused(layer, options, message):
    if options.pop("signs", False):
        layer.weight.data = torch.ones_like(layer.weight)
    with pytest.raises(ValueError, match=message):
        PackedConv2d(layer, **options)


def test_a_window_larger_than_the_image_is_refused():
    layer = nn.Conv2d(4, 4, 5)
    layer.weight.data = torch.ones_like(layer.weight)
    with pytest.raises(ValueError, match="as large as the window"):
        PackedConv2d(layer)(torch.ones(1, 4, 4, 9))


PLAIN_PROCESSOR = """
import torch
from torch import nn
from vispa.deploy.layers import PackedConv2d
from vispa.deploy.layout import best_kernel

layer = nn.Conv2d(40, 40, 3, padding=1)
layer.weight.data = torch.randn(40, 40, 3, 3).sign()
for kernel in ("vector", "portable"):
    packed = PackedConv2d(layer, kernel=kernel, outputs="both")
    image = torch.randn(1, 40, 5, 5)
    assert torch.equal(packed(image)[0], packed.reference(image)), kernel
"""


def test_loops_compiled_for_any_processor_are_right(tmp_path):
    environment = {
        "PATH": "", "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": ":".join(sys.path),
    }  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-c", PLAIN_PROCESSOR], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("factor", "offset"), [(2.8e10, 0.6), (-3e-9, 0.3), (0.0, 1.0), (1.7, 0.0), (1e15, 1e-9)]
)
def test_torchs_rounding_of_a_normalisation_is_seen_whatever_its_size(factor, offset):
    norm = nn.BatchNorm1d(1).eval().requires_grad_(False)
    norm.weight[:], norm.running_mean[:] = factor, offset
    layer = nn.Linear(4096, 1)
    layer.weight.data = torch.full((1, 4096), 0.00037)
    inputs = torch.ones(2048, 4096)
    for row in range(len(inputs)):
        inputs[row, : 2 * row] = -1.0
    packed = PackedLinear(layer, norm=norm)
    assert torch.equal(packed(inputs), packed.reference(inputs))
