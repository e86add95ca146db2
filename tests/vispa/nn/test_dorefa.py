"""DoReFa's quantisers and our kernels against tensors recorded from Larq, and against their definition."""

import pytest
import torch
from rivals import assert_reproduced, cases

import vispa
from vispa.nn.dorefa import dorefa_activations, dorefa_weights

QUANTISERS = {
    "dorefa1": lambda x: dorefa_activations(x, 1),
    "dorefa2": lambda x: dorefa_activations(x, 2),
    "dorefa1_weights": lambda x: dorefa_weights(x, 1),
    "dorefa3_weights": lambda x: dorefa_weights(x, 3),
    "ste_sign": vispa.SignActivation("hard-tanh"),
    "ste_sign_noclip": vispa.SignActivation("identity"),
    "approx_sign": vispa.SignActivation("bi-real"),
    "swish_sign": vispa.SignActivation("swish-sign"),
}


@pytest.mark.shared_data
@pytest.mark.parametrize("case", ["quantizers0", "quantizers1"])
@pytest.mark.parametrize("name", QUANTISERS)
def test_quantisers_are_those_of_larq(shared_data, case, name):
    recorded = cases(shared_data, "larq")[case]
    inputs = recorded.input.clone().requires_grad_()
    output = QUANTISERS[name](inputs)
    assert_reproduced(output.detach(), recorded[f"{name}/output"])
    output.backward(recorded.grad_output)
    assert_reproduced(inputs.grad, recorded[f"{name}/grad_input"])


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_levels_are_as_many_as_the_bits_allow_and_nearest(bits):
    inputs = torch.linspace(-0.5, 1.5, 4001, dtype=torch.float64)
    levels = torch.linspace(0, 1, 2**bits, dtype=torch.float64)
    output = dorefa_activations(inputs, bits)
    torch.testing.assert_close(output.unique(), levels)
    distance = (inputs.clamp(0, 1)[:, None] - levels).abs().amin(1)
    torch.testing.assert_close((output - inputs.clamp(0, 1)).abs(), distance)
    weights = dorefa_weights(inputs, bits)
    torch.testing.assert_close(weights.unique(), (2 * levels - 1)[-weights.unique().numel() :])


def test_no_bits_are_refused():
    with pytest.raises(ValueError, match="bits must be at least 1"):
        dorefa_activations(torch.zeros(2), 0)
