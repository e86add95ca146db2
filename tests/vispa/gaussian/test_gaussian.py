"""SignGaussian against enumeration, quadrature and 30-digit arithmetic."""

import copy
import pickle

import mpmath
import numpy as np
import pytest
from scipy.special import erf, ndtr, xlogy
from scipy.stats import multivariate_normal

from solvers.low_rank import low_rank
from solvers.problems.problem import BinaryQuadratic, Elliptope
from vispa import SignGaussian
from vispa.gaussian.entropy import Estimate, binary_entropy, conditional_entropy
from vispa.gaussian.enumeration import all_signs, entropy, mixture_probabilities
from vispa.gaussian.orthant import sign_covariance
from vispa.gaussian.quadrature import integrate_log_concave


def random_law(seed: int, n: int = 6, rank: int = 1) -> SignGaussian:
    rng = np.random.default_rng(seed)
    return SignGaussian(rng.normal(size=n), rng.normal(size=(n, rank)), rng.random(n))


def plackett(h: float, k: float, y: float) -> mpmath.mpf:
    """Covariance of two signs with rho = tanh(y), in the variable of the textbook, t = rho."""
    with mpmath.workdps(30):
        h, k, rho = mpmath.mpf(h), mpmath.mpf(k), mpmath.tanh(mpmath.mpf(y))

        def integrand(angle: mpmath.mpf) -> mpmath.mpf:
            sine, cosine = mpmath.sin(angle), mpmath.cos(angle)
            return mpmath.exp(-(h * h - 2 * h * k * sine + k * k) / (2 * cosine * cosine))

        end = mpmath.asin(rho)
        # Panels shrink towards the end, where the integrand may turn within |h - k|.
        panels = [end * (1 - mpmath.mpf(2) ** -i) for i in range(0, 40)] + [end]
        return 2 / mpmath.pi * mpmath.quad(integrand, panels, maxdegree=5)


@pytest.mark.parametrize(
    ("h", "k", "y"),
    [
        (0.3, -1.2, 1.4),
        (1.0, 1.0 + 1e-6, 12.0),
        (2.0, 2.0, 15.0),
        (-1.5, 1.5, -9.0),
        (1e-3, 2.0, 1e-9),
        (4.0, 1.0, 3.0),
        (0.0, 0.7, -5.0),
        (3.0, -3.0, 6.0),
    ],
)
def test_covariance_keeps_its_relative_accuracy(h: float, k: float, y: float) -> None:
    reference = plackett(h, k, y)
    value = float(sign_covariance(h, k, y))
    if abs(reference) < 1e-12:  # mpmath's own quadrature error is absolute
        assert abs(value - reference) < 1e-22
    else:
        assert abs(value / reference - 1) < 1e-12


def test_covariance_of_rare_signs_is_the_small_probability_itself() -> None:
    # rho = 1, h = k: the signs are equal, so the covariance is the variance, 4 Phi(h) Phi(-h).
    h = np.array([0.0, 1.0, 8.0, 20.0, 30.0, 37.0])
    exact = 4 * ndtr(h) * ndtr(-h)
    np.testing.assert_allclose(sign_covariance(h, h, np.inf), exact, rtol=1e-12)
    # Signs that cannot both be rare: Cov(w, -w').
    np.testing.assert_allclose(sign_covariance(h, -h, -np.inf), -exact, rtol=1e-12)


def test_covariance_agrees_with_scipy_where_cancellation_is_mild() -> None:
    for h, k, rho in [(0.2, -0.4, 0.5), (1.0, 0.8, -0.9), (-0.3, 0.1, 0.99)]:
        both = multivariate_normal.cdf([h, k], cov=[[1, rho], [rho, 1]], abseps=1e-14)
        expected = 4 * both - 2 * ndtr(h) - 2 * ndtr(k) + 1 - erf(h / 2**0.5) * erf(k / 2**0.5)
        assert float(sign_covariance(h, k, np.arctanh(rho))) == pytest.approx(expected, abs=1e-9)


def test_zero_mean_is_the_arcsine_law() -> None:
    rho = np.linspace(-1, 1, 41)
    with np.errstate(divide="ignore"):
        y = np.arctanh(rho)
    np.testing.assert_allclose(sign_covariance(0.0, 0.0, y), 2 / np.pi * np.arcsin(rho), atol=1e-15)


@pytest.mark.parametrize("seed", range(4))
def test_moments_equal_enumeration(seed: int) -> None:
    law = random_law(seed)
    p, W = law.probabilities(), all_signs(law.n).astype(float)
    assert p.sum() == pytest.approx(1, abs=1e-13)
    np.testing.assert_allclose(W.T @ p, law.mean_signs(), atol=1e-13)
    np.testing.assert_allclose((W * p[:, None]).T @ W, law.second_moments(), atol=1e-13)


def test_moments_with_steps_and_almost_steps() -> None:
    law = SignGaussian([0.3, -0.2, 0.1, 2.0], [[1.0], [-0.5], [0.8], [0.0]], [0.0, 1e-12, 0.5, 0.0])
    p, W = law.probabilities(), all_signs(4).astype(float)
    np.testing.assert_allclose(W.T @ p, law.mean_signs(), atol=1e-13)
    np.testing.assert_allclose((W * p[:, None]).T @ W, law.second_moments(), atol=1e-13)


def test_parallel_rows_are_one_sign() -> None:
    z = np.array([0.1, 0.7, -0.3])
    law = SignGaussian([0.2, 0.6, -0.2], np.stack([z, 3 * z, -z]))
    np.testing.assert_allclose(law.second_moments(), np.outer([1, 1, -1], [1, 1, -1]), atol=1e-14)


def test_deterministic_and_single_weights() -> None:
    law = SignGaussian([0.0, -1e-300, 5.0])
    np.testing.assert_array_equal(law.mean_signs(), [1, -1, 1])
    np.testing.assert_array_equal(law.second_moments(), np.outer([1, -1, 1], [1, -1, 1]))
    np.testing.assert_array_equal(law.sample(3, rng=0), [[1, -1, 1]] * 3)
    assert law.entropy() == 0.0
    assert law.conditional_entropy() == Estimate(0.0, 0.0)
    single = SignGaussian([0.6], None, [0.64])
    assert single.entropy() == pytest.approx(float(single.conditional_entropy()), rel=1e-14)
    assert single.second_moments().tolist() == [[1.0]]


def test_extreme_scales_neither_overflow_nor_vanish() -> None:
    law = SignGaussian([1e-200, -1e300], [[1e-200], [1e300]], [0.0, 0.0])
    np.testing.assert_allclose(law.mean_signs(), erf(np.array([1.0, -1.0]) / 2**0.5), rtol=1e-14)
    np.testing.assert_allclose(law.projected().mean, [0.5**0.5, -(0.5**0.5)], rtol=1e-14)


def test_sampling_has_the_exact_moments() -> None:
    law = random_law(7, n=4, rank=2)
    draws = law.sample(40_000, rng=1).astype(float)
    assert np.abs(draws.mean(0) - law.mean_signs()).max() < 4.5 / 200
    assert np.abs(draws.T @ draws / 40_000 - law.second_moments()).max() < 4.5 / 200
    np.testing.assert_array_equal(law.sample(9, rng=3), law.sample(9, rng=3))
    assert law.sample(0, rng=0).shape == (0, 4)


@pytest.mark.parametrize("width", [1e-6, 0.3, 1.0, 5.0, 1e6])
@pytest.mark.parametrize("centre", [0.0, -0.7, 6.0, -20.0])
def test_smoothed_binary_entropy(centre: float, width: float) -> None:
    value = conditional_entropy(np.array([centre]), np.array([width]), np.ones(1))
    # The trapezoidal rule on a fine grid in the narrower of the two variables.
    step = np.linspace(-12, 12, 20_001)
    u = step * width / np.hypot(1, width) + centre / (1 + width**2)
    density = np.exp(-0.5 * ((u - centre) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    assert value == pytest.approx(np.trapezoid(binary_entropy(u) * density, u), rel=1e-10)


def test_conditional_entropy_agrees_with_hermite_quadrature() -> None:
    law = random_law(3)
    nodes, weights = np.polynomial.hermite_e.hermegauss(180)
    law = SignGaussian(law.mean, 0.3 * law.factor, law.residual + 0.3)
    P = ndtr((law.mean + nodes[:, None] * law.factor[:, 0]) / np.sqrt(law.residual))
    expected = weights @ (-xlogy(P, P) - xlogy(1 - P, 1 - P)).sum(1) / np.sqrt(2 * np.pi)
    assert float(law.conditional_entropy()) == pytest.approx(expected, rel=1e-12)


def test_entropies_are_ordered_and_converge() -> None:
    law = SignGaussian(np.zeros(5), np.full((5, 1), 0.8), np.full(5, 0.36))
    exact, conditional = law.entropy(), float(law.conditional_entropy())
    estimates = [law.semi_implicit_entropy(mixtures=M, samples=20_000, rng=M) for M in (0, 4, 200)]
    assert abs(estimates[0].value - conditional) < 5 * estimates[0].standard_error
    assert (
        conditional + 0.3 < estimates[1].value < estimates[2].value < exact + 5 * estimates[2].standard_error
    )
    assert abs(estimates[2].value - exact) < 0.03 + 5 * estimates[2].standard_error


def test_semi_implicit_entropy_with_steps() -> None:
    # One fair sign copied: H = log 2 while H(w | g) = 0, and M fresh draws see half of each other.
    law = SignGaussian(np.zeros(3), np.ones((3, 1)))
    assert law.entropy() == pytest.approx(np.log(2), rel=1e-12)
    assert float(law.conditional_entropy()) == 0.0
    estimate = law.semi_implicit_entropy(mixtures=400, samples=2000, rng=0)
    assert abs(estimate.value - np.log(2)) < 0.01


def test_finite_mixtures_satisfy_the_variational_inequalities() -> None:
    # E[L] - T H(w|g) >= E[L] - T H(w) >= -T log Z, the first an equality iff w and g are independent.
    rng = np.random.default_rng(0)
    loss, T = rng.normal(size=2**5), 0.7
    weights = rng.dirichlet(np.ones(4))
    table = rng.random((4, 5))
    for P, independent in [(table, False), (np.tile(table[:1], (4, 1)), True)]:
        q = mixture_probabilities(weights, P)
        conditional = weights @ (-xlogy(P, P) - xlogy(1 - P, 1 - P)).sum(1)
        upper, true = loss @ q - T * conditional, loss @ q - T * entropy(q)
        assert true >= -T * np.log(np.exp(-loss / T).sum()) - 1e-12
        assert (abs(upper - true) < 1e-12) if independent else (upper > true + 1e-3)
    gibbs = np.exp(-loss / T) / np.exp(-loss / T).sum()
    assert loss @ gibbs - T * entropy(gibbs) == pytest.approx(-T * np.log(np.exp(-loss / T).sum()))


@pytest.mark.parametrize("linear", [True, False])
def test_solution_round_trip(linear: bool) -> None:
    rng = np.random.default_rng(5)
    M = rng.normal(size=(8, 8))
    problem = BinaryQuadratic(M + M.T, rng.normal(size=8) if linear else None)
    solution = low_rank(problem, rng=0)
    law = SignGaussian.from_solution(solution)
    if linear:
        np.testing.assert_allclose(law.elliptope(), solution.gram(), atol=1e-12)
    else:
        np.testing.assert_array_equal(law.mean, 0)
        np.testing.assert_allclose(law.elliptope()[1:, 1:], solution.gram(), atol=1e-12)
    start = law.to_factor(homogenised=linear)
    again = low_rank(problem, start=start, rng=0)
    assert again.value == pytest.approx(solution.value, abs=1e-5 * abs(solution.value))


def test_latent_objective_is_the_semidefinite_one() -> None:
    rng = np.random.default_rng(2)
    M, b = rng.normal(size=(5, 5)), rng.normal(size=5)
    problem, law = BinaryQuadratic(M + M.T, b), random_law(4, n=5, rank=2).projected()
    relaxation = problem.relaxation()
    assert isinstance(relaxation, Elliptope)
    expected = np.sum((M + M.T) * (law.latent_covariance() + np.outer(law.mean, law.mean))) + b @ law.mean
    assert np.sum(relaxation.cost * law.elliptope()) == pytest.approx(expected, rel=1e-12)


def test_factorised_law() -> None:
    law = SignGaussian.factorised([0.6, -1.0, 0.0])
    np.testing.assert_allclose(law.mean**2 + law.residual, 1)
    np.testing.assert_allclose(law.mean_signs(), erf(np.array([0.75, -np.inf, 0]) / 2**0.5), rtol=1e-14)
    off_diagonal = law.covariance() - np.diag(np.diag(law.covariance()))
    assert not off_diagonal.any()


def test_arrays_are_private_and_frozen() -> None:
    mean = np.array([0.5, 0.5])
    law = SignGaussian(mean)
    mean[0] = 9
    assert law.mean[0] == 0.5
    with pytest.raises(ValueError, match="read-only"):
        law.mean[0] = 1
    with pytest.raises(AttributeError):
        law.mean = mean  # type: ignore[misc]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: SignGaussian([]), ValueError, "at least one weight"),
        (lambda: SignGaussian([np.nan]), ValueError, "mean must be finite"),
        (lambda: SignGaussian([[1.0]]), ValueError, "mean must have 1 dimension"),
        (lambda: SignGaussian(["a"]), TypeError, "mean must hold real numbers"),
        (lambda: SignGaussian([1j]), TypeError, "real numbers"),
        (lambda: SignGaussian([1.0], [[1.0], [2.0]]), ValueError, "factor must have one row a weight"),
        (lambda: SignGaussian([1.0], [1.0]), ValueError, "factor must have 2 dimension"),
        (lambda: SignGaussian([1.0], None, [-1.0]), ValueError, "residual must not be negative"),
        (lambda: SignGaussian([1.0], None, [1.0, 2.0]), ValueError, "residual must have length 1"),
        (lambda: SignGaussian([1.0, 0.0]).projected(), ValueError, "first at index 1"),
        (lambda: SignGaussian([0.0]).to_factor(), ValueError, "no projection"),
        (lambda: SignGaussian.factorised([1.5]), ValueError, r"\[-1, 1\]"),
        (lambda: SignGaussian.from_solution(np.eye(2)), TypeError, "must be a Solution"),
        (lambda: SignGaussian([1.0]).sample(-1), ValueError, "count must be at least 0"),
        (lambda: SignGaussian([1.0]).sample(1.5), TypeError, "count must be an integer"),
        (
            lambda: SignGaussian([1.0]).semi_implicit_entropy(samples=1),
            ValueError,
            "samples must be at least 2",
        ),
        (lambda: SignGaussian([1.0], [[1.0, 2.0]]).entropy(), ValueError, "at most 1 column"),
        (lambda: SignGaussian(np.ones(17)).entropy(), ValueError, "at most 16 weights"),
        (lambda: mixture_probabilities([0.5, 0.6], [[0.5], [0.5]]), ValueError, "sum 1"),
        (lambda: mixture_probabilities([1.0], [[1.5]]), ValueError, r"\[0, 1\]"),
        (lambda: entropy([-0.1, 1.1]), ValueError, "must not be negative"),
        (lambda: all_signs(0), ValueError, "n must be at least 1"),
    ],
)
def test_bad_input_is_refused_in_words(call, error, words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def test_log_concave_integrals_of_every_shape() -> None:
    rate = np.array([1.0, 1e3, 1e7, 1e-3])
    exponential = integrate_log_concave(lambda x: -rate * x, np.zeros(4), np.full(4, 2.0))
    np.testing.assert_allclose(exponential, -np.expm1(-2 * rate) / rate, rtol=1e-13)
    narrow = integrate_log_concave(lambda x: -((x - 0.7) ** 2) * 1e12, np.zeros(1), np.ones(1))
    np.testing.assert_allclose(narrow, np.sqrt(np.pi) * 1e-6, rtol=1e-8)  # rounding of x - 0.7 at 1e-16/1e-6
    assert integrate_log_concave(lambda x: -x, np.ones(1), np.ones(1)) == 0


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_copies_are_the_same_law_and_read_only(copied):
    posterior = SignGaussian([0.5, 0.0], [[0.5], [1.0]], [0.5, 0.0])
    again = copied(posterior)
    for name in ("mean", "factor", "residual"):
        np.testing.assert_array_equal(getattr(again, name), getattr(posterior, name))
        with pytest.raises(ValueError, match="read-only"):
            getattr(again, name)[...] = 1.0
