"""The hand-written gradients, each against autograd through its formula."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vispa
from vispa.nn.weights.autograd import CorrelatedLatent, ScaledSign, sign


def test_both_zeros_count_as_plus_one():
    values = torch.tensor([0.0, -0.0, 1e-45, -1e-45, float("inf"), -float("inf")])
    assert sign(values).tolist() == [1.0, 1.0, 1.0, -1.0, 1.0, -1.0]
    assert vispa.SignActivation()(values).tolist() == [1.0, 1.0, 1.0, -1.0, 1.0, -1.0]


def test_compiled_sign_keeps_negative_zero_positive():
    torch._dynamo.reset()
    compiled = torch.compile(sign, backend="aot_eager", fullgraph=True)
    assert compiled(torch.tensor([-0.0, -2.0])).tolist() == [1.0, -1.0]


@settings(max_examples=40)
@given(
    out_channels=st.integers(1, 4),
    rank=st.integers(1, 5),
    fan_in=st.integers(1, 6),
    scale=st.sampled_from([1.0, 25.0, 100.0]),
    seed=st.integers(0, 2**31),
)
def test_latent_and_its_published_gradients(out_channels, rank, fan_in, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.float64}
    mean = torch.randn(out_channels, fan_in, **draw).requires_grad_()
    factor = torch.randn(out_channels, rank, fan_in, **draw).requires_grad_()
    noise = torch.randn(rank, **draw) / scale**0.5
    grad = torch.randn(out_channels, fan_in, **draw)
    latent = CorrelatedLatent.apply(mean, factor, noise, scale)
    torch.testing.assert_close(latent, mean + torch.einsum("k,okf->of", noise, factor))
    latent.backward(grad)
    assert torch.equal(mean.grad, grad)
    torch.testing.assert_close(factor.grad, torch.einsum("k,of->okf", scale**0.5 * noise, grad))


@pytest.mark.parametrize("alpha", [[0.5, 2.0], [-0.5, 2.0], [0.0, -0.0]])
def test_scaled_sign_and_its_gradients(alpha):
    """Negative and zero alphas too: the signs must not be read off the scaled weight carelessly."""
    torch.manual_seed(0)
    latent = torch.randn(2, 3, 2, 2, requires_grad=True)
    scales = torch.tensor(alpha, requires_grad=True)
    grad = torch.randn(2, 3, 2, 2)
    weight = ScaledSign.apply(latent, scales)
    signs = torch.where(latent.detach() >= 0, 1.0, -1.0)
    assert torch.equal(weight, scales.view(2, 1, 1, 1) * signs)
    weight.backward(grad)
    assert torch.equal(latent.grad, scales.detach().view(2, 1, 1, 1) * grad)
    torch.testing.assert_close(scales.grad, (signs * grad).sum((1, 2, 3)))


def test_activation_gradient_is_two_minus_twice_the_modulus_inside_one():
    inputs = torch.linspace(-1.5, 1.5, 31, requires_grad=True)
    grad = torch.arange(31.0)
    vispa.SignActivation()(inputs).backward(grad)
    torch.testing.assert_close(inputs.grad, grad * (2 - (2 * inputs.detach()).abs()).clamp(min=0))
    assert inputs.grad[0] == 0
    assert inputs.grad[15] == 2 * 15


def test_activation_under_grad_and_vmap_equals_one_row_at_a_time():
    activation = vispa.SignActivation()
    rows = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))

    def loss(row):
        return (activation(row) * torch.arange(7.0)).sum()

    batched = torch.func.vmap(torch.func.grad(loss))(rows)
    assert torch.equal(batched, torch.stack([torch.func.grad(loss)(row) for row in rows]))
    assert batched.abs().max() > 0


@pytest.mark.parametrize("inputs", [torch.arange(3), torch.zeros(2, dtype=torch.bool), [1.0, 2.0]])
def test_activation_refuses_what_has_no_gradient(inputs):
    with pytest.raises(TypeError, match="inputs must be a floating-point tensor"):
        vispa.SignActivation()(inputs)
