"""A lower bound from multipliers on a device: the smallest eigenvalue of C - Diag(y), measured by weights.

For any y and any weights q > 0, C - Diag(y + l q) is PSD with l the smallest eigenvalue of D (C - Diag(y)) D,
D = Diag(q)^(-1/2), so 1^T (y + l q) is a lower bound.  With q = |y| the spectrum is hardly wider than [0, 2]
whatever the degrees are, and Lanczos needs fewer steps than with equal weights, for bounds as good.

The residual of a Ritz pair says that some eigenvalue is near, not that none is lower: on a graph of 10^5
vertices the recurrence may sit on a converged Ritz value for hundreds of steps before a lower one comes into
sight.  So the error is that of Kuczynski and Wozniakowski (1992, theorem 4.2): from a start drawn uniformly from
the sphere, k steps leave more than eps (lambda_max - lambda_min) with probability at most
1.648 sqrt(n) exp(-sqrt(eps) (2 k - 1)).
"""

from __future__ import annotations

import math

import numpy as np
import scipy.linalg as la
import torch
from torch import Tensor

from solvers.torch_backend.sparse.colouring import Layout
from solvers.torch_backend.sparse.lanczos import SparseKrylov, as_scipy

# Up to this order LAPACK's eigenvalues cost little and are accurate to rounding.
DENSE_ORDER = 500
# Steps before the host looks at the recurrence; later, after a quarter as many again.
CHECK_EVERY = 30
MAX_PRODUCTS = 100_000
# Without a threshold, and so after a limit.
SETTLED_PRODUCTS = 400
# With what probability the error may be larger than stated.
RISK = 0.01
# The largest Ritz value is short of the largest eigenvalue by less than this share soon.
SPREAD_MARGIN = 1.05
# Of the mean: a row that hardly meets others must not stretch the spectrum.
LEAST_WEIGHT = 0.1
# Times the dtype's rounding and the spectral radius: what the recurrence itself gets wrong.
ROUNDING = 4.0


class Slack:
    """C - Diag(y) and what is known of its smallest eigenvalue, relative to the weights.

    Parameters
    ----------
    layout : Layout
    dual : (n,) Tensor
        y.
    generator : torch.Generator
    fused : bool
        Whether to use the Triton kernel.

    Attributes
    ----------
    weights : (n,) Tensor
        q, which adds up to ``total``.
    value, error : float
        An upper bound on the eigenvalue, and how far above it may lie.
    products : int
    """

    def __init__(self, layout: Layout, dual: Tensor, generator: torch.Generator, *, fused: bool) -> None:
        self._layout = layout
        self._dual = dual
        self._generator = generator
        self._fused = fused
        self._krylov: SparseKrylov | None = None
        self._vector: Tensor | None = None
        self.weights = _weights(dual)
        self._scale = self.weights.rsqrt()
        self.total = float(self.weights.sum(dtype=torch.float64))
        self.value, self.error, self.products = math.inf, math.inf, 0

    def certified_dual(self) -> Tensor:
        """The y' = y + l q of the bound, l being the eigenvalue less its error, or zero where that is positive."""
        return self._dual + min(self.value - self.error, 0.0) * self.weights

    def resolve(self, threshold: float | None) -> None:
        """Find on which side of the threshold the eigenvalue lies, or spend a fixed number of products on it."""
        if self._layout.order <= DENSE_ORDER:
            self._resolve_dense()
            return
        krylov = self._krylov = SparseKrylov(
            self._layout, self._dual, self._scale, self._start(), fused=self._fused
        )
        limit = SETTLED_PRODUCTS if threshold is None else MAX_PRODUCTS
        while self.products < limit:
            krylov.extend(min(max(CHECK_EVERY, self.products // 4), limit - self.products))
            self.products = krylov.diagonal.size
            smallest, largest = _extremes(krylov)
            radius = max(abs(smallest), abs(largest))
            rounding = ROUNDING * torch.finfo(self._dual.dtype).eps * radius
            self.value = min(self.value, smallest)
            spread = SPREAD_MARGIN * (largest - self.value)
            self.error = spread * _unresolved(self._layout.order, self.products) + rounding
            if threshold is not None and (self.value < threshold or self.value - self.error >= threshold):
                return

    def vector(self) -> Tensor:
        """A direction of that curvature, of norm one; costs as many products again."""
        if self._vector is None:
            assert self._krylov is not None
            diagonal, offdiagonal = self._krylov.diagonal, self._krylov.offdiagonal[:-1]
            chosen = la.eigh_tridiagonal(diagonal, offdiagonal, select="i", select_range=(0, 0))[1]
            self._vector = self._scale * self._krylov.combination(np.ascontiguousarray(chosen[:, 0]))
        return self._vector / torch.linalg.vector_norm(self._vector)

    def _resolve_dense(self) -> None:
        slack = as_scipy(self._layout).toarray().astype(np.float64)
        slack[np.diag_indices_from(slack)] -= self._dual.double().cpu().numpy()
        scale = self._scale.double().cpu().numpy()
        slack *= scale[:, None] * scale
        values, vectors = la.eigh(slack, subset_by_index=[0, 0])
        self.value = float(values[0])
        self.error = float(np.finfo(np.float64).eps * np.linalg.norm(slack))
        self._vector = torch.from_numpy(scale * vectors[:, 0]).to(self._dual)

    def _start(self) -> Tensor:
        start = torch.empty_like(self._dual).normal_(generator=self._generator)
        return start / torch.linalg.vector_norm(start)


def _weights(dual: Tensor) -> Tensor:
    """|y|, but not much less than its mean anywhere."""
    size = dual.abs()
    least = LEAST_WEIGHT * size.mean(dtype=torch.float64).to(size.dtype)
    return size.clamp_min_(least) if bool(least > 0) else torch.ones_like(dual)


def _extremes(krylov: SparseKrylov) -> tuple[float, float]:
    """The smallest and the largest Ritz value."""
    diagonal, offdiagonal = krylov.diagonal, krylov.offdiagonal[:-1]
    ends = [
        la.eigh_tridiagonal(diagonal, offdiagonal, True, select="i", select_range=(place, place))[0]
        for place in (0, diagonal.size - 1)
    ]
    return float(ends[0]), float(ends[1])


def _unresolved(order: int, steps: int) -> float:
    """The share of the spectrum's width that so many steps leave open, but for the risk."""
    return min((math.log(1.648 * math.sqrt(order) / RISK) / (2 * steps - 1)) ** 2, 1.0)
