"""Sweeps by the Triton kernel: whole problems where they fit into registers, blocks of rows where they do not."""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

# Up to this order one launch runs all the sweeps of a problem without going back to memory.
FUSED_ROWS = 128
# Above it, rows a block: the product with everything outside is the matrix unit's work.
BLOCK_ROWS = 64
# Entries of the factor that one warp holds in registers.
ENTRIES_A_WARP = 1024


def sweep_batch(costs: Tensor, factors: Tensor, betas: Tensor) -> Tensor:
    """Sweep every problem once for each column of ``betas``; as `relaxation.sweep_batch`, and in place too."""
    rows = factors.shape[1]
    if rows <= FUSED_ROWS:
        return _launch(costs, torch.bmm(costs, factors), factors, betas)
    last = torch.zeros_like(factors[:, 0, 0])
    for beta in betas.unbind(dim=1):
        last = torch.zeros_like(last)
        for first in range(0, rows, BLOCK_ROWS):
            here = slice(first, min(first + BLOCK_ROWS, rows))
            pull = torch.bmm(costs[:, here], factors)
            last += _launch(costs[:, here, here], pull, factors[:, here], beta[:, None])
    return last


def usable(device: torch.device) -> bool:
    """Whether triton is installed, and the device one of its own."""
    if device.type != "cuda":
        return False
    try:
        return importlib.util.find_spec("triton") is not None
    except ValueError:  # blocked: its entry in sys.modules is None
        return False


def relax_block(block: Tensor, pull: Tensor, rows: Tensor, beta: Tensor) -> Tensor:
    """As `relaxation.relax_rows`, but for ``pull``, which is left as it was."""
    return _launch(block, pull, rows, beta[:, None])


def _launch(block: Tensor, pull: Tensor, rows: Tensor, betas: Tensor) -> Tensor:
    """One program a problem; ``block`` and ``rows`` may be views with strides, the last of them 1."""
    from solvers.torch_backend.dense.triton_kernels import relax_rows

    problems, count, width = rows.shape
    decreases = torch.zeros(problems, dtype=rows.dtype, device=rows.device)
    padded_rows, padded_width = _power_of_two(count), _power_of_two(width)
    warps = min(max(padded_rows * padded_width // ENTRIES_A_WARP, 1), 8)
    relax_rows[(problems,)](
        block,
        pull.contiguous(),
        rows,
        betas.contiguous(),
        decreases,
        block.stride(0) if block.shape[0] > 1 else 0,
        block.stride(1),
        rows.stride(0),
        rows.stride(1),
        ROWS=count,
        WIDTH=width,
        SWEEPS=betas.shape[1],
        PADDED_ROWS=padded_rows,
        PADDED_WIDTH=padded_width,
        num_warps=warps,
    )
    return decreases


def _power_of_two(size: int) -> int:
    # the compiler likes no ranges of one
    return max(2, 1 << (size - 1).bit_length())
