"""The gradient of E[L(w)] itself, for few weights: what every estimator is an estimate of."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from solvers import checks
from vispa.gaussian import enumeration
from vispa.gaussian.entropy import conditional_arguments
from vispa.gaussian.sign_gaussian import SignGaussian

Array = NDArray[np.float64]

# Doubles in the largest working array.
_WORKING_SET = 1 << 22
# Two factors: a product of trapezoidal rules, which need the probabilities to be analytic and not too steep.
_REACH, _STEP, _LEAST_NOISE = 8.5, 0.125, 0.25


class ExactGradient(NamedTuple):
    """Derivatives of E[L(w)].

    Attributes
    ----------
    mean : (n,) ndarray
        With respect to the latent means.
    factor : (n, K) ndarray
        With respect to the rows z_i.
    root_residual : (n,) ndarray
        With respect to s_i = sqrt(d_i); zero where d_i = 0.
    """

    mean: Array
    factor: Array
    root_residual: Array

    def rows(self) -> Array:
        """Columns (mean, z, s) side by side, (n, K + 2), as the estimators lay them out."""
        return np.column_stack([self.mean, self.factor, self.root_residual])


def exact_gradient(losses: ArrayLike, posterior: SignGaussian) -> ExactGradient:
    r"""Differentiate E[L(w)] exactly, by enumerating the cube given x_i = 0 for each i.

    With sigma_i^2 = |z_i|^2 + d_i, D_i(w) = (L(w_i = +1) - L(w_i = -1)) / 2 and (g, e_i) the noise of x_i,

    .. math:: \nabla_{(\mu_i, z_i, s_i)} E[L] = \tfrac{2 \phi(\mu_i / \sigma_i)}{\sigma_i}
        E[D_i(w) \, (1, g, e_i) \mid x_i = 0].

    The condition leaves a normal law of dimension K, or K - 1 where d_i = 0, over which the independent signs
    of the others are averaged by quadrature.

    Parameters
    ----------
    losses : (2^n,) array_like
        L at all points, in the order of `enumeration.all_signs`.
    posterior : SignGaussian
        n <= 16 weights with K <= 1, or K = 2 with all residuals zero or none small: d_i >= sigma_i^2 / 16.

    Returns
    -------
    ExactGradient
        With absolute error about 1e-11 times the range of the losses.

    Raises
    ------
    ValueError
        If the losses do not fit, or the law has more factors than can be integrated.

    Notes
    -----
    O(2^n n) for K = 0, times about 20 n nodes for each further dimension that is left.

    Examples
    --------
    >>> posterior = SignGaussian([0.3, -0.2], [[0.6], [0.8]], [0.5, 0.5])
    >>> parity = enumeration.all_signs(2).prod(axis=1)  # L(w) = w_1 w_2
    >>> exact_gradient(parity, posterior).mean.round(6).tolist()
    [-0.249875, 0.267485]
    """
    values = checks.real_array("losses", losses, dimensions=1)
    n = posterior.n
    if n > enumeration.LARGEST_N:
        raise ValueError(f"posterior must have at most {enumeration.LARGEST_N} weights; found {n}")
    if values.size != 2**n:
        raise ValueError(f"losses must have one entry a point, {2**n} in all; found {values.size}")
    _check_integrable(posterior)
    cube = values.reshape((2,) * n)
    gradients = [_row_gradient(cube, posterior, i) for i in range(n)]
    columns = np.array(gradients)
    return ExactGradient(columns[:, 0], columns[:, 1:-1], columns[:, -1])


def _check_integrable(posterior: SignGaussian) -> None:
    if posterior.rank <= 1:
        return
    variance = (posterior.factor**2).sum(axis=1) + posterior.residual
    smooth = bool((posterior.residual >= _LEAST_NOISE**2 * variance).all())
    if posterior.rank > 2 or not (smooth or not posterior.residual.any()):
        raise ValueError(
            "posterior must have at most 1 factor, or 2 with residuals that are all zero or all at least "
            f"sigma^2 / 16; found {posterior.rank} factors and residuals from {posterior.residual.min():.3g} "
            f"to {posterior.residual.max():.3g}"
        )


def _row_gradient(cube: Array, posterior: SignGaussian, i: int) -> Array:
    """Derivatives with respect to (mean_i, z_i, s_i)."""
    others = np.arange(posterior.n) != i
    row, root = posterior.factor[i], np.sqrt(posterior.residual)
    variance = float(row @ row + posterior.residual[i])
    if variance == 0:
        return np.zeros(posterior.rank + 2)
    centre, spread = _conditioned_noise(row, float(posterior.residual[i]), float(posterior.mean[i]))
    mean = (posterior.mean + posterior.factor @ centre)[others]
    nodes, weights = _rule(mean, posterior.factor[others] @ spread, root[others])
    noise = centre + nodes @ spread.T
    own = -(posterior.mean[i] + noise @ row) / root[i] if root[i] > 0 else np.zeros(len(noise))
    directions = np.column_stack([np.ones(len(noise)), noise, own])
    arguments = conditional_arguments(posterior.mean[others], posterior.factor[others], root[others], noise)
    upper, lower = np.take(cube, 1, axis=i).ravel(), np.take(cube, 0, axis=i).ravel()
    differences = _expectations(0.5 * (upper - lower), arguments)
    ratio = posterior.mean[i] / np.sqrt(variance)
    kernel = 2.0 * np.exp(-0.5 * ratio**2) / np.sqrt(2.0 * np.pi * variance)
    return np.asarray(kernel * ((weights * differences) @ directions))


def _conditioned_noise(row: Array, residual: float, mean: float) -> tuple[Array, Array]:
    """Centre c and spread R, (K, dimensions): given mean + row . g + sqrt(residual) e = 0, g = c + R t."""
    variance = float(row @ row) + residual
    basis, lengths, _ = np.linalg.svd(np.eye(row.size) - np.outer(row, row) / variance, hermitian=True)
    kept = lengths > 1e-12
    if residual > 0:
        kept[:] = True
        # The smallest eigenvalue is residual / variance, here without cancellation.
        lengths[-1:] = residual / variance
    return -row * mean / variance, basis[:, kept] * np.sqrt(lengths[kept])


def _rule(mean: Array, factor: Array, root_residual: Array) -> tuple[Array, Array]:
    """Nodes (m, dimensions) and weights (m,) for t standard normal."""
    dimensions = factor.shape[1]
    if dimensions == 0:
        return np.zeros((1, 0)), np.ones(1)
    if dimensions == 1:
        return enumeration.factor_rule(mean, factor, root_residual)
    axis = np.arange(-_REACH, _REACH + 0.5 * _STEP, _STEP)
    density = np.exp(-0.5 * axis**2)
    density /= density.sum()
    nodes = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    weights = np.outer(density, density).ravel()
    kept = weights > 1e-18
    return nodes[kept], weights[kept]


def _expectations(values: Array, arguments: Array) -> Array:
    """E[values(w)] for independent signs with P(w_j = 1) = Phi(u_j), for each row u of ``arguments``.

    The values are contracted one coordinate at a time, which needs no table of all probabilities.
    """
    plus, minus = ndtr(arguments), ndtr(-arguments)
    count, n = arguments.shape
    result = np.empty(count)
    block = max(1, _WORKING_SET // max(values.size, 1))
    for start in range(0, count, block):
        part = slice(start, start + block)
        table = np.broadcast_to(values, (plus[part].shape[0], values.size))
        for j in range(n):
            table = table.reshape(table.shape[0], 2, -1)
            table = minus[part, j, None] * table[:, 0] + plus[part, j, None] * table[:, 1]
        result[part] = table[:, 0]
    return result
