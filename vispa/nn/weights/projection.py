"""The projection of rows to the unit sphere, block by block, so that a block is read from memory once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from vispa.nn.weights.autograd import working_dtype
from vispa.nn.weights.memory import is_plain

__all__ = ["project_rows", "row_squares"]

# Of the squares of one block and one thread: what a core's second-level cache holds.
BLOCK_BYTES = 1 << 19
# Of a factor that is worth loading a compiled kernel for.
COMPILED_BYTES = 1 << 20


def row_squares(rows: Tensor, factor: Tensor, residual: Tensor | None, scale: float) -> Tensor:
    """Return ``rows_i^2 + (|factor_i|^2 + residual_i^2) / scale``, of shape (out_channels, fan_in)."""
    dtype = working_dtype(rows.dtype)
    squares = rows.to(dtype).square().reshape(factor.shape[0], factor.shape[2])
    # One fused pass a column: a norm over the middle axis is two orders of magnitude slower.
    for k in range(factor.shape[1]):
        column = factor.select(1, k).to(dtype)
        squares.addcmul_(column, column, value=1.0 / scale)
    if residual is not None:
        column = residual.to(dtype).reshape(squares.shape)
        squares.addcmul_(column, column, value=1.0 / scale)
    return squares


def project_rows(rows: Tensor, factor: Tensor, residual: Tensor | None, scale: float) -> None:
    """Divide ``(rows_i, factor_i, residual_i)``, in place, by the root of `row_squares`; zeros stay zeros.

    Parameters
    ----------
    rows : Tensor of shape (out_channels, ...)
    factor : Tensor of shape (out_channels, K, fan_in)
    residual : Tensor of the shape of ``rows``, or None
    scale : float
    """
    if _is_for_one_thread(rows, factor) and residual is None and _kernel() is not None:
        _project_compiled(rows, factor, scale)
        return
    size = _block_size(factor)
    if size >= factor.shape[0]:
        _project_block(rows, factor, residual, scale)
        return
    for start in range(0, factor.shape[0], size):
        block = slice(start, start + size)
        part = None if residual is None else residual[block]
        _project_block(rows[block], factor[block], part, scale)


def _project_block(rows: Tensor, factor: Tensor, residual: Tensor | None, scale: float) -> None:
    squares = row_squares(rows, factor, residual, scale)
    inverse = squares.clamp_min_(torch.finfo(squares.dtype).tiny).rsqrt_()
    factor.mul_(inverse.unsqueeze(1))
    inverse = inverse.view(rows.shape)
    rows.mul_(inverse)
    if residual is not None:
        residual.mul_(inverse)


def _is_for_one_thread(rows: Tensor, factor: Tensor) -> bool:
    """Whether the compiled kernel takes the tensors; on several threads torch's operations share the work."""
    return (
        torch.get_num_threads() == 1
        and factor.numel() * factor.element_size() >= COMPILED_BYTES
        and is_plain(factor)
        and factor.dtype == rows.dtype
        and factor.dtype in (torch.float32, torch.float64)
        and rows.is_contiguous()
        and factor.is_contiguous()
    )


@functools.cache
def _kernel() -> Callable[..., None] | None:
    """Return the kernel that reads and writes every entry once, or None where numba is missing."""
    try:
        from vispa.nn.weights.kernels import divide_by_norms
    except ImportError:
        return None
    kernel: Callable[..., None] = divide_by_norms
    return kernel


def _project_compiled(rows: Tensor, factor: Tensor, scale: float) -> None:
    kernel = _kernel()
    assert kernel is not None
    matrix: Any = rows.detach().view(factor.shape[0], factor.shape[2]).numpy()
    kind = matrix.dtype.type
    kernel(matrix, factor.detach().numpy(), kind(1.0 / scale), np.finfo(matrix.dtype).tiny)
    # Written behind autograd's back, which counts versions of what it saved.
    increment_version((rows, factor))


def _block_size(factor: Tensor) -> int:
    """Channels in one block; all of them where a tensor is not plainly in this machine's memory."""
    channels, _, fan_in = factor.shape
    if not is_plain(factor):
        return channels
    return max(1, BLOCK_BYTES * torch.get_num_threads() // (fan_in * factor.element_size()))
