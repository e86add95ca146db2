"""Binary activations: kernels, padding with ones, and the plain module that replaces them."""

import io

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import vispa
from vispa.estimators.kernels import as_kernel, ede_kernel, gaussian_kernel
from vispa.nn.activation import plain_sign
from vispa.nn.annealed_activation import SCHEDULES, AnnealedSignActivation
from vispa.nn.methods.irnet import irnet_weight

NAMES = ["bi-real", "hard-tanh", "tanh", "gaussian", "identity", "swish-sign"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("kernel", ["bi-real", "hard-tanh"])
def test_a_nan_stays_visible_and_infinities_are_signs(kernel, dtype):
    nan, infinity = float("nan"), float("inf")
    inputs = torch.tensor([nan, -nan, infinity, -infinity, 0.0, -0.0, -1e-4, 3e4], dtype=dtype)
    expected = torch.tensor([nan, nan, 1, -1, 1, 1, -1, 1], dtype=dtype)
    activation = vispa.SignActivation(kernel)
    torch.testing.assert_close(activation(inputs), expected, equal_nan=True, rtol=0, atol=0)
    torch.testing.assert_close(plain_sign(activation)(inputs), expected, equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize("kernel", [*NAMES, ede_kernel(3.0), gaussian_kernel])
def test_gradient_is_scaled_by_the_kernel(kernel):
    inputs = torch.linspace(-2.0, 2.0, 41, dtype=torch.float64, requires_grad=True)
    grad = torch.arange(41.0, dtype=torch.float64)
    outputs = vispa.SignActivation(kernel)(inputs)
    assert torch.equal(outputs, torch.where(inputs >= 0, 1.0, -1.0).double())
    outputs.backward(grad)
    function = as_kernel(kernel)
    torch.testing.assert_close(inputs.grad, grad * function(inputs.detach()))


@pytest.mark.parametrize("kernel", ["bi-real", "tanh"])
def test_gradients_under_vmap_equal_one_row_at_a_time(kernel):
    activation = vispa.SignActivation(kernel)
    rows = torch.randn(4, 7)

    def loss(row):
        return (activation(row) * torch.arange(7.0)).sum()

    batched = torch.func.vmap(torch.func.grad(loss))(rows)
    torch.testing.assert_close(batched, torch.stack([torch.func.grad(loss)(row) for row in rows]))


@pytest.mark.parametrize(
    ("padding", "widths", "shape"),
    [(1, (1, 1, 1, 1), (2, 3, 4, 5)), ((0, 2), (2, 2, 0, 0), (2, 3, 4, 5)), ([3], (3, 3), (2, 3, 4))],
)
def test_one_padding_adds_ones(padding, widths, shape):
    inputs = torch.randn(shape, requires_grad=True)
    outputs = vispa.SignActivation(one_padding=padding)(inputs)
    assert torch.equal(outputs, F.pad(vispa.SignActivation()(inputs), widths, value=1.0))
    outputs.sum().backward()
    torch.testing.assert_close(inputs.grad, (2 - 2 * inputs.detach().abs()).clamp_min(0))


def test_a_binary_convolution_of_padded_signs_counts_bits_exactly():
    """With ones around, each output is an odd or even integer as its number of terms: K - 2 popcount."""
    torch.manual_seed(0)
    model = nn.Sequential(vispa.SignActivation(one_padding=1), nn.Conv2d(3, 4, 3, bias=False))
    vispa.binarize(model, keep=(), channel_scale="none").eval()
    outputs = model(torch.randn(2, 3, 5, 5))
    assert outputs.shape == (2, 4, 5, 5)
    assert torch.equal((outputs - 27) % 2, torch.zeros_like(outputs))
    assert outputs.abs().max() <= 27


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("padding", [0, (1, 2)])
def test_the_plain_module_computes_the_same_and_needs_no_vispa(dtype, padding):
    activation = vispa.SignActivation("tanh", one_padding=padding)
    values = torch.tensor([[0.0, -0.0, 1e-7], [-1e-7, torch.inf, -2.0]], dtype=dtype)
    plain = plain_sign(activation)
    assert torch.equal(plain(values), activation(values))
    assert plain(values).dtype == dtype
    assert "vispa" not in plain.code
    file = io.BytesIO()
    torch.save(plain, file)
    assert b"vispa" not in file.getvalue()


def test_the_plain_module_prints_as_a_sign():
    assert str(plain_sign(vispa.SignActivation())).startswith("Sign()")
    assert str(vispa.SignActivation("tanh", 1)) == "SignActivation(kernel='tanh', one_padding=(1, 1))"


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: vispa.SignActivation("relu"), ValueError, "kernel must be one of 'hard-tanh', 'bi-real'"),
        (lambda: vispa.SignActivation(3), TypeError, "kernel must be a name or a function; found int"),
        (
            lambda: vispa.SignActivation(one_padding=-1),
            ValueError,
            "one_padding must be at least 0; found -1",
        ),
        (lambda: vispa.SignActivation(one_padding=(1, 0.5)), TypeError, "one_padding must be an integer"),
        (lambda: vispa.SignActivation(one_padding="1"), TypeError, "one_padding must be an integer"),
        (
            lambda: vispa.SignActivation(one_padding=1)(torch.ones(3)),
            ValueError,
            r"inputs must have an axis for each of one_padding=\(1, 1\); found 1 axes",
        ),
    ],
)
def test_bad_options_are_refused_in_words(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_an_annealed_activation_has_the_kernel_of_its_schedule(schedule, progress):
    activation = AnnealedSignActivation(schedule)
    model = nn.Sequential(nn.Linear(2, 2), activation)
    vispa.anneal(vispa.binarize(model, keep=(), method="ste"), progress)
    inputs = torch.linspace(-2.0, 2.0, 41, requires_grad=True)
    outputs = activation(inputs)
    assert torch.equal(outputs, torch.where(inputs >= 0, 1.0, -1.0))
    outputs.sum().backward()
    torch.testing.assert_close(inputs.grad, SCHEDULES[schedule](progress)(inputs.detach()))
    # Steeper at zero and narrower than at the start.
    if progress == 1.0:
        start = SCHEDULES[schedule](0.0)
        assert inputs.grad[20] > start(torch.zeros(1))
        assert inputs.grad[0] <= start(torch.tensor([-2.0]))


def test_annealed_activations_share_the_formula_of_their_methods_weights():
    rows = torch.randn(1, 50, generator=torch.Generator().manual_seed(0))
    rows = ((rows - rows.mean()) / rows.std()).requires_grad_()
    activation = AnnealedSignActivation("irnet")
    activation.anneal_to(0.75)
    values = rows.detach().requires_grad_()
    activation(values).sum().backward()
    sharpness = torch.tensor(0.1 * 100**0.75)
    slope = (
        torch.clamp_min(1 / sharpness, 1.0) * sharpness * (1 - torch.tanh(sharpness * rows.detach()).square())
    )
    torch.testing.assert_close(values.grad, slope)
    assert torch.equal(irnet_weight(rows, sharpness).sign(), activation(values).detach())
    with pytest.raises(ValueError, match="schedule"):
        AnnealedSignActivation("no such")
    with pytest.raises(TypeError):
        AnnealedSignActivation(lambda progress: 3)
