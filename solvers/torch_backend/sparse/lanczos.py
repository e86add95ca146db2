"""The Lanczos recurrence on a device: three vectors and no basis; the host sees alpha and beta every few steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from solvers.torch_backend.sparse.colouring import HEAVY, Layout
from solvers.torch_backend.sparse.over_relaxation import blocks, gradient_heavy, gradient_rows

# Rows a program of the Triton kernel takes.
BLOCK = 256


class SparseKrylov:
    """The recurrence of D (C - Diag(y)) D with a diagonal D, from one start; all sums are in float64.

    Parameters
    ----------
    layout : Layout
    dual, scale : (n,) Tensor
        y and the diagonal of D.
    start : (n,) Tensor
        Unit vector.
    fused : bool
        Whether to use the Triton kernel.

    Attributes
    ----------
    diagonal, offdiagonal : (steps,) ndarray
        Alpha and beta of all steps so far.

    Notes
    -----
    A step moves about nnz (2 s + 4) + 16 n s bytes, and waits for nothing.
    """

    def __init__(self, layout: Layout, dual: Tensor, scale: Tensor, start: Tensor, *, fused: bool) -> None:
        self._layout = layout
        self._dual = dual
        self._scale = scale
        self._start = start
        self._fused = fused
        # on the processor SciPy's product is faster than torch's for one column
        self._matrix = None if start.is_cuda or fused else as_scipy(layout)
        self._rewind()

    def _rewind(self) -> None:
        self._before = torch.zeros_like(self._start)
        self._now = self._start.clone()
        self._beta = self._start.new_zeros(1)
        self.diagonal: NDArray[np.float64] = np.empty(0)
        self.offdiagonal: NDArray[np.float64] = np.empty(0)

    def extend(self, count: int, coefficients: NDArray[np.float64] | None = None) -> Tensor | None:
        """Run ``count`` steps; return the sum of their basis vectors, weighted, where weights are given."""
        alphas = torch.empty(count, dtype=torch.float64, device=self._start.device)
        betas = torch.empty_like(alphas)
        tiny = torch.finfo(self._start.dtype).tiny
        total = None if coefficients is None else torch.zeros_like(self._start)
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
        return total

    def combination(self, coefficients: NDArray[np.float64]) -> Tensor:
        """Run the recurrence again, bit for bit, and sum its vectors with the given coefficients."""
        self._rewind()
        total = self.extend(coefficients.size, coefficients)
        assert total is not None
        return total

    def _product(self) -> Tensor:
        """D (C - Diag(y)) D now - beta before."""
        scaled = self._scale * self._now
        if self._fused:
            image = self._fused_product(scaled)
        else:
            image = self._cost_product(scaled).addcmul_(self._dual, scaled, value=-1.0).mul_(self._scale)
            image.addcmul_(self._before, self._beta, value=-1.0)
        if self._matrix is None:
            for rows in self._layout.classes:
                if rows.heavy is not None:
                    here = slice(rows.light, rows.last)
                    image[here] += self._scale[here] * gradient_heavy(rows.heavy, scaled[:, None])[:, 0]
        return image

    def _cost_product(self, scaled: Tensor) -> Tensor:
        """C scaled, but for heavy rows where there is no SciPy matrix."""
        if self._matrix is not None:
            return torch.from_numpy(self._matrix @ scaled.numpy())
        image = torch.zeros_like(scaled)
        for rows in self._layout.classes:
            for first, last in blocks(rows, 1):
                image[first:last] = gradient_rows(self._layout, scaled[:, None], first, last)[:, 0]
        return image

    def _fused_product(self, scaled: Tensor) -> Tensor:
        from solvers.torch_backend.sparse.triton_kernels import slack_product

        layout = self._layout
        image = torch.empty_like(scaled)
        slack_product[(-(-layout.order // BLOCK),)](
            layout.pointers,
            layout.indices,
            layout.values,
            self._dual,
            self._scale,
            scaled,
            self._before,
            self._beta,
            image,
            layout.order,
            HEAVY,
            HEIGHT=BLOCK,
        )
        return image


def as_scipy(layout: Layout) -> Any:
    """The cost in the layout's order as a SciPy array, without a copy on the processor."""
    arrays = tuple(array.cpu().numpy() for array in (layout.values, layout.indices, layout.pointers))
    return sp.csr_array(arrays, shape=(layout.order, layout.order))


def exact_dot(left: Tensor, right: Tensor) -> Tensor:
    """Inner product summed in float64, a scalar on the device."""
    return (left * right).sum(dtype=torch.float64)
