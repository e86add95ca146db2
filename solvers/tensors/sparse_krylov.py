"""The Lanczos recurrence on a device: three vectors and no basis; the host sees alpha and beta every few steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from solvers.lanczos import Krylov
from solvers.tensors.sparse_layout import HEAVY, Layout
from solvers.tensors.sparse_sweep import blocks, pull_heavy, pull_rows

# Rows a program of the Triton kernel takes.
BLOCK = 256


class SparseKrylov(Krylov):
    """`solvers.lanczos.Krylov` for a layout and multipliers on a device; sums are in float64.

    Parameters
    ----------
    layout : Layout
    dual : (n,) Tensor
        y.
    start : (n,) Tensor
        Unit vector.
    fused : bool
        Whether to use the Triton kernel.

    Notes
    -----
    A step moves about nnz (2 s + 4) + 10 n s bytes, and waits for nothing.
    """

    def __init__(self, layout: Layout, dual: Tensor, start: Tensor, *, fused: bool) -> None:
        self._layout = layout
        self._multipliers = dual
        self._first = start
        self._fused = fused
        self._start = np.broadcast_to(0.0, (layout.order,))
        self._matrix = None if start.is_cuda or fused else as_scipy(layout)
        self._rewind()

    def _rewind(self) -> None:
        self._before = torch.zeros_like(self._first)
        self._now = self._first.clone()
        self._beta = self._first.new_zeros(1)
        self.diagonal = np.empty(0)
        self.offdiagonal = np.empty(0)

    def extend(self, count: int, coefficients: NDArray[np.float64] | None = None, total: Any = None) -> None:
        """Run ``count`` steps; add the basis vectors, weighted, to the tensor ``total`` where asked."""
        alphas = torch.empty(count, dtype=torch.float64, device=self._first.device)
        betas = torch.empty_like(alphas)
        tiny = torch.finfo(self._first.dtype).tiny
        for step in range(count):
            if coefficients is not None and total is not None:
                total.add_(self._now, alpha=float(coefficients[step]))
            image = self._product()
            alphas[step] = exact_dot(image, self._now)
            image.addcmul_(self._now, alphas[step].to(image.dtype), value=-1.0)
            betas[step] = exact_dot(image, image).sqrt_()
            self._beta = betas[step : step + 1].to(image.dtype)
            self._before, self._now = self._now, image.div_(self._beta.clamp_min(tiny))
        self.diagonal = np.concatenate([self.diagonal, alphas.cpu().numpy()])
        self.offdiagonal = np.concatenate([self.offdiagonal, betas.cpu().numpy()])

    def ritz_tensor(self, coefficients: NDArray[np.float64]) -> Tensor:
        """Run the recurrence again, bit for bit, and sum its vectors with the given coefficients."""
        self._rewind()
        total = torch.zeros_like(self._first)
        self.extend(coefficients.size, coefficients, total)
        return total / torch.linalg.vector_norm(total)

    def _product(self) -> Tensor:
        """(C - Diag(y)) now - beta before."""
        if self._matrix is not None:
            image = torch.from_numpy(self._matrix @ self._now.numpy())
            image.addcmul_(self._multipliers, self._now, value=-1.0)
            return image.addcmul_(self._before, self._beta, value=-1.0)
        image = self._fused_product() if self._fused else self._gathered_product()
        for rows in self._layout.classes:
            if rows.heavy is not None:
                image[rows.light : rows.last] += pull_heavy(rows.heavy, self._now[:, None])[:, 0]
        return image

    def _gathered_product(self) -> Tensor:
        image = -self._multipliers * self._now - self._beta * self._before
        for rows in self._layout.classes:
            for first, last in blocks(rows, 1):
                image[first:last] += pull_rows(self._layout, self._now[:, None], first, last)[:, 0]
        return image

    def _fused_product(self) -> Tensor:
        from solvers.kernels.sparse_triton import slack_product

        layout = self._layout
        image = torch.empty_like(self._now)
        slack_product[(-(-layout.order // BLOCK),)](
            layout.pointers,
            layout.indices,
            layout.values,
            self._multipliers,
            self._now,
            self._before,
            self._beta,
            image,
            layout.order,
            HEAVY,
            HEIGHT=BLOCK,
        )
        return image


def as_scipy(layout: Layout) -> Any:
    """The same arrays, for SciPy's product: on the processor, torch's for one column is slower."""
    arrays = tuple(a.cpu().numpy() for a in (layout.values, layout.indices, layout.pointers))
    return sp.csr_array(arrays, shape=(layout.order, layout.order))


def exact_dot(left: Tensor, right: Tensor) -> Tensor:
    """Inner product summed in float64, a scalar on the device."""
    return (left * right).sum(dtype=torch.float64)
