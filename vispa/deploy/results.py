"""Memory for results: a new piece for every result that somebody keeps, the same one again where nobody does."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Results"]

# A line of the cache, at which a result begins.
LINE = 64


class Results:
    """Tensors of one shape and dtype, each in memory that no other living one lies in.

    A new piece of memory of some megabytes is mapped page by page while it is written, which takes longer than a
    packed layer itself. A tensor's memory refers to the array that it came from, and so do its views and their
    arrays: where nothing does, the array is used again.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._renew()

    def __call__(self) -> tuple[Tensor, Any]:
        """A tensor whose entries are arbitrary, and the array in the same memory."""
        if sys.getrefcount(self.array) > self.unused:
            self._renew()
        return torch.from_numpy(self.array), self.array

    def _renew(self) -> None:
        size = int(np.prod(self.shape)) * self.dtype.itemsize
        memory = np.empty(size + LINE, dtype=np.uint8)
        first = -memory.ctypes.data % LINE
        self.array = memory[first : first + size].view(self.dtype).reshape(self.shape)
        # how many refer to an array that nobody else has differs from one interpreter to another
        self.unused = sys.getrefcount(self.array)
