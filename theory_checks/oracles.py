"""References that share nothing with the library: the cube, and quadrature over the latent Gaussian."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]


def cube(n: int) -> Array:
    """All 2^n points of {-1, 1}^n as rows.

    Examples
    --------
    >>> cube(2)
    array([[-1., -1.],
           [-1.,  1.],
           [ 1., -1.],
           [ 1.,  1.]])
    """
    return np.array(list(itertools.product([-1.0, 1.0], repeat=n)))


def normal_grid(dimensions: int, *, reach: float = 8.5, step: float = 0.1) -> tuple[Array, Array]:
    """Nodes (m, K) and weights (m,) that integrate analytic functions of g ~ N(0, I_K).

    The trapezoidal rule converges geometrically for such integrands; for K = 0 there is one empty node.
    """
    axis = np.arange(-reach, reach + step / 2, step)
    density = np.exp(-0.5 * axis**2)
    density /= density.sum()
    nodes = np.array(list(itertools.product(axis, repeat=dimensions))).reshape(-1, dimensions)
    weights = np.array([math.prod(row) for row in itertools.product(density, repeat=dimensions)])
    return nodes, weights


def mixture_components(mean: Array, factor: Array, residual: Array, nodes: Array) -> Array:
    """P(w_i = 1 | g) at each node, shape (m, n); residual > 0."""
    return special.ndtr((mean + nodes @ factor.T) / np.sqrt(residual))


def law(components: Array, weights: Array) -> Array:
    """Probabilities (2^n,) of the points of `cube` under a mixture of independent signs."""
    points = cube(components.shape[1])
    probabilities = np.zeros(len(points))
    for chunk in np.array_split(np.arange(len(weights)), max(1, len(weights) // 2000)):
        agree = np.where(points > 0, components[chunk, None, :], 1.0 - components[chunk, None, :])
        probabilities += weights[chunk] @ agree.prod(axis=-1)
    return probabilities


def entropy(probabilities: Array) -> float:
    """Shannon entropy in nats."""
    return float(special.entr(probabilities).sum())


def mean_field_law(means: Array) -> Array:
    """Probabilities (2^n,) of independent signs with the given means."""
    return law(0.5 * (1.0 + means[None, :]), np.ones(1))


def sign_product_moment(mean: Array, covariance: Array, *, order: int = 120) -> float:
    """E[sgn(x_1) sgn(x_2)] of a bivariate normal.

    Conditions on x_1 and integrates on each side of its sign change, by Gauss-Legendre.
    """
    deviation = math.sqrt(covariance[0, 0])
    slope = covariance[0, 1] / covariance[0, 0]
    rest = math.sqrt(max(covariance[1, 1] - slope * covariance[0, 1], 0.0))
    change = float(np.clip(-mean[0] / deviation, -9.0, 9.0))
    nodes, weights = np.polynomial.legendre.leggauss(order)
    total = 0.0
    for low, high, sign in ((-9.0, change, -1.0), (change, 9.0, 1.0)):
        u = 0.5 * (high - low) * nodes + 0.5 * (high + low)
        density = np.exp(-0.5 * u**2) / math.sqrt(2 * math.pi)
        second_sign = special.erf((mean[1] + slope * deviation * u) / (rest * math.sqrt(2)))
        total += sign * 0.5 * (high - low) * float(weights @ (density * second_sign))
    return total


def central_difference(function: Callable[[float], Array], step: float) -> Array:
    """Derivative at 0 by the five-point rule, of fourth order.

    Examples
    --------
    >>> float(central_difference(lambda t: np.array([t**3 + 2 * t]), 0.1)[0].round(12))
    2.0
    """
    inner = function(step) - function(-step)
    outer = function(2.0 * step) - function(-2.0 * step)
    return np.asarray((8.0 * inner - outer) / (12.0 * step))
