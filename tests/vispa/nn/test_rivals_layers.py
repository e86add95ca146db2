"""Layers of other methods against tensors recorded from their published code: outputs and all gradients."""

import pytest
import torch
from rivals import TOLERANCES, assert_reproduced, cases
from torch.nn.functional import conv2d

from vispa.nn.methods import biper, irnet, rbnn, reactnet, rebnn, recu, reste, surrogate

pytestmark = pytest.mark.shared_data


def through(x, kernel):
    """The sign of activations, zero at zero as published, with a kernel as slope."""
    return surrogate.straight_through(surrogate.signs(x, True), kernel(x.detach()) * x)


def bireal(x):
    return (2 - 2 * x.abs()).clamp_min(0)


def check_layer(case, weight_of, activation, learned=()):
    """Run one recorded convolution; ``learned`` names parameters of the weight, and alpha if there is one."""
    parameters = {
        name: case[name].clone().requires_grad_()
        for name in ("weight", "input", *learned)
        if name in vars(case)
    }
    weight = weight_of(parameters)
    output = conv2d(activation(parameters["input"]), weight, stride=case.stride, padding=case.padding)
    if "bias" in parameters:
        output = output + parameters["bias"].view(-1, 1, 1)
    if "alpha" in parameters:
        output = output * parameters["alpha"]
    assert_reproduced(output.detach(), case.output)
    output.backward(case.grad_output)
    for name, values in parameters.items():
        assert_reproduced(values.grad, case[f"grad_{name}"])


@pytest.mark.parametrize("name", ["case0", "case1", "weights_only0"])
def test_irnet(shared_data, name):
    case = cases(shared_data, "irnet")[name]

    def kernel(x):
        return torch.clamp_min(1 / case.t, 1) * case.t * (1 - torch.tanh(case.t * x) ** 2)

    check_layer(
        case,
        lambda p: irnet.irnet_weight(p["weight"], case.t, published_zero=True),
        (lambda x: x) if name == "weights_only0" else lambda x: through(x, kernel),
        learned=("bias",),
    )


def test_irnet_schedule(shared_data):
    case = cases(shared_data, "irnet")["schedule0"]
    t = torch.tensor(
        [irnet.ede_sharpness(e / case.epochs, case.t_min, case.t_max) for e in range(case.epochs)]
    )
    torch.testing.assert_close(t, case.t.float(), rtol=2e-6, atol=0)
    torch.testing.assert_close(torch.clamp_min(1 / t, 1), case.k.float(), rtol=2e-6, atol=0)


def scaled_by_sample(x, training):
    """ReCU's activations: in training every sample is divided by its own deviation."""
    if training:
        x = x / torch.sqrt(x.var([1, 2, 3], keepdim=True) + 1e-5)
    return through(x, bireal)


@pytest.mark.parametrize("name", ["case0", "case1"])
def test_recu(shared_data, name):
    case = cases(shared_data, "recu")[name]
    check_layer(
        case,
        lambda p: recu.recu_weight(p["weight"], torch.tensor(case.tau).double(), published_zero=True),
        lambda x: scaled_by_sample(x, case.training),
        learned=("alpha",),
    )


def test_recu_schedule(shared_data):
    case = cases(shared_data, "recu")["schedule0"]
    tau = [recu.clamp_quantile(e / case.epochs, case.tau_min, case.tau_max) for e in range(case.epochs)]
    assert_reproduced(torch.tensor(tau, dtype=torch.float64), case.tau)


@pytest.mark.parametrize("name", ["stage1_0", "stage2_0"])
def test_biper(shared_data, name):
    case = cases(shared_data, "biper")[name]

    def weight_of(p):
        if case.stage == 1:
            return biper.periodic_weight(p["weight"], case.frequency)
        return biper.periodic_sign(p["weight"], case.frequency, published_zero=True)

    check_layer(case, weight_of, lambda x: scaled_by_sample(x, case.training), learned=("alpha",))
    weight = case.weight.clone().requires_grad_()
    penalty = biper.biper_penalty(weight, case.frequency, case.tau)
    penalty.backward()
    assert penalty.item() == pytest.approx(case.regularizer, rel=TOLERANCES[case.weight.dtype])
    assert_reproduced(weight.grad, case.grad_regularizer)


@pytest.mark.parametrize("name", ["case0", "case1"])
def test_reste(shared_data, name):
    case = cases(shared_data, "reste")[name]
    exponent = torch.tensor(case.o, dtype=torch.float32)
    check_layer(
        case,
        lambda p: reste.reste_weight(p["weight"], exponent, published_zero=True),
        lambda x: through(x, lambda values: reste.power_kernel(values, exponent)),
    )
    assert_reproduced(reste.power_kernel(case.sign_input, exponent), case.sign_kernel)


def test_reste_schedule(shared_data):
    case = cases(shared_data, "reste")["schedule0"]
    o = [reste.reste_exponent(e / case.epochs, case.o_end) for e in range(case.epochs)]
    assert_reproduced(torch.tensor(o, dtype=torch.float64), case.o, tolerance=2e-7)


@pytest.mark.parametrize("name", ["case0", "case1"])
def test_rbnn(shared_data, name):
    case = cases(shared_data, "rbnn")[name]
    left, right = case.R1, case.R2
    if case.update_rotation:
        left, right = rbnn.updated_rotation(case.weight, left, right)
    assert_reproduced(left, case.R1_after)
    assert_reproduced(right, case.R2_after)
    case.rotate, case.grad_rotate = case.rotate.flatten(), case.grad_rotate.flatten()
    check_layer(
        case,
        lambda p: rbnn.rbnn_weight(p["weight"], p["rotate"], left, right, case.t, published_zero=True),
        lambda x: through(
            surrogate.standardised(x), lambda values: rbnn.rbnn_kernel(values, case.t.clamp_min(1))
        ),
        learned=("alpha", "rotate"),
    )


@pytest.mark.parametrize("name", ["conv0", "conv1"])
def test_reactnet(shared_data, name):
    case = cases(shared_data, "reactnet")[name]
    check_layer(case, lambda p: reactnet.hard_binary_weight(p["weight"], published_zero=True), lambda x: x)


@pytest.mark.parametrize("name", ["case0", "case1"])
def test_rebnn(shared_data, name):
    """The published backward adds the gradient of a penalty whose strength is always 2e-4."""
    case = cases(shared_data, "rebnn")[name]
    weight, scale = (case[key].clone().requires_grad_() for key in ("weight", "scale"))
    output = rebnn.rebnn_weight(weight, scale, published_zero=True)
    assert_reproduced(output.detach(), case.output)
    penalty = rebnn.rebnn_penalty(weight, scale, 2e-4, published_zero=True)
    ((output * case.grad_output).sum() + penalty).backward()
    assert_reproduced(weight.grad, case.grad_weight)
    assert_reproduced(scale.grad, case.grad_scale)
