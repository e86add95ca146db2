"""The law of binary weights that are signs of a low-rank Gaussian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers import checks
from solvers.problems.solution import Solution
from vispa.gaussian import enumeration, orthant
from vispa.gaussian.entropy import Estimate, conditional_entropy, sample_log_marginal
from vispa.gaussian.rows import orthogonal_complement, row_norms

Array = NDArray[np.float64]
Seed = int | np.random.Generator | np.random.SeedSequence | None

# Doubles in the largest working array of sampling and of the pairwise moments.
_WORKING_SET = 1 << 20


@dataclass(frozen=True, eq=False)
class SignGaussian:
    r"""Law of w = sgn(mean + factor g + sqrt(residual) e) with g and e standard normal; sgn(0) = +1.

    Parameters
    ----------
    mean : (n,) array_like
        Latent mean mu.
    factor : (n, K) array_like, optional
        Rows z_i; K = 0, no correlation, by default.
    residual : (n,) array_like, optional
        d >= 0, the variance of each weight's own noise; zero by default.

    Raises
    ------
    TypeError
        If entries are not real numbers.
    ValueError
        If there are no weights, shapes disagree, entries are not finite or a residual is negative.

    Notes
    -----
    The law does not change when a row (mu_i, z_i, sqrt(d_i)) is multiplied by a positive number; `projected`
    picks the unit row.  The arrays are copies and read-only.

    Examples
    --------
    >>> posterior = SignGaussian([0.5, 0.0], [[0.5], [1.0]], [0.5, 0.0])
    >>> posterior.sample(1000, rng=0).shape
    (1000, 2)
    >>> bool(abs(posterior.second_moments()[0, 1] - posterior.covariance()[0, 1]) < 1e-15)
    True
    """

    mean: Array
    factor: Array
    residual: Array

    def __init__(
        self, mean: ArrayLike, factor: ArrayLike | None = None, residual: ArrayLike | None = None
    ) -> None:
        mean = checks.real_array("mean", mean, dimensions=1)
        n = mean.shape[0]
        if n == 0:
            raise ValueError("mean must hold at least one weight; found shape (0,)")
        factor = np.zeros((n, 0)) if factor is None else checks.real_array("factor", factor, dimensions=2)
        if factor.shape[0] != n:
            raise ValueError(f"factor must have one row a weight, {n} in all; found shape {factor.shape}")
        residual = np.zeros(n) if residual is None else checks.vector("residual", residual, length=n)
        if np.any(residual < 0):
            raise ValueError(f"residual must not be negative; found {residual.min()}")
        for name, values in (("mean", mean), ("factor", factor), ("residual", residual)):
            values.flags.writeable = False
            object.__setattr__(self, name, values)

    def __reduce__(self) -> tuple[Any, ...]:
        """By the constructor, so that a copy's arrays are read-only too."""
        return type(self), (self.mean, self.factor, self.residual)

    def __repr__(self) -> str:
        return f"<SignGaussian of {self.n} weights, rank {self.rank}>"

    @classmethod
    def factorised(cls, mean: ArrayLike) -> SignGaussian:
        """Independent weights with latent mean in [-1, 1] and residual 1 - mean^2.

        Examples
        --------
        >>> SignGaussian.factorised([0.6]).residual
        array([0.64])
        """
        mean = checks.real_array("mean", mean, dimensions=1)
        if np.any(np.abs(mean) > 1):
            raise ValueError(f"mean must lie in [-1, 1]; found an entry of size {np.abs(mean).max()}")
        return cls(mean, None, (1.0 - mean) * (1.0 + mean))

    @classmethod
    def from_solution(cls, solution: Solution) -> SignGaussian:
        """Read the Gaussian off a point of the elliptope; the residual is zero.

        Where the problem was homogenised, v_0 is rotated to e_1 and the first column becomes the mean, so
        that `elliptope` gives back Y; otherwise the mean is zero and the factor is V.
        """
        if not isinstance(solution, Solution):
            raise TypeError(f"solution must be a Solution; found {type(solution).__name__}")
        V = np.asarray(solution.factor, dtype=np.float64)
        if not solution.problem.relaxation().homogenised:
            return cls(np.zeros(V.shape[0]), V)
        return cls(V[1:] @ V[0] / (V[0] @ V[0]) ** 0.5, V[1:] @ orthogonal_complement(V[0]))

    @property
    def n(self) -> int:
        """Number of weights."""
        return int(self.mean.shape[0])

    @property
    def rank(self) -> int:
        """K, the number of columns of the factor."""
        return int(self.factor.shape[1])

    def latent_covariance(self) -> Array:
        """Sigma = Z Z^T + Diag(d), an (n, n) array."""
        return np.asarray(self.factor @ self.factor.T + np.diag(self.residual))

    def projected(self) -> SignGaussian:
        """Return the same law with unit second moments mu_i^2 + |z_i|^2 + d_i = 1.

        Raises
        ------
        ValueError
            If a row is zero: it has no nearest unit row.

        Examples
        --------
        >>> SignGaussian([3.0], [[4.0]]).projected().mean
        array([0.6])
        """
        rows = np.column_stack([self.mean, self.factor, np.sqrt(self.residual)])
        norms = row_norms(rows)
        if not norms.all():
            zero = np.flatnonzero(norms == 0)
            raise ValueError(
                "a row (mean, factor, residual) of zeros has no projection; "
                f"found {zero.size}, the first at index {zero[0]}"
            )
        # A norm can be subnormal, and its reciprocal infinite: bring the rows near one first.
        rows = rows / np.abs(rows).max(axis=1, keepdims=True)
        rows = rows / row_norms(rows)[:, None]
        return SignGaussian(rows[:, 0], rows[:, 1:-1], rows[:, -1] ** 2)

    def sample(self, count: int, *, rng: Seed = None) -> NDArray[np.int8]:
        """Draw signs, a (count, n) array of int8; O(count n K)."""
        count = checks.integer("count", count, minimum=0)
        generator = checks.generator("rng", rng)
        signs = np.empty((count, self.n), dtype=np.int8)
        root = np.sqrt(self.residual)
        block = max(1, _WORKING_SET // self.n)
        for start in range(0, count, block):
            size = min(block, count - start)
            latent = self.mean + generator.standard_normal((size, self.rank)) @ self.factor.T
            latent += root * generator.standard_normal((size, self.n))
            signs[start : start + size] = np.where(latent >= 0, 1, -1)
        return signs

    def signs(self) -> NDArray[np.int8]:
        """sgn(mean), the most probable value of each sign; (n,) int8."""
        return np.where(self.mean >= 0, 1, -1).astype(np.int8)

    def ratios(self) -> Array:
        """mu_i / sigma_i, infinite where sigma_i = 0; +inf for a zero row, whose sign is sgn(0) = +1."""
        deviation = self._deviation()
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.where(deviation > 0, self.mean / deviation, np.where(self.mean >= 0, np.inf, -np.inf))

    def mean_signs(self) -> Array:
        """E[w] = 2 Phi(mu / sigma) - 1, (n,)."""
        return orthant.sign_mean(self.ratios())

    def covariance(self) -> Array:
        """Cov(w), (n, n), each entry accurate relative to itself (`vispa.gaussian.orthant`); O(n^2 (K + 250)).

        Examples
        --------
        >>> SignGaussian([0.0, 0.0], [[1.0], [1.0]]).covariance()
        array([[1., 1.],
               [1., 1.]])
        """
        ratios = self.ratios()
        deviation = np.where(self._deviation() > 0, self._deviation(), 1.0)[:, None]
        rows = np.column_stack([self.factor / deviation, np.sqrt(self.residual)[:, None] / deviation])
        norms = row_norms(rows)
        rows /= np.where(norms > 0, norms, 1.0)[:, None]
        directions, noise = rows[:, :-1], rows[:, -1] ** 2
        covariance = np.diag(orthant.sign_variance(ratios))
        block = max(1, _WORKING_SET // (self.n * (self.rank + 1)))
        for start in range(0, self.n, block):
            i = np.arange(start, min(self.n, start + block))
            atanh = orthant.pairwise_atanh_correlation(directions, noise, slice(i[0], i[-1] + 1))
            row, column = np.nonzero(i[:, None] < np.arange(self.n))
            values = orthant.sign_covariance(ratios[i[row]], ratios[column], atanh[row, column])
            covariance[i[row], column] = covariance[column, i[row]] = values
        return covariance

    def second_moments(self) -> Array:
        """E[w w^T], (n, n), with unit diagonal."""
        mean = self.mean_signs()
        moments = self.covariance() + np.outer(mean, mean)
        np.fill_diagonal(moments, 1.0)
        return moments

    def elliptope(self) -> Array:
        """Y = [[1, mu^T], [mu, Sigma + mu mu^T]] of the projected law, (n + 1, n + 1)."""
        factor = self.to_factor()
        gram = factor @ factor.T
        np.fill_diagonal(gram, 1.0)
        return np.asarray(gram)

    def to_factor(self, *, homogenised: bool = True, width: int | None = None, rng: Seed = None) -> Array:
        """Return unit rows V with V V^T = `elliptope`, a start for `solvers.low_rank`.

        Parameters
        ----------
        homogenised : bool, optional
            Whether row 0, e_1, stands for the constant 1 of a linear term.  Without it only the n rows of the
            weights are returned, which suits a problem without a linear term.
        width : int, optional
            The number of columns wanted, at least 1.  Where the residuals would need more, they share what the
            mean and the factor leave (one column at least), each in a random direction of its own: Y is then met
            on the diagonal exactly, elsewhere on average.
        rng : numpy Generator or seed, optional
            For these directions.

        Returns
        -------
        (n + 1, k) or (n, k) ndarray
            k = 1 + K, and for the residuals one column more for each that is positive, or what `width` leaves.

        Examples
        --------
        >>> independent = SignGaussian.factorised(np.zeros(100))
        >>> independent.to_factor().shape, independent.to_factor(width=8, rng=0).shape
        ((101, 101), (101, 8))
        """
        checks.boolean("homogenised", homogenised)
        unit = self.projected()
        noisy = np.flatnonzero(unit.residual > 0)
        own = np.zeros((self.n, noisy.size))
        if width is not None:
            left = max(checks.integer("width", width, minimum=1) - 1 - self.rank, 1)
            own = own[:, :left]
        if own.shape[1] < noisy.size:
            directions = checks.generator("rng", rng).standard_normal((noisy.size, own.shape[1]))
            directions /= row_norms(directions)[:, None]
        else:
            directions = np.eye(noisy.size)
        own[noisy] = np.sqrt(unit.residual[noisy])[:, None] * directions
        rows = np.column_stack([unit.mean, unit.factor, own])
        if not homogenised:
            return rows
        return np.vstack([np.eye(1, rows.shape[1]), rows])

    def conditional_entropy(self) -> Estimate:
        """H(w | g) in nats, exact for every K (so its standard error is zero); O(n (K + 250))."""
        spread = row_norms(self.factor)
        return Estimate(conditional_entropy(self.mean, spread, np.sqrt(self.residual)), 0.0)

    def semi_implicit_entropy(
        self, *, mixtures: int = 100, samples: int = 1000, rng: Seed = None
    ) -> Estimate:
        """Estimate H_M, a lower bound on H(w) that tightens as M = ``mixtures`` grows.

        Weights without residual noise are allowed: given g each is a step, so q(w | g_j) can be zero.
        O(samples mixtures n (K + 1)).
        """
        mixtures = checks.integer("mixtures", mixtures, minimum=0)
        samples = checks.integer("samples", samples, minimum=2)
        _, log_marginal = sample_log_marginal(
            self.mean, self.factor, np.sqrt(self.residual),
            mixtures=mixtures, samples=samples, rng=checks.generator("rng", rng),
        )  # fmt: skip
        return Estimate.of_mean(-log_marginal)

    def probabilities(self) -> Array:
        """Exact probabilities of all 2^n points, in the order of `enumeration.all_signs`; K <= 1, n <= 16."""
        return enumeration.probabilities(self.mean, self.factor, np.sqrt(self.residual))

    def entropy(self) -> float:
        """H(w) in nats, by enumeration; K <= 1 and n <= 16."""
        return enumeration.entropy(self.probabilities())

    def _deviation(self) -> Array:
        """sigma_i, without overflow or underflow of squares."""
        return row_norms(np.column_stack([self.factor, np.sqrt(self.residual)]))
