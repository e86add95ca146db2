"""Signs of a weight in the order of a kernel: blocks of 32 output channels, one word a channel at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from solvers import checks
from vispa.deploy.processor import has, may_use_tiles

__all__ = [
    "KERNELS",
    "NIBBLES",
    "best_kernel",
    "blocks_of",
    "checked_kernel",
    "kernel_on",
    "looks_up_bytes",
    "runs_here",
    "signs_of",
    "table_of",
    "why_unpacked",
    "words_of",
]

LANES = 32
# Dtypes by which the compiled loops know their kernel; a table is made of words when a layer is.
KERNELS = {"tile": np.uint64, "vector": np.uint32, "portable": np.int32, "table": np.uint8}
# Where the even and odd nibbles of a word stand in the panel of the table kernel.
NIBBLES = (0, 8, 16, 24, 4, 12, 20, 28)


def best_kernel() -> str:
    """The kernel that is fastest, or close to it, on this processor at any time.

    Vector with AVX-512 VPOPCNTDQ; table with AVX2; otherwise portable. Tiles are faster in some moments alone, take
    longer to compile, and have to be asked for.
    """
    if has("avx512vpopcntdq", "avx512bw"):
        return "vector"
    return "table" if has("avx2") else "portable"


def looks_up_bytes() -> bool:
    """Whether this processor chooses and adds bytes in words of 512 (AVX-512 VBMI and VNNI)."""
    return has("avx512bw", "avx512vbmi", "avx512vnni")


# What a kernel cannot do without, and how it is said.
_NEEDS: dict[str, tuple[Callable[[], bool], str]] = {
    "tile": (may_use_tiles, "a processor with AMX and a system that lets this process use it"),
    "table": (lambda: has("avx2"), "a processor with AVX2"),
}


def runs_here(kernel: str) -> bool:
    """Whether this processor and its system run a kernel."""
    return kernel not in _NEEDS or _NEEDS[kernel][0]()


def checked_kernel(kernel: str) -> str:
    """The name of a kernel that runs here; ``"auto"`` is the best.

    Raises
    ------
    ValueError
        If there is none of this name, or it does not run here.
    """
    if checks.choice("kernel", kernel, ("auto", *KERNELS)) == "auto":
        return best_kernel()
    if not runs_here(kernel):
        others = ", ".join(map(repr, filter(runs_here, KERNELS)))
        raise ValueError(f"kernel must be 'auto' or one of {others}: {kernel!r} needs {_NEEDS[kernel][1]}")
    return kernel


def kernel_on(device: torch.device, processor: str) -> str:
    """The kernel that runs on a device: of several for processors the one given.

    On CUDA ``"triton"`` where it is installed; everywhere else ``"unpacked"``: torch's operations on +1 and -1.
    """
    from solvers.torch_backend.dense.backends import triton_runs

    if device.type in ("cpu", "meta"):
        return processor
    return "triton" if triton_runs(device) else "unpacked"


def why_unpacked(device: torch.device) -> str:
    """Why a device has no kernel of packed layers, and what to do about it."""
    remedy = "pip install triton for one" if device.type == "cuda" else "the processor has one: packed.cpu()"
    return f"no kernel on {device.type}, weights are unpacked in every call; {remedy}"


def blocks_of(channels: int, groups: int) -> int:
    """Number of blocks of 32 output channels, of which a group has whole ones."""
    return groups * -(-(channels // groups) // LANES)


def words_of(negative: NDArray[np.bool_], groups: int) -> Tensor:
    """Signs (channels, taps, inputs of a group) as int32 words (blocks, taps * words, 32).

    Inputs are filled up with bits 0 to whole words, and channels to whole blocks.

    Examples
    --------
    >>> words_of(np.ones((1, 1, 3), dtype=bool), 1)[0, 0, :2].tolist()
    [7, 0]
    """
    channels, taps, inputs = negative.shape
    words = -(-inputs // LANES)
    full = np.zeros((blocks_of(channels, groups) * LANES, taps, words * LANES), dtype=bool)
    full[:channels, :, :inputs] = negative
    packed = np.packbits(full, axis=2, bitorder="little").reshape(full.shape[0], -1).view("<u4")
    blocks = packed.reshape(-1, LANES, taps * words).transpose(0, 2, 1)
    return torch.from_numpy(np.ascontiguousarray(blocks).astype(np.uint32).view(np.int32))


def signs_of(words: Tensor, channels: int, taps: int, inputs: int) -> NDArray[np.bool_]:
    """The signs (channels, taps, inputs of a group) of words: the inverse of `words_of`."""
    rows = words.numpy().transpose(0, 2, 1).reshape(-1, words.shape[1]).astype("<i4")
    bits = np.unpackbits(np.ascontiguousarray(rows).view(np.uint8), axis=1, bitorder="little")
    return bits.reshape(len(rows), taps, -1)[:channels, :, :inputs].astype(bool)


def table_of(words: Tensor) -> Tensor:
    """The bytes of the table kernel (blocks, 8 words, 32), four signs each; words in a multiple of 3."""
    blocks, count, lanes = words.shape
    nibbles = np.zeros((blocks, 8 * (-(-count // 3) * 3), lanes), dtype=np.uint8)
    unsigned = words.numpy().view(np.uint32)
    for place, shift in enumerate(NIBBLES):
        nibbles[:, place : 8 * count : 8] = (unsigned >> np.uint32(shift)) & np.uint32(15)
    return torch.from_numpy(nibbles)
