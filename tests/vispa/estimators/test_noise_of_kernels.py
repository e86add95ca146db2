"""Kernels of the user's own: their noise where they have one, the reason where they have none."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vispa.estimators.kernel_density import KernelDensity
from vispa.estimators.kernels import NoiseLaw, bireal_kernel, ede_kernel, noise_of, ste_kernel, tanh_kernel

X = torch.linspace(-6, 6, 241, dtype=torch.float64)
LEVELS = torch.linspace(0.001, 0.999, 333, dtype=torch.float64)


@pytest.mark.parametrize(
    ("kernel", "law"),
    [
        (lambda x: torch.exp(-x.abs()), stats.laplace()),
        (lambda x: 7.0 / (1.0 + x * x), stats.cauchy()),
        (lambda x: (x.abs() <= 0.7).double(), stats.uniform(-0.7, 1.4)),
        (lambda x: 3.0 * torch.exp(-0.5 * (x / 1e-3) ** 2), stats.norm(0, 1e-3)),
        # Not symmetric: kappa(x) = 2 f(-x), so this is the noise e = -log u, exponential.
        (lambda x: torch.where(x <= 0, x.clamp_max(0.0).exp(), 0.0), stats.expon()),
    ],
    ids=["laplace", "cauchy", "box", "narrow", "one-sided"],
)
def test_a_users_kernel_has_the_noise_it_should(kernel, law) -> None:
    noise = noise_of(kernel)
    assert noise.name == "custom"
    np.testing.assert_allclose(noise.cumulative(X), law.cdf(X.numpy()), atol=1e-10)
    np.testing.assert_allclose(noise.density(X), law.pdf(X.numpy()), rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(noise.quantile(LEVELS), law.ppf(LEVELS.numpy()), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(noise.mean_sign(X), 1 - 2 * law.cdf(-X.numpy()), atol=2e-10)
    # Up to a constant, the kernel that the noise gives back is the one it came from.
    back, given_kernel = ste_kernel(noise)(X), kernel(X).double()
    np.testing.assert_allclose(back * given_kernel.max(), given_kernel * back.max(), rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 10.0])
def test_error_decay_estimator_is_logistic_noise_up_to_a_constant(sharpness: float) -> None:
    kernel = ede_kernel(sharpness)
    noise = noise_of(kernel)
    assert noise.name == "logistic"
    law = stats.logistic(scale=1 / (2 * sharpness))
    np.testing.assert_allclose(noise.cumulative(X), law.cdf(X.numpy()), rtol=1e-12)
    np.testing.assert_allclose(noise.quantile(LEVELS), law.ppf(LEVELS.numpy()), rtol=1e-10, atol=1e-14)
    wide = torch.linspace(-400, 400, 2_000_001, dtype=torch.float64)
    assert float(torch.trapezoid(kernel(wide), wide)) == pytest.approx(2 / min(sharpness, 1.0), rel=1e-6)
    torch.testing.assert_close(kernel(X), ste_kernel(noise)(X) / min(sharpness, 1.0))
    if sharpness == 1.0:
        torch.testing.assert_close(kernel(X), tanh_kernel(X))


@given(st.floats(0.01, 100.0), st.floats(0.01, 100.0))
def test_scale_of_a_kernel_does_not_matter(width: float, height: float) -> None:
    noise = noise_of(lambda x: height * bireal_kernel(x / width))
    points = X * width
    expected = noise_of("triangular").cumulative(X)
    torch.testing.assert_close(noise.cumulative(points), expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        (torch.ones_like, "not integrable"),
        (lambda x: 1 / (1 + x.abs()), "not integrable"),
        (torch.zeros_like, "zero everywhere"),
        (
            lambda x: torch.exp(-x * x) * (1 - x * x),
            r"nowhere negative, and the kernel is -0\.13\d* near x = -?1\.[345]",
        ),
        (torch.tanh, "nowhere negative"),
        (lambda x: torch.full_like(x, math.nan), "not finite"),
        (lambda x: x.sum(), "keep the shape"),
        ("step", "kernel must be one of"),
    ],
)
def test_a_kernel_without_noise_is_refused_with_the_reason(kernel, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        noise_of(kernel)


@pytest.mark.parametrize(("kernel", "reason"), [(3.0, "found float"), (lambda x: x.numpy(), "ndarray")])
def test_what_is_no_kernel_is_a_type_error(kernel, reason: str) -> None:
    with pytest.raises(TypeError, match=reason):
        noise_of(kernel)


@pytest.mark.parametrize("sharpness", [0.0, -1.0, math.inf, math.nan])
def test_an_impossible_sharpness_is_refused(sharpness: float) -> None:
    with pytest.raises(ValueError, match="sharpness"):
        ede_kernel(sharpness)


def test_a_law_of_ones_own_gives_its_kernel_even_under_a_known_name() -> None:
    wide = NoiseLaw("uniform", lambda x: 0.25 * (x.abs() <= 2), lambda x: x, lambda p: p)
    torch.testing.assert_close(ste_kernel(wide)(X), 0.5 * (X.abs() <= 2))


def test_density_keeps_shape_and_dtype() -> None:
    density = KernelDensity(lambda x: torch.exp(-x * x))
    x = torch.zeros(2, 3)
    assert density(x).shape == density.cumulative(x).shape == density.quantile(x + 0.5).shape == (2, 3)
    assert density(x).dtype == density.cumulative(x).dtype == torch.float32
    assert float(density(x)[0, 0]) == pytest.approx(1 / math.sqrt(math.pi), rel=1e-6)
