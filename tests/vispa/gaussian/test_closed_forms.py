"""Closed forms against 40-digit arithmetic over their whole domain, to the accuracy that their docstrings state."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vispa
from vispa import SignGaussian
from vispa.gaussian.entropy import binary_entropy, conditional_entropy
from vispa.gaussian.orthant import sign_covariance, sign_mean, sign_variance

mpmath.mp.dps = 40
ROOT_TWO = mpmath.sqrt(2)


def relative_error(found: float, exact: mpmath.mpf) -> float:
    if abs(mpmath.mpf(found) - exact) < math.ulp(0.0):
        return 0.0  # below the smallest normal number there is no nearer one
    return float(abs(mpmath.mpf(found) - exact) / abs(exact)) if exact else abs(found)


def tail(u: mpmath.mpf) -> mpmath.mpf:
    """Phi(u), also where it is tiny."""
    return mpmath.erfc(-u / ROOT_TWO) / 2


def sign_entropy(u: mpmath.mpf) -> mpmath.mpf:
    """h(Phi(u)), without the cancellation of log(1 - p)."""
    rare = tail(-abs(u))
    return -rare * mpmath.log(rare) - (1 - rare) * mpmath.log1p(-rare)


# Ratios mu / sigma: ordinary, tiny, and so large that the sign is all but certain.
RATIOS = st.one_of(st.floats(-36, 36), st.sampled_from([1e-300, -1e-20, 1e-8, 0.5, 36.0, -36.0]))


@given(RATIOS)
def test_mean_of_a_sign(ratio: float) -> None:
    exact = mpmath.erf(mpmath.mpf(ratio) / ROOT_TWO)
    assert relative_error(float(sign_mean(ratio)), exact) < 1e-15


@given(RATIOS)
def test_variance_of_a_sign(ratio: float) -> None:
    u = mpmath.mpf(ratio)
    assert relative_error(float(sign_variance(ratio)), 4 * tail(u) * tail(-u)) < 1e-12


def exact_covariance(h: float, k: float, y: float) -> mpmath.mpf:
    """Plackett's integral in the angle arcsin(t), where it is smooth, cut where it is sharp."""
    h, k = mpmath.mpf(h), mpmath.mpf(k)

    def integrand(angle: mpmath.mpf) -> mpmath.mpf:
        sine, cosine = mpmath.sin(angle), mpmath.cos(angle)
        return mpmath.exp(-(h * h + k * k - 2 * h * k * sine) / (2 * cosine**2)) * 2 / mpmath.pi

    end = mpmath.asin(mpmath.tanh(mpmath.mpf(y)))
    cuts = [end * (1 - mpmath.mpf(2) ** -j) for j in range(0, 40, 4)]
    return mpmath.quad(integrand, [*cuts, end])


@settings(max_examples=15)
@given(
    st.floats(-8, 8), st.floats(-8, 8), st.one_of(st.floats(-12, 12), st.sampled_from([1e-12, -0.5, 12.0]))
)
def test_covariance_of_two_signs(h: float, k: float, y: float) -> None:
    exact = exact_covariance(h, k, y) if y else mpmath.mpf(0)
    if abs(exact) > 1e-290:
        assert relative_error(float(sign_covariance(h, k, y)), exact) < 1e-12
    assert abs(float(sign_covariance(h, k, y))) <= 1


@given(st.sampled_from([1, -1]), st.floats(-30, 0), st.floats(-3, 3))
def test_covariance_of_nearly_equal_or_opposite_signs(direction: int, exponent: float, length: float) -> None:
    """Rho -> 1 and -1: parallel rows, told apart by a residual alone."""
    d = 10.0**exponent
    z = 10.0**length
    law = SignGaussian([0.0, 0.0], [[z], [direction * z]], [d * z**2, d * z**2])
    rho = 1 / (1 + mpmath.mpf(d * z**2) / mpmath.mpf(z) ** 2)
    exact = direction * 2 / mpmath.pi * mpmath.asin(rho)
    assert abs(mpmath.mpf(float(law.covariance()[0, 1])) - exact) < 4e-16 + 1e-12 * (1 - abs(exact))


@given(st.one_of(st.floats(-1, 1), st.sampled_from([1.0, -1.0, 0.0, 1 - 2.0**-53, 2.0**-52 - 1, 1e-300])))
def test_a_single_factorised_weight(mean: float) -> None:
    """n = 1, K = 0, |mu| -> 1: mean, variance, law and entropy."""
    law = SignGaussian.factorised([mean])
    mu = mpmath.mpf(mean)
    if 0 < abs(mean) < 1e-300:  # a subnormal number has fewer digits to be right in
        return
    if abs(mean) == 1:
        assert law.mean_signs()[0] == mean
        assert law.covariance()[0, 0] == 0
        assert law.entropy() == 0
        return
    u = mu / mpmath.sqrt((1 - mu) * (1 + mu))
    plus, minus = tail(u), tail(-u)
    assert relative_error(float(law.mean_signs()[0]), mpmath.erf(u / ROOT_TWO)) < 2e-15
    if abs(u) < 36:
        assert relative_error(float(law.covariance()[0, 0]), 4 * plus * minus) < 1e-11
        assert relative_error(float(law.conditional_entropy()), sign_entropy(u)) < 1e-11
    np.testing.assert_allclose(law.probabilities(), [float(minus), float(plus)], atol=1e-14)


@given(RATIOS)
def test_entropy_of_a_sign(argument: float) -> None:
    exact = sign_entropy(mpmath.mpf(argument))
    assert relative_error(float(binary_entropy(np.array(argument))), exact) < 1e-12


def exact_smoothed_entropy(centre: mpmath.mpf, width: mpmath.mpf) -> mpmath.mpf:
    """E h(Phi(centre + width t)): trapezoidal in whichever of u and t has the narrower factor."""
    step, total = mpmath.mpf(1) / 12, mpmath.mpf(0)
    for index in range(-130, 131):
        v = step * index
        u, t = (v, (v - centre) / width) if width > 1 else (centre + width * v, v)
        total += sign_entropy(u) * mpmath.npdf(t) * step / (width if width > 1 else 1)
    return total


@settings(max_examples=12)
@given(st.floats(-3, 3), st.floats(-12, 12))
def test_conditional_entropy_from_no_spread_to_all_spread(centre: float, exponent: float) -> None:
    """Sigma -> 0 and |z| -> infinity, K = 1: steps almost certain, and almost no noise of one's own."""
    width = 10.0**exponent
    mean = centre if width <= 1 else centre * width
    found = conditional_entropy(np.array([mean]), np.array([width]), np.ones(1))
    with mpmath.workdps(25):
        exact = exact_smoothed_entropy(mpmath.mpf(mean), mpmath.mpf(width))
    assert relative_error(found, exact) < 1e-12


@pytest.mark.parametrize("size", [1e-300, 1e-8, 1.0, 1e8, 1e150])
def test_the_size_of_a_row_is_no_matter(size: float) -> None:
    law = SignGaussian([0.3 * size, -size], [[size], [0.5 * size]], [0.0, 0.0])
    reference = SignGaussian([0.3, -1.0], [[1.0], [0.5]])
    np.testing.assert_allclose(law.mean_signs(), reference.mean_signs(), rtol=1e-14)
    np.testing.assert_allclose(law.covariance(), reference.covariance(), rtol=1e-12)


DECAYS = st.one_of(st.floats(1e-300, 0.999), st.sampled_from([1e-300, 1e-17, 1e-8, 0.5, 1 - 2.0**-53]))


@settings(max_examples=50)
@given(DECAYS)
def test_flip_rate(decay: float) -> None:
    x = mpmath.mpf(decay)
    # The arccosine itself where 40 digits suffice; below, its half-angle form.
    exact = mpmath.acos(1 - x) if decay > 1e-12 else 2 * mpmath.asin(mpmath.sqrt(x / 2))
    assert relative_error(vispa.flip_rate(1.0, decay), exact / mpmath.pi) < 1e-15


@settings(max_examples=50)
@given(DECAYS, st.one_of(st.integers(0, 100), st.sampled_from([10**6, 2**62])))
def test_sign_agreement(decay: float, steps: int) -> None:
    exact = 1 - mpmath.acos((1 - mpmath.mpf(decay)) ** steps) / mpmath.pi
    assert relative_error(float(vispa.sign_agreement(1.0, decay, steps)), exact) < 1e-15


@given(st.integers(1, 12))
def test_sigma_points_have_the_moments_of_the_normal_law(rank: int) -> None:
    points = vispa.sigma_points(rank).numpy()
    assert points.shape == (2 * rank, rank)
    np.testing.assert_array_equal(points.sum(axis=0), 0)
    np.testing.assert_allclose(points.T @ points / (2 * rank), np.eye(rank), rtol=4e-16, atol=0)


@settings(max_examples=50)
@given(st.integers(0, 2**32), st.floats(-12, 12), st.integers(1, 4), st.integers(0, 1))
def test_free_energy_bounds_from_no_temperature_to_all_of_it(
    seed: int, exponent: float, n: int, rank: int
) -> None:
    """E[L] - T H >= -T log Z, which goes to min L as T -> 0 and to mean L - T n log 2 as T -> infinity."""
    rng = np.random.default_rng(seed)
    temperature, loss = 10.0**exponent, rng.normal(size=2**n)
    law = SignGaussian(rng.normal(size=n), rng.normal(size=(n, rank)), rng.uniform(0.1, 2.0, size=n))
    least = loss.min() - temperature * math.log(np.exp((loss.min() - loss) / temperature).sum())
    value = float(law.probabilities() @ loss) - temperature * law.entropy()
    bound = float(law.probabilities() @ loss) - temperature * float(law.conditional_entropy())
    slack = 1e-12 * (np.abs(loss).max() + temperature)
    assert bound >= value - slack >= least - 2 * slack
    if exponent < -10:
        assert abs(least - loss.min()) < 1e-9
    if exponent > 10:
        assert abs(least / temperature + n * math.log(2)) < 1e-9
