"""The loops of linear layers of float inputs, and the memory that they work in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vispa.deploy.calls import floats_of, unsigned
from vispa.deploy.layout import looks_up_bytes
from vispa.deploy.per_thread import PerThread
from vispa.deploy.processor import has

__all__ = ["RealProducts", "real_kernels"]

# By the bits that are kept of inputs at least: dtypes of tables, and what is put before the names of kernels.
_BITS: dict[int, tuple[type[np.integer[Any]], str]] = {24: (np.uint8, ""), 13: (np.int8, "short ")}


def real_kernels(activation_bits: int) -> list[str]:
    """The kernels of layers of float inputs that run here and keep so many bits of these, the fastest first."""
    if isinstance(activation_bits, bool) or activation_bits not in _BITS:
        raise ValueError(f"activation_bits must be 24 or 13; found {activation_bits!r}")
    found = ["tables"] if looks_up_bytes() else []
    if has("avx2"):
        found.append("shuffles")
    return [_BITS[activation_bits][1] + name for name in found] + ["signs"]


class RealProducts(PerThread):
    """The function from rows to ``scale * (rows @ signs) + bias``; its memory is made anew for another layer."""

    def __init__(self) -> None:
        self.layer: tuple[Any, ...] = (None, None, None, None)
        self.rows = -1
        self.multiply: Callable[..., None]
        self.scratch: tuple[Any, ...] = ()

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
        from vispa.deploy.kernels.real import TOGETHER, real_by_signs

        together = max(1, min(rows, TOGETHER))
        self.layer = words, scale, bias, kernel
        kernel = _here(kernel)
        self.arrays = unsigned(words), scale.numpy(), bias.numpy()
        self.multiply, self.scratch = real_by_signs, ()
        if kernel != "signs":
            self.multiply, self.scratch = _by_tables(kernel, words.shape[1], together)
        # so many rows are gone through in the same memory as more
        self.rows = sys.maxsize if kernel == "signs" or together == TOGETHER else rows


def _here(kernel: str) -> str:
    """The kernel, or the fastest of as many bits where a layer was made on a processor that could do more."""
    found = real_kernels(_bits_of(kernel))
    return kernel if kernel in found else found[0]


def _bits_of(kernel: str) -> int:
    return 13 if kernel.startswith("short ") else 24


def _by_tables(kernel: str, words: int, together: int) -> tuple[Callable[..., None], tuple[Any, ...]]:
    """The loop that looks up sums for some rows at a time, and its memory."""
    from vispa.deploy.kernels import real_shuffles, real_tables

    kind, _ = _BITS[_bits_of(kernel)]
    whole = np.zeros(32 * words, np.int32)
    if kernel.endswith("tables"):
        planes = real_tables.PLANES[kind]
        tables, sums = np.empty((together, words, 2, planes, 64), kind), np.empty((planes, 64), np.int32)
        return real_tables.real_by_tables, (real_tables.BITS[kind], whole, tables, sums)
    planes = real_shuffles.PLANES[kind]
    tables, sums = np.empty((together, words, 8, planes, 16), kind), np.empty((planes, 32), np.int32)
    return real_shuffles.real_by_shuffles, (real_shuffles.BITS[kind], whole, tables, sums)
