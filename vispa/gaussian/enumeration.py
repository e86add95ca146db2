"""Exact laws of few signs: all 2^n points, mixtures of independent signs, quadrature over one factor."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, xlogy

from solvers import checks
from vispa.gaussian.entropy import conditional_arguments

Array = NDArray[np.float64]

LARGEST_N = 16
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
# Where the probability of one sign moves, in units of its own width, and the range of the factor noise.
_STEPS = np.array([-9.0, -6.0, -4.0, -2.5, -1.2, 0.0, 1.2, 2.5, 4.0, 6.0, 9.0])
_REACH = 10.0


def all_signs(n: int) -> NDArray[np.int8]:
    """All points of {-1, 1}^n, a (2^n, n) array; point p has w_i = +1 where bit n - 1 - i of p is set.

    Examples
    --------
    >>> all_signs(2).tolist()
    [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    """
    n = checks.integer("n", n, minimum=1, maximum=24)
    bits = np.arange(2**n)[:, None] >> np.arange(n - 1, -1, -1)
    return (2 * (bits & 1) - 1).astype(np.int8)


def mixture_probabilities(weights: ArrayLike, probabilities: ArrayLike) -> Array:
    """Law of a finite mixture of independent signs.

    Parameters
    ----------
    weights : (m,) array_like
        Of the components; they sum to one.
    probabilities : (m, n) array_like
        P(w_i = +1) in each component; n <= 16.

    Returns
    -------
    (2^n,) ndarray
        In the order of `all_signs`.

    Examples
    --------
    >>> mixture_probabilities([0.5, 0.5], [[1.0, 1.0], [0.0, 0.0]]).tolist()
    [0.5, 0.0, 0.0, 0.5]
    """
    weights = checks.real_array("weights", weights, dimensions=1)
    table = checks.real_array("probabilities", probabilities, dimensions=2)
    if np.any(weights < 0) or abs(weights.sum() - 1.0) > 1e-9:
        raise ValueError(f"weights must be non-negative with sum 1; found sum {weights.sum()}")
    if table.shape[0] != weights.size or np.any(table < 0) or np.any(table > 1):
        raise ValueError(
            f"probabilities must have shape ({weights.size}, n) and entries in [0, 1]; "
            f"found shape {table.shape}, entries in [{table.min(initial=1.0)}, {table.max(initial=0.0)}]"
        )
    checks.integer("the number of signs", table.shape[1], minimum=1, maximum=LARGEST_N)
    return _mix(weights, table, 1.0 - table)


def entropy(probabilities: ArrayLike) -> float:
    """Shannon entropy, in nats, of a vector of probabilities.

    Examples
    --------
    >>> entropy([0.5, 0.5]) == float(np.log(2))
    True
    """
    values = checks.real_array("probabilities", probabilities, dimensions=1)
    if np.any(values < 0):
        raise ValueError(f"probabilities must not be negative; found {values.min()}")
    return float(0.0 - xlogy(values, values).sum())


def probabilities(mean: Array, factor: Array, root_residual: Array) -> Array:
    """Law of sgn(mean + factor g + root_residual e), (2^n,), by quadrature over g; K <= 1, n <= 16.

    The factor noise is cut at 10 standard deviations; between the points where a sign turns, the integrand is
    smooth and each panel has a 20-point Gauss-Legendre rule: absolute errors about 1e-14.
    """
    n, rank = factor.shape
    if n > LARGEST_N:
        raise ValueError(f"enumeration takes at most {LARGEST_N} weights; found {n}")
    if rank > 1:
        raise ValueError(
            f"exact probabilities need a factor with at most 1 column; found {rank}. "
            "Use semi_implicit_entropy for a bound"
        )
    noise, weights = factor_rule(mean, factor, root_residual) if rank else (np.zeros((1, 0)), np.ones(1))
    arguments = conditional_arguments(mean, factor, root_residual, noise)
    return _mix(weights, ndtr(arguments), ndtr(-arguments))


def factor_rule(mean: Array, factor: Array, root_residual: Array) -> tuple[Array, Array]:
    """Nodes (m, 1) and weights (m,) for the factor noise g, panels ending where a sign turns; K = 1."""
    slope = factor[:, 0]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        turns = (-mean / slope)[:, None] + (root_residual / np.abs(slope))[:, None] * _STEPS
    edges = np.concatenate([turns[np.abs(turns) < _REACH], np.linspace(-_REACH, _REACH, 21)])
    edges = np.unique(edges)
    half = 0.5 * np.diff(edges)[:, None]
    noise = (edges[:-1, None] + half * (1.0 + _NODES)).ravel()
    weights = (half * _WEIGHTS).ravel() * np.exp(-0.5 * noise**2)
    return noise[:, None], weights / weights.sum()


def _mix(weights: Array, plus: Array, minus: Array) -> Array:
    components, n = plus.shape
    block = max(1, (1 << 21) >> n)
    total = np.zeros(2**n)
    for start in range(0, components, block):
        part = slice(start, start + block)
        table = weights[part, None]
        for i in range(n):
            pair = np.stack([minus[part, i], plus[part, i]], axis=1)
            table = (table[:, :, None] * pair[:, None, :]).reshape(table.shape[0], -1)
        total += table.sum(axis=0)
    return total
