"""Fewer passes over memory, and cheaper ones, where nothing looks through the operations: eager code on a CPU."""

from __future__ import annotations

import sys

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

__all__ = ["GradientMemory", "is_plain", "memory_of", "multiply_add", "outer"]

# Smaller tensors are left to torch, whose allocations of this size are seldom new pages.
LARGE_BYTES = 1 << 20


def multiply_add(start: Tensor, factor: Tensor, noise: Tensor) -> Tensor:
    """Return ``start + sum_k noise_k factor_k``, one pass a column.

    Parameters
    ----------
    start : Tensor of shape (out_channels, fan_in)
        Of the dtype of ``noise``.
    factor : Tensor of shape (out_channels, K, fan_in)
    noise : Tensor of shape (K,) or (out_channels, K)
    """
    columns, values = factor.to(noise.dtype).unbind(1), noise.unsqueeze(-1).unbind(-2)
    total = torch.addcmul(start, columns[0], values[0])
    # vmap has no rule for the product in place; compilers need none.
    add = torch.Tensor.addcmul_ if is_plain(start) else torch.addcmul
    for column, value in zip(columns[1:], values[1:], strict=True):
        total = add(total, column, value)
    return total


class GradientMemory:
    """Memory of a gradient, taken again for the next one if nothing refers to it by then.

    The gradient of a factor is the one large tensor that every training step makes anew. The operating system
    hands out memory page by page, each filled with zeros first, which costs several times what filling it
    with the gradient does. Torch keeps freed memory of a GPU for this reason, but not of a CPU.
    """

    def __init__(self) -> None:
        self._buffer: NDArray[np.uint8] | None = None

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return an uninitialised tensor that shares memory with no other one alive."""
        buffer, self._buffer = self._buffer, None  # no other thread finds it now
        size = torch.Size(shape).numel() * dtype.itemsize
        if buffer is None or buffer.nbytes != size or _references(buffer) > _UNSHARED:
            buffer = np.empty(size, np.uint8)
        self._buffer = buffer
        # Storages, and so views and gradients, refer to the array: it counts its users.
        return torch.from_numpy(buffer).view(dtype).view(shape)


def _references(buffer: NDArray[np.uint8]) -> int:
    return sys.getrefcount(buffer)


def _references_of_a_new_buffer() -> int:
    buffer = np.empty(0, np.uint8)
    return _references(buffer)


_UNSHARED = _references_of_a_new_buffer()
_MEMORIES = WeakTensorKeyDictionary()


def memory_of(parameter: Tensor) -> GradientMemory | None:
    """Return the memory of a parameter's gradients, which lives as long as it; None where torch sees to that."""
    if parameter.numel() * parameter.element_size() < LARGE_BYTES or not is_plain(parameter):
        return None
    if parameter not in _MEMORIES:
        _MEMORIES[parameter] = GradientMemory()
    memory: GradientMemory = _MEMORIES[parameter]
    return memory


def outer(direction: Tensor, rows: Tensor, memory: GradientMemory | None = None) -> Tensor:
    """Return ``direction_k rows_of`` as a new tensor of shape (out_channels, K, fan_in).

    Parameters
    ----------
    direction : Tensor of shape (K,) or (out_channels, K)
    rows : Tensor of shape (out_channels, fan_in), of the same dtype
    memory : GradientMemory, optional
        Where the result goes, unless a graph, a transform or a compiler looks through the product.
    """
    columns, row = direction.unsqueeze(-1), rows.unsqueeze(1)
    if memory is None or torch.is_grad_enabled() or not is_plain(rows):
        return row * columns
    product = memory.take((rows.shape[0], direction.shape[-1], rows.shape[1]), rows.dtype)
    return torch.mul(row, columns, out=product)


def is_plain(values: Tensor) -> bool:
    """Whether a tensor lies in this machine's memory, and no transform, compiler or subclass stands between."""
    return (
        values.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and type(values) in (Tensor, torch.nn.Parameter)
    )
