"""The smallest eigenvalue of C - Diag(y) on a device, as far as a question about it needs."""

from __future__ import annotations

import numpy as np
import scipy.linalg as la
import torch
from torch import Tensor

from solvers.certificate import DENSE_ORDER
from solvers.lanczos import smallest_eigenpair
from solvers.tensors.sparse_krylov import SparseKrylov, as_scipy
from solvers.tensors.sparse_layout import Layout

# Times the dtype's rounding and the spectral radius: what the recurrence itself gets wrong.
ROUNDING = 4.0
# Without a threshold, Lanczos stops at this error, relative to the spectral radius, or after so many products.
SETTLED = 1e-5
SETTLED_PRODUCTS = 500


class Slack:
    """C - Diag(y) and what is known of its smallest eigenvalue.

    Parameters
    ----------
    layout : Layout
    dual : (n,) Tensor
        y.
    guess : (n,) Tensor
        A vector for the recurrence to lean to.
    known : float
        An upper bound on the eigenvalue.
    generator : torch.Generator
    fused : bool
        Whether to use the Triton kernel.

    Attributes
    ----------
    value, error : float
        The least Ritz value so far, and what may be missing from it.
    products : int
    """

    def __init__(
        self,
        layout: Layout,
        dual: Tensor,
        guess: Tensor,
        known: float,
        generator: torch.Generator,
        *,
        fused: bool,
    ) -> None:
        self._layout = layout
        self._dual = dual
        self._guess = guess
        self._generator = generator
        self._fused = fused
        self._krylov: SparseKrylov | None = None
        self._coefficients = np.empty(0)
        self._vector: Tensor | None = None
        self.value, self.error, self.products = known, np.inf, 0

    def resolve(self, threshold: float | None) -> None:
        """Find the eigenvalue, or on which side of the threshold it lies; its vector alone is left for later."""
        if self._layout.order <= DENSE_ORDER:
            self._resolve_dense()
            return
        self._krylov = SparseKrylov(self._layout, self._dual, self._start(), fused=self._fused)
        if threshold is None:
            pair = smallest_eigenpair(self._krylov, tolerance=SETTLED, max_products=SETTLED_PRODUCTS)
        else:
            pair = smallest_eigenpair(self._krylov, threshold=threshold, known=self.value)
        radius = float(np.abs(self._krylov.diagonal).max() + 2.0 * self._krylov.offdiagonal.max())
        rounding = ROUNDING * torch.finfo(self._dual.dtype).eps * radius
        self.value, self.error = min(pair.value, self.value), pair.error + rounding
        self.products, self._coefficients = pair.products, pair.coefficients

    def vector(self) -> Tensor:
        """The Ritz vector, of norm one; costs as many products again."""
        if self._vector is None:
            assert self._krylov is not None
            self._vector = self._krylov.ritz_tensor(self._coefficients)
        return self._vector

    def _resolve_dense(self) -> None:
        slack = as_scipy(self._layout).toarray().astype(np.float64)
        slack[np.diag_indices_from(slack)] -= self._dual.double().cpu().numpy()
        values, vectors = la.eigh(slack, subset_by_index=[0, 0])
        self.value = float(values[0])
        self.error = float(np.finfo(np.float64).eps * np.linalg.norm(slack))
        self._vector = torch.from_numpy(vectors[:, 0]).to(self._dual)

    def _start(self) -> Tensor:
        start = torch.empty_like(self._dual).normal_(generator=self._generator)
        guess = self._guess / torch.linalg.vector_norm(self._guess)
        start = guess + 0.5 * start / torch.linalg.vector_norm(start)
        return start / torch.linalg.vector_norm(start)
