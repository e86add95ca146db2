"""Fewer passes over memory, and cheaper ones, where nothing looks through the operations: eager code on a CPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["is_plain", "multiply_add", "outer"]

# Below this NumPy does not ask for huge pages.
LARGE_BYTES = 1 << 22


def multiply_add(start: Tensor, factor: Tensor, noise: Tensor) -> Tensor:
    """Return ``start + sum_k noise_k factor_k``, one pass a column.

    Parameters
    ----------
    start : Tensor of shape (out_channels, fan_in)
        Of the dtype of ``noise``.
    factor : Tensor of shape (out_channels, K, fan_in)
    noise : Tensor of shape (K,) or (out_channels, K)
    """
    dtype, plain = noise.dtype, is_plain(start)
    total = torch.addcmul(start, factor.select(1, 0).to(dtype), noise[..., :1])
    for k in range(1, factor.shape[1]):
        column, value = factor.select(1, k).to(dtype), noise[..., k : k + 1]
        # vmap has no rule for the product in place; compilers need none.
        total = total.addcmul_(column, value) if plain else torch.addcmul(total, column, value)
    return total


def outer(direction: Tensor, rows: Tensor) -> Tensor:
    """Return ``direction_k rows_of`` as a new tensor of shape (out_channels, K, fan_in).

    Parameters
    ----------
    direction : Tensor of shape (K,) or (out_channels, K)
    rows : Tensor of shape (out_channels, fan_in), of the same dtype

    Notes
    -----
    This is the one large tensor that every training step makes anew. The operating system hands out memory
    in pages of 4 KiB, which costs several times the product; NumPy asks for huge pages, torch does not.
    """
    columns, row = direction.unsqueeze(-1), rows.unsqueeze(1)
    shape = (rows.shape[0], direction.shape[-1], rows.shape[1])
    size = shape[0] * shape[1] * shape[2] * rows.element_size()
    if size < LARGE_BYTES or torch.is_grad_enabled() or not is_plain(rows):
        return row * columns
    product = torch.from_numpy(np.empty(size, np.uint8)).view(rows.dtype).view(shape)
    return torch.mul(row, columns, out=product)


def is_plain(values: Tensor) -> bool:
    """Whether a tensor lies in this machine's memory, and no transform, compiler or subclass stands between."""
    return (
        values.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and type(values.detach()) is Tensor
    )
