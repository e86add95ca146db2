"""Properties of SignGaussian over its whole domain."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vispa import SignGaussian
from vispa.gaussian.enumeration import all_signs, entropy
from vispa.gaussian.orthant import sign_covariance, sign_variance

# Ordinary numbers, exact zeros (steps, parallel rows, K = 0 in effect) and both ends of the float range.
NUMBERS = st.one_of(
    st.floats(-4, 4),
    st.sampled_from([0.0, 1.0, -1.0, 1e-8, -1e-8, 1e-160, 1e150, -1e150, 30.0]),
)
VARIANCES = st.one_of(st.floats(0, 4), st.sampled_from([0.0, 1e-16, 1e-300, 1e300]))


@st.composite
def laws(draw: st.DrawFn, largest_rank: int = 3, positive_rows: bool = False) -> SignGaussian:
    n, rank = draw(st.integers(1, 5)), draw(st.integers(0, largest_rank))
    mean, residual = draw(arrays(float, n, elements=NUMBERS)), draw(arrays(float, n, elements=VARIANCES))
    factor = draw(arrays(float, (n, rank), elements=NUMBERS))
    if positive_rows:
        mean = np.where((mean == 0) & (residual == 0) & ~factor.any(axis=1), 1.0, mean)
    return SignGaussian(mean, factor, residual)


@given(laws(positive_rows=True))
@settings(max_examples=150)
def test_projection_reaches_the_gauge_once_and_keeps_the_moments(law: SignGaussian) -> None:
    unit = law.projected()
    norms = unit.mean**2 + (unit.factor**2).sum(axis=1) + unit.residual
    np.testing.assert_allclose(norms, 1, atol=1e-14)
    assert (np.abs(unit.mean) <= 1 + 1e-15).all()
    again = unit.projected()
    np.testing.assert_allclose(again.factor, unit.factor, atol=1e-15)
    np.testing.assert_allclose(unit.mean_signs(), law.mean_signs(), atol=1e-13)


@given(laws(), st.integers(0, 2**32), st.floats(-3, 3))
@settings(max_examples=100)
def test_law_does_not_change_under_row_scaling(law: SignGaussian, seed: int, exponent: float) -> None:
    scale = 10.0 ** (exponent * np.random.default_rng(seed).random(law.n))
    scaled = SignGaussian(scale * law.mean, scale[:, None] * law.factor, scale**2 * law.residual)
    np.testing.assert_allclose(scaled.mean_signs(), law.mean_signs(), atol=1e-13)
    # Where two signs are one up to rounding, 1 - rho is itself rounding: sqrt(1e-16) shows.
    np.testing.assert_allclose(scaled.second_moments(), law.second_moments(), atol=2e-8)


@given(laws())
@settings(max_examples=150)
def test_moments_are_moments(law: SignGaussian) -> None:
    mean, second = law.mean_signs(), law.second_moments()
    assert np.isfinite(second).all()
    assert (np.abs(mean) <= 1).all()
    assert (np.abs(second) <= 1 + 1e-12).all()
    np.testing.assert_array_equal(np.diag(second), 1)
    np.testing.assert_array_equal(second, second.T)
    assert np.linalg.eigvalsh(second - np.outer(mean, mean)).min() > -1e-7
    # Frechet: four quadrant probabilities, none negative.
    for s in (1, -1):
        for t in (1, -1):
            quadrant = 1 + s * mean[:, None] + t * mean[None, :] + s * t * second
            off = ~np.eye(law.n, dtype=bool)
            assert quadrant[off].min(initial=0.0) > -1e-10


@given(laws(positive_rows=True))
@settings(max_examples=100)
def test_elliptope_is_correlation_matrix_of_its_factor(law: SignGaussian) -> None:
    Y, V = law.elliptope(), law.to_factor()
    np.testing.assert_array_equal(np.diag(Y), 1)
    np.testing.assert_allclose(V @ V.T, Y, atol=1e-14)
    assert np.linalg.eigvalsh(Y).min() > -1e-12
    np.testing.assert_allclose(Y[0, 1:], law.projected().mean, atol=1e-15)


TAME = st.one_of(st.floats(-3, 3), st.sampled_from([0.0, 1.0]))


@st.composite
def tame_laws(draw: st.DrawFn) -> SignGaussian:
    n, rank = draw(st.integers(1, 5)), draw(st.integers(0, 1))
    residual = draw(arrays(float, n, elements=st.one_of(st.floats(0.01, 3), st.just(0.0))))
    factor = draw(arrays(float, (n, rank), elements=TAME.filter(lambda x: x == 0 or abs(x) > 1e-3)))
    return SignGaussian(draw(arrays(float, n, elements=TAME)), factor, residual)


@given(tame_laws())
@settings(max_examples=100)
def test_enumeration_agrees_with_every_closed_form(law: SignGaussian) -> None:
    p, W = law.probabilities(), all_signs(law.n).astype(float)
    np.testing.assert_allclose(p.sum(), 1, atol=1e-12)
    np.testing.assert_allclose(W.T @ p, law.mean_signs(), atol=1e-11)
    np.testing.assert_allclose((W * p[:, None]).T @ W, law.second_moments(), atol=1e-10)
    conditional, joint = float(law.conditional_entropy()), law.entropy()
    assert -1e-12 <= conditional <= joint + 1e-10
    assert joint <= law.n * np.log(2) + 1e-10
    if not law.factor.any():
        np.testing.assert_allclose(conditional, joint, atol=1e-11)


@given(tame_laws(), st.integers(0, 30))
@settings(max_examples=25)
def test_semi_implicit_entropy_lies_between(law: SignGaussian, mixtures: int) -> None:
    estimate = law.semi_implicit_entropy(mixtures=mixtures, samples=400, rng=0)
    slack = 6 * estimate.standard_error + 0.05
    assert float(law.conditional_entropy()) - slack <= estimate.value <= law.entropy() + slack


RATIOS = st.one_of(st.floats(-36, 36), st.sampled_from([0.0, np.inf, -np.inf, 1e-300, 40.0, 1e200]))
ANGLES = st.one_of(st.floats(-20, 20), st.sampled_from([0.0, np.inf, -np.inf, 1e-12]))


@given(RATIOS, RATIOS, ANGLES)
@settings(max_examples=150)
def test_sign_covariance_symmetries_and_bounds(h: float, k: float, y: float) -> None:
    value = float(sign_covariance(h, k, y))
    tolerance = 1e-12 * abs(value)
    assert abs(value - float(sign_covariance(k, h, y))) <= tolerance
    assert abs(value + float(sign_covariance(h, -k, -y))) <= tolerance
    assert value * np.sign(y) >= 0
    largest = np.sqrt(sign_variance(h)) * np.sqrt(sign_variance(k))
    assert abs(value) <= largest * (1 + 1e-11)


@given(RATIOS, RATIOS, st.floats(0, 10), st.floats(0, 10))
@settings(max_examples=100)
def test_sign_covariance_grows_with_correlation(h: float, k: float, y: float, more: float) -> None:
    low, high = float(sign_covariance(h, k, y)), float(sign_covariance(h, k, y + more))
    assert high >= low * (1 - 1e-12)


@given(arrays(float, 8, elements=st.floats(0, 1)))
def test_entropy_of_a_vector(values: np.ndarray) -> None:
    p = (values + 1e-3) / (values + 1e-3).sum()
    assert 0 <= entropy(p) <= np.log(8) + 1e-12
