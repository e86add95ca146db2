"""Kernels and entropies on tensors against 40-digit arithmetic, to the accuracy that their docstrings state."""

import math

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vispa.estimators.kernels import (
    bireal_kernel,
    ede_kernel,
    gaussian_kernel,
    hard_tanh_kernel,
    noise_of,
    swish_sign_kernel,
    tanh_kernel,
)
from vispa.estimators.latent import inverse_mills
from vispa.inference.free_energy import mean_field_negentropy
from vispa.optim import flipped

mpmath.mp.dps = 40

POINTS = st.one_of(st.floats(-37, 37), st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-300, 0.5, 2.4 / 5]))


def tensor(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


def swish(x: mpmath.mpf) -> mpmath.mpf:
    s = 5 * x
    return 5 * (2 - s * mpmath.tanh(s / 2)) / (1 + mpmath.cosh(s))


RELATIVE = {
    "tanh": (tanh_kernel, lambda x: mpmath.sech(x) ** 2, 1e-14),
    "gaussian": (gaussian_kernel, lambda x: 2 * mpmath.npdf(x), 2e-13),
    "bi-real": (bireal_kernel, lambda x: max(2 - 2 * abs(x), mpmath.mpf(0)), 2e-16),
    "hard-tanh": (hard_tanh_kernel, lambda x: mpmath.mpf(abs(x) <= 1), 0.0),
}


@pytest.mark.parametrize("name", RELATIVE)
@given(x=POINTS)
def test_kernels_relative_to_themselves(name: str, x: float) -> None:
    kernel, formula, accuracy = RELATIVE[name]
    exact = formula(mpmath.mpf(x))
    assert abs(mpmath.mpf(kernel(tensor(x)).item()) - exact) <= accuracy * exact


@given(POINTS)
def test_swish_sign_to_rounding(x: float) -> None:
    assert abs(swish_sign_kernel(tensor(x)).item() - float(swish(mpmath.mpf(x)))) < 1e-14


@given(POINTS, st.floats(-3, 3))
def test_the_ede_kernel_from_a_soft_to_a_hard_sign(x: float, exponent: float) -> None:
    sharpness = 10.0**exponent
    exact = max(sharpness, 1.0) * mpmath.sech(mpmath.mpf(sharpness * x)) ** 2
    assert abs(ede_kernel(sharpness)(tensor(x)).item() - exact) <= 1e-14 * exact + mpmath.mpf(10) ** -300


MEAN_SIGNS = {
    "uniform": lambda x: min(max(x, mpmath.mpf(-1)), mpmath.mpf(1)),
    "triangular": lambda x: (lambda c: 2 * c - c * abs(c))(min(max(x, mpmath.mpf(-1)), mpmath.mpf(1))),
    "logistic": mpmath.tanh,
    "gaussian": lambda x: mpmath.erf(x / mpmath.sqrt(2)),
}


@pytest.mark.parametrize("name", MEAN_SIGNS)
@settings(max_examples=50)
@given(x=POINTS)
def test_mean_signs_of_the_noise_laws(name: str, x: float) -> None:
    found = noise_of(name).mean_sign(tensor(x)).item()
    assert abs(found - float(MEAN_SIGNS[name](mpmath.mpf(x)))) < 1e-15


@pytest.mark.parametrize("name", MEAN_SIGNS)
@settings(max_examples=50)
@given(level=st.floats(1e-12, 1 - 1e-12))
def test_quantiles_undo_the_laws(name: str, level: float) -> None:
    law = noise_of(name)
    back = law.cumulative(law.quantile(tensor(level))).item()
    assert abs(back - level) < 1e-14


@given(st.floats(-37, 37), st.sampled_from([1.0, -1.0]))
def test_inverse_mills_ratio_in_both_tails(u: float, sign: float) -> None:
    x = mpmath.mpf(u)
    exact = sign * mpmath.npdf(x) / (mpmath.erfc(-sign * x / mpmath.sqrt(2)) / 2)
    found = inverse_mills(tensor(sign), tensor(u)).item()
    assert abs(found - exact) <= 1e-12 * abs(exact)


@settings(max_examples=50)
@given(st.floats(-1, 1), st.floats(-150, 3))
def test_negentropy_from_certain_signs_to_pure_noise(mean: float, exponent: float) -> None:
    """Sigma -> 0 included: the value, and its gradient against the derivative of the entropy."""
    s = 10.0**exponent
    u = mpmath.mpf(mean) / mpmath.mpf(s)
    value, gradient = mean_field_negentropy(torch.tensor([[mean, s]], dtype=torch.float64))
    rare = mpmath.erfc(abs(u) / mpmath.sqrt(2)) / 2
    exact = rare * mpmath.log(rare) + (1 - rare) * mpmath.log1p(-rare) if rare > 0 else mpmath.mpf(0)
    assert abs(value.item() - exact) < 1e-15 - 1e-13 * exact
    assert -math.log(2) - 1e-15 <= value.item() <= 0
    slope = (
        mpmath.npdf(u) * (mpmath.log1p(-rare) - mpmath.log(rare)) * (1 if u > 0 else -1) / s if rare else 0
    )
    for found, expected in zip(gradient[0].tolist(), (slope, -u * slope), strict=True):
        assert abs(found - expected) <= 1e-11 * abs(expected) + 1e-15 / mpmath.mpf(s)


@given(st.floats(-1e308, 1e308), st.floats(0, 1e308), st.sampled_from([1.0, -1.0]))
def test_the_flip_rule_over_the_float_range(score: float, threshold: float, sign: float) -> None:
    found = flipped(tensor(sign), tensor(score), threshold).item()
    assert found == (1.0 if score == threshold else -sign if score > threshold else sign)
