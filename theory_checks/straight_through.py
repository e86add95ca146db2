"""S1-S3: where straight-through gradients come from, and the noise that makes each kernel exact."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import integrate, optimize, special

from theory_checks.claim import Claim, Measurement, Trial, at_least, at_most, claim
from theory_checks.oracles import central_difference, cube
from vispa.estimators import losses
from vispa.estimators import registry as estimators
from vispa.gaussian.sign_gaussian import SignGaussian

Array = NDArray[np.float64]
Kernel = Callable[[torch.Tensor], torch.Tensor]

SIZE = 4
# Equally likely noise values a weight: probabilities k / 8 are then enumerated, not sampled.
LEVELS = 8
NOISES = ("uniform", "triangular", "logistic", "gaussian")


@claim(
    "S1",
    title="the slope of E[w] is a Gaussian kernel",
    statement="m_i = 2 Phi(mu_i/sigma_i) - 1; dm_i/dmu_i = 2 phi(mu_i/sigma_i)/sigma_i at fixed sigma, and "
    "2 phi(mu_i/sigma_i)/sigma_i^3 along the gauge mu_i^2 + sigma_i^2 = 1 (K = 0).",
    source="Chain rule on P(x_i > 0). Derived.",
    computed="Fourth-order differences of `mean_signs` at fixed sigma and along the gauge, against the "
    "kernel; the gradients that `gaussian` and `rao_blackwell` give for L = sum w, with respect to mu and "
    "to the root residual.",
    falsified_by="A mean mu and deviation sigma at which a difference quotient and the kernel disagree.",
)
def slope(trial: Trial) -> Iterator[Measurement]:
    """Differentiate the means numerically."""
    mean = np.append(trial.rng.uniform(-0.9, 0.9, size=trial.count(30)), 0.0)
    sigma = np.append(10.0 ** trial.rng.uniform(-0.5, 0.5, size=trial.count(30)), 1.0)
    closed = special.erf(mean / sigma / np.sqrt(2.0))
    yield at_most(
        "largest |E[w_i] - (2 Phi(mu/sigma) - 1)|",
        np.abs(SignGaussian(mean, None, sigma**2).mean_signs() - closed).max(),
        1e-14,
    )
    kernel = estimators.gaussian_kernel(torch.from_numpy(mean / sigma)).numpy()
    fixed = central_difference(
        lambda t: SignGaussian(mean + t, None, sigma**2).mean_signs(), 1e-3 * sigma.min()
    )
    yield at_most("fixed sigma: largest relative error of the slope", _relative(fixed, kernel / sigma), 1e-8)
    gauge_sigma = np.sqrt(1.0 - mean**2)
    along = central_difference(lambda t: SignGaussian.factorised(mean + t).mean_signs(), 1e-4)
    ratio = torch.from_numpy(mean / gauge_sigma)
    expected = estimators.gaussian_kernel(ratio).numpy() / gauge_sigma**3
    yield at_most("along the gauge: largest relative error of the slope", _relative(along, expected), 1e-8)

    rows = torch.from_numpy(np.column_stack([mean, sigma]))
    draw = estimators.Draw(
        torch.zeros((1, 0), dtype=torch.float64), torch.zeros((1, mean.size), dtype=torch.float64)
    )
    total = losses.CallableLoss(lambda w: w.sum(dim=1))
    wanted = np.column_stack([fixed, -mean / sigma * fixed])
    for name in ("gaussian", "rao_blackwell"):
        gradient = getattr(estimators, name)(total, rows, draw).gradient.numpy()
        yield at_most(
            f"{name}, L = sum w: largest relative error", _relative(gradient[:, 0], wanted[:, 0]), 1e-8
        )
        error = np.abs(gradient[:, 1] - wanted[:, 1]).max()
        yield at_most(f"{name}, L = sum w: largest error for the root residual", error, 1e-8)


def _relative(found: Array, expected: Array) -> float:
    return float((np.abs(found - expected) / np.abs(expected)).max())


class Polynomial:
    """A random multilinear loss: any function on the cube, by its Fourier coefficients."""

    def __init__(self, rng: np.random.Generator, n: int) -> None:
        self.exponents = np.array(list(itertools.product([0, 1], repeat=n)), dtype=bool)
        self.coefficients = rng.normal(size=2**n)

    def torch(self, points: torch.Tensor) -> torch.Tensor:
        """Values (B,) at points (B, n) of the cube or inside it, for autograd."""
        factors = torch.where(
            torch.from_numpy(self.exponents), points[:, None, :], torch.ones((), dtype=points.dtype)
        )
        return factors.prod(dim=-1) @ torch.from_numpy(self.coefficients).to(points.dtype)

    def values(self, points: Array) -> Array:
        """Values at points (m, n), without torch."""
        return np.asarray(np.where(self.exponents, points[:, None, :], 1.0).prod(axis=-1) @ self.coefficients)

    def expectation(self, plus: Array) -> float:
        """E[L] under independent signs with P(w_i = 1) = plus, by enumeration."""
        points = cube(plus.size)
        return float(np.where(points > 0, plus, 1.0 - plus).prod(axis=1) @ self.values(points))

    def half_differences(self, points: Array) -> Array:
        """(L(w_i = +1) - L(w_i = -1)) / 2 at each point (m, n)."""
        columns = []
        for i in range(points.shape[1]):
            ends = [np.where(np.arange(points.shape[1]) == i, sign, points) for sign in (1.0, -1.0)]
            columns.append(0.5 * (self.values(ends[0]) - self.values(ends[1])))
        return np.column_stack(columns)


@claim(
    "S2",
    title="independent weights: straight-through is a preconditioned true gradient",
    statement="For independent weights E[grad L^(w)] = grad L^(m), and dE[L]/dmu_i = (2 "
    "phi(mu_i/sigma_i)/sigma_i) dL^/dm_i: the straight-through gradient times a positive diagonal, with "
    "the same signs and interior stationary points.",
    source="Multilinearity of L^; chain rule. Derived.",
    computed="Random multilinear losses of all degrees, n = 4, given one g (K = 1), P(w_i = 1) in eighths: "
    "8^4 equally likely noise values enumerate the law exactly. Means of `straight_through`, `gaussian`, "
    "`rao_blackwell` and `score` against the gradient of the enumerated E[L].",
    falsified_by="An estimator whose exact mean is not the gradient, or a straight-through mean of another "
    "sign.",
)
def preconditioning(trial: Trial) -> Iterator[Measurement]:
    """Take exact means of the estimators, and differentiate the enumerated expectation."""
    errors = dict.fromkeys(("gaussian", "rao_blackwell", "score", "straight_through"), 0.0)
    wrong_signs = 0
    for _ in range(trial.count(3)):
        loss = Polynomial(trial.rng, SIZE)
        plus = trial.rng.integers(1, LEVELS, size=SIZE) / LEVELS
        u, s = special.ndtri(plus), trial.rng.uniform(0.3, 2.0, size=SIZE)
        probability = np.where(cube(SIZE) > 0, plus, 1.0 - plus).prod(axis=1)
        slope = probability @ loss.half_differences(cube(SIZE))
        kernel = 2.0 * np.exp(-0.5 * u**2) / np.sqrt(2.0 * np.pi) / s
        # One value of the factor noise, K = 1: given it the weights are independent.
        z, g = trial.rng.normal(size=SIZE), float(trial.rng.normal())
        truth = np.column_stack([kernel * slope, g * kernel * slope, -u * kernel * slope])
        rows = torch.from_numpy(np.column_stack([u * s - g * z, z, s]))
        draw = _every_noise(g)
        wrapped = losses.CallableLoss(loss.torch)
        for name in ("gaussian", "rao_blackwell", "score"):
            gradient = getattr(estimators, name)(wrapped, rows, draw).gradient.numpy()
            if name == "score":
                # Its baseline leaves one sample out, as independent draws need; a full grid does not.
                gradient = gradient * (1.0 - 1.0 / draw.own.shape[0])
            errors[name] = max(errors[name], float(np.abs(gradient - truth).max()))
        through = estimators.straight_through(wrapped, rows, draw).gradient.numpy()[:, 0]
        errors["straight_through"] = max(
            errors["straight_through"], float(np.abs(through * kernel - truth[:, 0]).max())
        )
        wrong_signs += int((np.sign(through) != np.sign(truth[:, 0])).sum())
    for name, error in errors.items():
        times = " times 2 phi/sigma" if name == "straight_through" else ""
        yield at_most(f"{name}: largest |exact mean{times} - gradient of E[L]|", error, 1e-11)
    yield at_most("straight-through means of the wrong sign", wrong_signs, 0)


def _every_noise(g: float) -> estimators.Draw:
    """Every combination of the midpoints of equally likely noise intervals: 8^n draws, all with one g."""
    levels = special.ndtri((np.arange(LEVELS) + 0.5) / LEVELS)
    own = torch.tensor(list(itertools.product(levels, repeat=SIZE)), dtype=torch.float64)
    return estimators.Draw(torch.full((own.shape[0], 1), g, dtype=torch.float64), own)


@claim(
    "S3",
    title="a kernel is exact for some noise iff it is twice a density",
    statement="For w = sgn(mu + e), e ~ f: dE[L]/dmu_i = 2 f(-mu_i) dL^/dm_i. Uniform noise gives hard-tanh, "
    "triangular Bi-Real, logistic tanh' and, up to the constant 1/t for t < 1, EDE, Gaussian 2 phi. The "
    "identity and SwishSign (negative for |beta x| > 2.40) belong to no noise.",
    source="d/dmu P(e > -mu) = f(-mu); Liu et al. (2018), Qin et al. (2020) and Darabi et al. (2018) for the "
    "kernels. Derived.",
    computed="Per law: differences of the enumerated E[L] with P(w_i = 1) = F(mu_i) against the kernel; the "
    "integral of the density; F after its quantile; `noise_of` on every kernel; the zero of SwishSign's "
    "kernel.",
    falsified_by="A law whose kernel is not the derivative, or a kernel without a noise that is given one.",
)
def noise_laws(trial: Trial) -> Iterator[Measurement]:
    """Differentiate the expectation under each noise; try the kernels that have none."""
    loss = Polynomial(trial.rng, SIZE)
    mean = trial.rng.uniform(0.15, 0.85, size=SIZE) * trial.rng.choice([-1.0, 1.0], size=SIZE)
    for noise in NOISES:
        law = estimators.noise_of(noise)
        kernel: Kernel = estimators.ste_kernel(noise)
        error = np.abs(
            _noisy_gradient(loss, law, mean) - _tensor(kernel, mean) * _slope(loss, law, mean)
        ).max()
        yield at_most(f"{noise}: largest |dE[L]/dmu - kernel * dL^/dm|", error, 1e-8)
        yield at_most(
            f"{noise}: deviation of the law from its density, mean and quantile", _law_error(law), 1e-9
        )
    for name, kernel, constant in _OWN_KERNELS:
        law = estimators.noise_of(kernel)
        found = constant * _noisy_gradient(loss, law, mean) - _tensor(kernel, mean) * _slope(loss, law, mean)
        yield at_most(
            f"{name}: largest |c dE[L]/dmu - kernel * dL^/dm|, c = {constant:g}", abs(found).max(), 1e-7
        )
    returned = sum(_noise_name(estimators.ste_kernel(noise)) == noise for noise in NOISES)
    yield at_least("kernels whose noise is the one they came from", returned, len(NOISES))
    refused = sum(not _noise_name(k) for k in (estimators.identity_kernel, estimators.swish_sign_kernel))
    yield at_least("kernels of no density that were refused (identity, SwishSign)", refused, 2)
    points = np.linspace(-3.0, 3.0, 61)
    slope = central_difference(lambda t: _swish_sign(points + t), 1e-3)
    error = np.abs(_tensor(estimators.swish_sign_kernel, points) - slope).max()
    yield at_most("SwishSign: largest |kernel - slope of the function|", error, 1e-7)
    zero = optimize.brentq(lambda x: float(_tensor(estimators.swish_sign_kernel, np.array([x]))[0]), 0.1, 1.0)
    yield at_most(
        "|5 x - 2.3994| where the kernel of SwishSign, beta = 5, turns negative", abs(5 * zero - 2.3994), 1e-4
    )


def _swish_sign(x: Array) -> Array:
    """2 s (1 + beta x (1 - s)) - 1, s the sigmoid of beta x, beta = 5 (Darabi et al. 2018)."""
    s = special.expit(5.0 * x)
    return np.asarray(2.0 * s * (1.0 + 5.0 * x * (1.0 - s)) - 1.0)


# Name, kernel, and half its integral, by which it exceeds the exact one.
_OWN_KERNELS: tuple[tuple[str, Kernel, float], ...] = (
    ("EDE, t = 0.5", estimators.ede_kernel(0.5), 2.0),
    ("EDE, t = 4", estimators.ede_kernel(4.0), 1.0),
    ("a user's exp(-|x|)", lambda x: torch.exp(-x.abs()), 1.0),
    ("a user's one-sided exp(x), x < 0", lambda x: torch.where(x < 0, x.clamp_max(0.0).exp(), 0.0), 0.5),
)


def _tensor(function: Kernel, values: Array) -> Array:
    return np.asarray(function(torch.from_numpy(values)).numpy())


def _slope(loss: Polynomial, law: estimators.NoiseLaw, mean: Array) -> Array:
    plus = 1.0 - _tensor(law.cumulative, -mean)
    return np.where(cube(SIZE) > 0, plus, 1.0 - plus).prod(axis=1) @ loss.half_differences(cube(SIZE))


def _noisy_gradient(loss: Polynomial, law: estimators.NoiseLaw, mean: Array) -> Array:
    def moved(i: int, t: float) -> Array:
        plus = 1.0 - _tensor(law.cumulative, -np.where(np.arange(SIZE) == i, mean + t, mean))
        return np.array([loss.expectation(plus)])

    return np.concatenate([central_difference(functools.partial(moved, i), 1e-3) for i in range(SIZE)])


def _law_error(law: estimators.NoiseLaw) -> float:
    def density(x: float) -> float:
        return float(_tensor(law.density, np.array([x]))[0])

    mass = sum(
        integrate.quad(density, a, b, epsabs=1e-12)[0] for a, b in ((-30, -1), (-1, 0), (0, 1), (1, 30))
    )
    below = sum(integrate.quad(density, a, b, epsabs=1e-12)[0] for a, b in ((-30, -1), (-1, 0), (0, 0.4)))
    levels = np.linspace(0.02, 0.98, 481)
    inverse = np.abs(_tensor(law.cumulative, _tensor(law.quantile, levels)) - levels).max()
    point = np.array([0.4])
    mean_error = abs(float(_tensor(law.mean_sign, point)[0]) - (2.0 * below - 1.0))
    ends = _tensor(law.cumulative, np.array([-30.0, 30.0]))
    return max(abs(mass - 1.0), mean_error, float(inverse), float(np.abs(ends - [0.0, 1.0]).max()))


def _noise_name(kernel: Kernel) -> str:
    """Name of the kernel's noise, empty where it is refused."""
    try:
        return estimators.noise_of(kernel).name
    except ValueError:
        return ""


CLAIMS: tuple[Claim, ...] = (slope, preconditioning, noise_laws)
