"""ReActNet's activations and blocks against tensors recorded from the published code, and its parameter counts."""

import pytest
import torch
from rivals import assert_reproduced, cases
from torch import nn

import vispa
from vispa.networks import BiRealBlock
from vispa.networks.reactnet import BLOCKS, ReActBlock, reactnet_a
from vispa.nn import binary_layers
from vispa.nn.shifted_activations import RPReLU, RSign, scaled_by_sample

NAMES = {
    "sign_in.shift": "move11.bias", "spatial.weight": "binary_3x3.weight", "spatial_norm": "bn1",
    "spatial_activation.shift_in": "move12.bias", "spatial_activation.slope": "prelu1.weight",
    "spatial_activation.shift_out": "move13.bias", "sign_between.shift": "move21.bias",
    "pointwise_activation.shift_in": "move22.bias", "pointwise_activation.slope": "prelu2.weight",
    "pointwise_activation.shift_out": "move23.bias",
}  # fmt: skip
POINTWISE = {
    1: {"pointwise.0.0.weight": "binary_pw.weight", "pointwise.0.1": "bn2"},
    2: {
        "pointwise.0.0.weight": "binary_pw_down1.weight", "pointwise.0.1": "bn2_1",
        "pointwise.1.0.weight": "binary_pw_down2.weight", "pointwise.1.1": "bn2_2",
    },
}  # fmt: skip


def published_name(ours: str, branches: int) -> str:
    """The published name of one of our parameters, parametrized or not."""
    plain = ours.replace("parametrizations.weight.original", "weight")
    for key, value in (NAMES | POINTWISE[branches]).items():
        if plain == key:
            return value
        if plain.startswith(f"{key}."):
            return f"{value}.{plain[len(key) + 1 :]}"
    raise KeyError(ours)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["block0_step2", "block1_step2", "block0_step1"])
def test_a_block_in_training_is_the_published_one(shared_data, name):
    case = cases(shared_data, "reactnet")[name]
    block = ReActBlock(case.inplanes, case.planes, case.stride, published_zero=True).to(case.input.dtype)
    branches = len(block.pointwise)
    if name.endswith("step2"):
        vispa.binarize(block, keep=(), method="reactnet", published_zero=True)
    with torch.no_grad():
        for key, values in block.state_dict().items():
            if values.is_floating_point():  # not the number of batches seen
                values.copy_(case[f"state/{published_name(key, branches)}"].view_as(values))
    inputs = case.input.clone().requires_grad_()
    output = block(inputs)
    assert_reproduced(output.detach(), case.output)
    output.backward(case.grad_output)
    # Batch normalisation subtracts gradients of nearly one size: the largest counts.
    assert_reproduced(inputs.grad, case.grad_input)
    for key, values in block.named_parameters():
        expected = case[f"grad/{published_name(key, branches)}"].view_as(values)
        assert_reproduced(values.grad, expected, tolerance=2e-4 if expected.dtype == torch.float32 else 1e-9)
    for key, values in block.named_buffers():
        if values.is_floating_point():
            assert_reproduced(values, case[f"after/{published_name(key, branches)}"])


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["rsign0", "rsign1"])
def test_a_shifted_sign_is_the_published_one(shared_data, name):
    case = cases(shared_data, "reactnet")[name]
    activation = RSign(4, published_zero=True).to(case.input.dtype)
    activation.shift.data.copy_(case.shift.flatten())
    inputs = case.input.clone().requires_grad_()
    output = activation(inputs)
    assert_reproduced(output.detach(), case.output)
    output.backward(case.grad_output)
    assert_reproduced(inputs.grad, case.grad_input)
    assert_reproduced(activation.shift.grad, case.grad_shift.flatten())
    points = case.sign_input.clone().view(1, 1, -1).requires_grad_()
    signs = RSign(1, published_zero=True).to(points.dtype)(points)
    signs.sum().backward()
    assert torch.equal(signs.flatten(), case.sign_output)
    assert_reproduced(points.grad.flatten(), case.sign_kernel)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["rprelu0", "rprelu1"])
def test_a_shifted_prelu_is_the_published_one(shared_data, name):
    case = cases(shared_data, "reactnet")[name]
    activation = RPReLU(4).to(case.input.dtype)
    with torch.no_grad():
        for key in ("shift_in", "slope", "shift_out"):
            getattr(activation, key).copy_(case[key].flatten())
    inputs = case.input.clone().requires_grad_()
    output = activation(inputs)
    assert_reproduced(output.detach(), case.output)
    output.backward(case.grad_output)
    assert_reproduced(inputs.grad, case.grad_input)
    for key in ("shift_in", "slope", "shift_out"):
        assert_reproduced(getattr(activation, key).grad, case[f"grad_{key}"].flatten())


def test_without_shifts_the_activations_are_the_plain_ones():
    torch.manual_seed(0)
    inputs = torch.randn(3, 5, 2, 2)
    assert torch.equal(RSign(5)(inputs), vispa.SignActivation()(inputs))
    assert torch.equal(RPReLU(5)(inputs), nn.PReLU(5)(inputs))
    assert torch.equal(RSign(2)(torch.zeros(1, 2)), torch.ones(1, 2))


def test_samples_are_scaled_apart_and_signs_stay():
    torch.manual_seed(0)
    inputs = torch.randn(4, 3, 5, 5, dtype=torch.float64) * torch.tensor([1e-2, 1.0, 1e2, 1e4]).view(
        -1, 1, 1, 1
    )
    scaled = scaled_by_sample(inputs, eps=0.0)
    assert torch.equal(scaled.sign(), inputs.sign())
    torch.testing.assert_close(scaled.flatten(1).std(1), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("width", [4, 32])
def test_the_network_has_the_published_parameters(width):
    network = reactnet_a(width=width)
    binary = sum(9 * (a * width) ** 2 + (a * width) ** 2 * (b // a) for a, b, _ in BLOCKS)
    real = 3 * width * 9 + 2 * width + 32 * width * 1000 + 1000
    for a, b, _ in BLOCKS:  # shifts and slopes, and batch normalisations
        real += width * (2 * a + 3 * a + 3 * b) + 2 * width * (a + b)
    assert sum(values.numel() for values in network.parameters()) == binary + real
    vispa.binarize(network, method="reactnet")
    assert sum(found.mean.numel() for found in binary_layers(network)) == binary
    if width == 4:
        assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 1000)


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(4, 4, 1), (4, 8, 2), (4, 8, 1), (8, 8, 2)])
def test_a_bi_real_block_adds_a_real_shortcut_to_one_binary_convolution(inputs, outputs, stride):
    torch.manual_seed(0)
    block = BiRealBlock(inputs, outputs, stride)
    same = stride == 1 and inputs == outputs
    count = 9 * inputs * outputs + 2 * outputs + (0 if same else inputs * outputs + 2 * outputs)
    assert sum(values.numel() for values in block.parameters()) == count
    vispa.binarize(block, keep=() if same else ("shortcut",), method="reactnet")
    assert [found.mean.numel() for found in binary_layers(block)] == [9 * inputs * outputs]
    images = torch.randn(3, inputs, 6, 8)
    found = block.eval()(images)
    assert found.shape == (3, outputs, 6 // stride, 8 // stride)
    # Beside the shortcut the output depends on signs alone.
    torch.testing.assert_close(
        found - block.shortcut(images), block(5 * images) - block.shortcut(5 * images), atol=1e-5, rtol=1e-4
    )
    with pytest.raises(ValueError, match="stride"):
        BiRealBlock(2, 2, 3)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="divisible by 32"):
        reactnet_a((3, 50, 64))
    with pytest.raises(ValueError, match="once or twice inputs; found 12"):
        ReActBlock(4, 12, 1)
