"""What packed layers off the processor must equal, in torch, in Triton's interpreter and on CUDA."""

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

from vispa.deploy.bits import PackSigns
from vispa.deploy.devices import by_triton, operators
from vispa.deploy.epilogue import FUSED
from vispa.deploy.layers import PackedConv2d
from vispa.deploy.linear_layer import PackedLinear
from vispa.deploy.real_layer import PackedRealLinear

LAYERS = {
    "channels": st.tuples(st.integers(1, 70), st.integers(1, 70)),
    "groups": st.sampled_from([0, 0, 1, 2, 3]),
    "kernel_size": st.tuples(st.integers(1, 3), st.integers(1, 3)),
    "stride": st.tuples(st.integers(1, 2), st.integers(1, 3)),
    "dilation": st.tuples(st.integers(1, 2), st.integers(1, 2)),
    "padding": st.tuples(st.integers(0, 3), st.integers(0, 2)),
    "one_padding": st.sampled_from([(), (1, 2), (1,)]),
    "size": st.tuples(st.integers(5, 7), st.integers(5, 6)),
    "images": st.sampled_from([0, 1, 2]),
    "follows": st.sampled_from(["nothing", "clamp", "prelu", "relu"]),
    "residual": st.booleans(),
    "seed": st.integers(0, 2**31),
}


def run(layer, kernel, bits, residual=None):
    """A layer's outputs by an operator for other devices, on the tensors as they are."""
    words, window = layer.words, layer.window.flat()
    if layer.outputs == "bits":
        return operators.packed_to_bits(bits, words, layer.limits, layer.flips, window, kernel)
    run_floats = operators.packed_to_both if layer.outputs == "both" else operators.packed_to_floats
    return run_floats(
        bits, words, layer.bases, layer.numbers, layer.steps, residual, layer.channels, window, kernel
    )


def layer_and_inputs(
    channels, groups, kernel_size, stride, dilation, padding, one_padding, size, images, follows, residual, seed
):  # fmt: skip
    """Options of a packed layer, which takes bits, and a residual."""
    generator = torch.Generator().manual_seed(seed)
    inputs, outputs = (32 * groups, 32 * groups) if groups else channels
    layer = nn.Conv2d(
        inputs, outputs, kernel_size, stride, padding, dilation, groups=max(groups, 1), bias=bool(seed % 2)
    )
    signs = torch.randint(2, layer.weight.shape, generator=generator) * 2.0 - 1.0
    layer.weight.data = signs * torch.rand(outputs, 1, 1, 1, generator=generator)
    norm = nn.BatchNorm2d(outputs).eval()
    for values in (norm.weight.data, norm.bias.data, norm.running_mean):
        values.copy_(torch.randn(outputs, generator=generator))
    activation = {"nothing": None, "clamp": nn.Hardtanh(-0.5, 2.0), "relu": nn.ReLU(), "prelu": nn.PReLU()}
    options = {
        "one_padding": one_padding, "norm": norm, "activation": activation[follows], "kernel": "portable",
        "rectified": follows == "nothing",
    }  # fmt: skip
    bits = PackSigns()(torch.randn(images, inputs, *size, generator=generator))
    floats = PackedConv2d(layer, residual=residual, outputs="both", **options)
    # the interpreter and torch round a fused product twice
    floats.steps &= ~FUSED
    beside = torch.randn(1, outputs, 1, 1, generator=generator) if residual else None
    return floats, PackedConv2d(layer, outputs="bits", **options), bits, beside


def a_layer_is_that_of_the_processor(kernel, **drawn):
    floats, thresholds, bits, beside = layer_and_inputs(**drawn)
    expected, signs = floats(bits, beside)
    found, found_signs = run(floats, kernel, bits, beside)
    assert found.shape == expected.shape
    assert torch.equal(found, expected)
    assert torch.equal(found_signs, signs)
    assert torch.equal(run(thresholds, kernel, bits), thresholds(bits))
    counts = operators.packed_sums(bits, floats.words, floats.channels, floats.window.flat(), kernel)
    assert torch.equal(counts, floats.sums(bits))


ROWS = {
    "rows": st.integers(0, 40),
    "inputs": st.integers(1, 300),
    "outputs": st.integers(1, 100),
    "seed": st.integers(0, 2**31),
}


def signed(rows, inputs, outputs, seed):
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(inputs, outputs)
    signs = torch.randint(2, layer.weight.shape, generator=generator) * 2.0 - 1.0
    layer.weight.data = signs * torch.rand(outputs, 1, generator=generator)
    return layer, torch.randn(rows, inputs, generator=generator)


def rows_are_those_of_the_processor(kernel, **drawn):
    layer, values = signed(**drawn)
    packed = PackedLinear(layer, kernel="portable")
    bits = PackSigns(rows=True)(values)[None, None]
    assert torch.equal(run(packed, kernel, bits)[0, :, 0].T, packed(values))


def floats_by_signs_are_sums(kernel, rows, inputs, outputs, seed):
    layer, values = signed(rows % 20, inputs, outputs, seed)
    packed = PackedRealLinear(layer)
    found = operators.real_linear(values, packed.words, packed.scale, packed.bias, kernel)
    with torch.no_grad():
        expected = values.double() @ layer.weight.double().T + layer.bias.double()
        sizes = values.double().abs() @ layer.weight.double().abs().T + layer.bias.double().abs()
    # a sum of n terms is within n units of rounding of the sum of their sizes
    assert ((found.double() - expected).abs() <= sizes * (inputs + 4) * 2**-24).all()


def signs_are_packed(home, shape, last, seed):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    flat = values.view(-1)
    for place, special in enumerate((0.0, -0.0, float("nan"), float("inf"), -float("inf"), -1e-45)):
        flat[place * 7 % max(len(flat), 1) : place * 7 % max(len(flat), 1) + 1] = special
    images = values.contiguous(memory_format=torch.channels_last) if last else values
    for given, rows in ((images, False), (values.transpose(1, 2)[..., 0], True)):
        expected = PackSigns(rows=rows)(given)
        found = torch.full_like(expected, 77)
        home.sign_words(given, found, rows)
        assert torch.equal(found, expected)


def both_ways_count_alike(**drawn):
    """Triton's two kernels, whichever a device would choose."""
    floats, _, bits, _ = layer_and_inputs(**drawn)
    expected = floats.sums(bits).permute(0, 2, 3, 1)
    for products in (False, True):
        found = torch.full(expected.shape, 77, dtype=torch.int32)
        by_triton.packed_layer(
            bits, floats.words, None, None, None, None, found, None, tuple(expected.shape[1:3]), floats.channels,
            floats.window.flat(), by_triton.SUMS, products=products,
        )  # fmt: skip
        assert np.array_equal(found.numpy(), expected.numpy())
