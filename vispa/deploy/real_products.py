"""The loops of linear layers of float inputs, and the memory that they work in."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vispa.deploy.calls import floats_of, unsigned
from vispa.deploy.per_thread import PerThread

__all__ = ["RealProducts", "kernel_of_bits"]

# Kernels that look up sums, by the bits that they keep of the inputs, and the dtypes of their tables.
_KERNELS = {29: "tables", 13: "short tables"}
_TABLES = {"tables": np.uint8, "short tables": np.int8}


def kernel_of_bits(activation_bits: int) -> str:
    """The kernel that keeps so many bits of activations; ValueError where there is none."""
    if isinstance(activation_bits, bool) or activation_bits not in _KERNELS:
        raise ValueError(f"activation_bits must be 29 or 13; found {activation_bits!r}")
    return _KERNELS[activation_bits]


class RealProducts(PerThread):
    """The function from rows to ``scale * (rows @ signs) + bias``; its memory is made anew for another layer."""

    def __init__(self) -> None:
        self.layer: tuple[Any, ...] = (None, None, None, None)
        self.rows = -1

    def __call__(self, inputs: Tensor, words: Tensor, scale: Tensor, bias: Tensor, kernel: str) -> Tensor:
        """Outputs (rows, channels) of inputs (rows, inputs); TypeError for inputs of another dtype or size."""
        if inputs.dtype != torch.float32 or -(-inputs.shape[1] // 32) != words.shape[1]:
            raise TypeError(
                f"inputs must be float32 rows for {words.shape[1]} words of signs; found {inputs.dtype} "
                f"{tuple(inputs.shape)}"
            )
        rows, layer = len(inputs), self.layer
        same = layer[0] is words and layer[1] is scale and layer[2] is bias and layer[3] == kernel
        if not same or rows > self.rows:
            self._renew(rows, words, scale, bias, kernel)
        outputs = torch.empty((rows, len(scale)), dtype=torch.float32, device="cpu")
        self.multiply(floats_of(inputs), *self.arrays, outputs.numpy(), *self.scratch)
        return outputs

    def _renew(self, rows: int, words: Tensor, scale: Tensor, bias: Tensor, kernel: str) -> None:
        from vispa.deploy.kernels import real

        self.layer, self.rows = (words, scale, bias, kernel), rows
        self.arrays = unsigned(words), scale.numpy(), bias.numpy()
        self.multiply = real.real_by_signs
        self.scratch: tuple[Any, ...] = ()
        if kernel in _TABLES:
            kind, count = _TABLES[kernel], words.shape[1]
            planes, together = real.PLANES[kind], max(1, min(rows, real.TOGETHER))
            self.multiply = real.real_by_tables
            self.scratch = (
                real.BITS[kind],
                np.zeros(32 * count, np.int32),
                np.empty((together, count, 2, planes, 64), kind),
                np.empty((planes, 2 * real.LANES), np.int32),
            )
            # so many rows are gone through in the same memory as more
            self.rows = sys.maxsize if together == real.TOGETHER else rows
