"""The projections of rows to spheres, block by block, so that a block is read from memory once.

Multiplying a row ``(mean_i, factor_i, residual_i)`` by a positive number leaves the law of its sign alone (claim G1
of theory_checks): where rows are kept is a choice, of how far a step of an optimizer goes.
"""

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

__all__ = ["channel_squares", "project_channels", "project_rows", "row_squares"]

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


def noise_squares(factor: Tensor, residual: Tensor | None, scale: float) -> Tensor:
    """Return ``(|factor_i|^2 + residual_i^2) / scale``, of shape (out_channels, fan_in)."""
    return row_squares(torch.zeros_like(factor[:, 0]), factor, residual, scale)


def project_rows(rows: Tensor, factor: Tensor, residual: Tensor | None, scale: float, radius: float) -> None:
    """Bring every row to the sphere of a radius, in place; a row of zeros stays one.

    The root of `row_squares` is the radius then.

    Parameters
    ----------
    rows : Tensor of shape (out_channels, ...)
    factor : Tensor of shape (out_channels, K, fan_in)
    residual : Tensor of the shape of ``rows``, or None
    scale, radius : float
    """
    if _is_for_one_thread(rows, factor) and residual is None and _kernel() is not None:
        _project_compiled(rows, factor, scale, radius)
        return
    _in_blocks(_project_block, rows, factor, residual, scale, radius)


def project_channels(
    rows: Tensor, factor: Tensor, residual: Tensor | None, scale: float, radius: float
) -> None:
    """Bring all rows of an output channel together to a sphere, in place; a channel of zeros stays one.

    The root mean square of the rows' norms in a channel is the radius then. Parameters are those of `project_rows`.
    """
    _in_blocks(_project_channel_block, rows, factor, residual, scale, radius)


def _in_blocks(
    project: Callable[[Tensor, Tensor, Tensor | None, float, float], None],
    rows: Tensor,
    factor: Tensor,
    residual: Tensor | None,
    scale: float,
    radius: float,
) -> None:
    size = _block_size(factor)
    if size >= factor.shape[0]:
        project(rows, factor, residual, scale, radius)
        return
    for start in range(0, factor.shape[0], size):
        block = slice(start, start + size)
        part = None if residual is None else residual[block]
        project(rows[block], factor[block], part, scale, radius)


def _project_block(
    rows: Tensor, factor: Tensor, residual: Tensor | None, scale: float, radius: float
) -> None:
    squares = row_squares(rows, factor, residual, scale)
    ratio = squares.clamp_min_(torch.finfo(squares.dtype).tiny).rsqrt_().mul_(radius)
    factor.mul_(ratio.unsqueeze(1))
    ratio = ratio.view(rows.shape)
    rows.mul_(ratio)
    if residual is not None:
        residual.mul_(ratio)


def _project_channel_block(
    rows: Tensor, factor: Tensor, residual: Tensor | None, scale: float, radius: float
) -> None:
    squares = channel_squares(rows, factor, residual, scale)
    ratio = squares.clamp_min_(torch.finfo(squares.dtype).tiny).rsqrt_().mul_(radius)
    factor.mul_(ratio.view(-1, 1, 1))
    ratio = ratio.view(-1, *[1] * (rows.ndim - 1))
    rows.mul_(ratio)
    if residual is not None:
        residual.mul_(ratio)


def channel_squares(rows: Tensor, factor: Tensor, residual: Tensor | None, scale: float) -> Tensor:
    """Return the mean of `row_squares` over every output channel, of shape (out_channels,)."""
    dtype = working_dtype(rows.dtype)

    def squares(values: Tensor) -> Tensor:
        return torch.linalg.vector_norm(values, dim=tuple(range(1, values.ndim)), dtype=dtype).square_()

    total = squares(rows).add_(squares(factor), alpha=1.0 / scale)
    if residual is not None:
        total.add_(squares(residual), alpha=1.0 / scale)
    return total.div_(factor.shape[2])


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
        from vispa.nn.weights.kernels import scale_to_norm
    except ImportError:
        return None
    kernel: Callable[..., None] = scale_to_norm
    return kernel


def _project_compiled(rows: Tensor, factor: Tensor, scale: float, radius: float) -> None:
    kernel = _kernel()
    assert kernel is not None
    matrix: Any = rows.detach().view(factor.shape[0], factor.shape[2]).numpy()
    kind = matrix.dtype.type
    kernel(matrix, factor.detach().numpy(), kind(1.0 / scale), np.finfo(matrix.dtype).tiny, kind(radius))
    # Written behind autograd's back, which counts versions of what it saved.
    increment_version((rows, factor))


def _block_size(factor: Tensor) -> int:
    """Channels in one block; all of them where a tensor is not plainly in this machine's memory."""
    channels, _, fan_in = factor.shape
    if not is_plain(factor):
        return channels
    return max(1, BLOCK_BYTES * torch.get_num_threads() // (fan_in * factor.element_size()))
