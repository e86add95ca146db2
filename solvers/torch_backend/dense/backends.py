"""Which implementation sweeps: compiled loops on the processor, a Triton kernel on a GPU, torch anywhere."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from solvers.linalg.rank import power_of_two
from solvers.torch_backend.dense import over_relaxation

# (costs, factors, betas) -> the decrease of the last sweep of each problem; factors change in place.
Backend: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]

LANES = 8
KERNELS = ("compiled", "torch", "triton")
# Up to this order one launch runs all the sweeps of a problem without going back to memory.
FUSED_ROWS = 128
# Above it, rows a block: the product with everything outside is the matrix unit's work.
BLOCK_ROWS = 64
# Entries of the factor that one warp holds in registers.
ENTRIES_A_WARP = 1024


def choose_backend(kernel: str | None, device: torch.device) -> tuple[str, Backend]:
    """Name and function of the implementation asked for, or of the fastest one that this device and machine have.

    Raises
    ------
    ValueError
        If the name is unknown, or does not go with the device.
    ImportError
        If the package behind it is not installed.

    Examples
    --------
    >>> choose_backend("torch", torch.device("cpu"))[0]
    'torch'
    """
    if kernel is None:
        fastest, package = ("compiled", "numba") if device.type == "cpu" else ("triton", "triton")
        kernel = fastest if device.type in ("cpu", "cuda") and _installed(package) else "torch"
    if not isinstance(kernel, str) or kernel not in KERNELS:
        raise ValueError(f"kernel must be one of {', '.join(map(repr, KERNELS))} or None; found {kernel!r}")
    if kernel == "compiled":
        if device.type != "cpu":
            raise ValueError(f"kernel 'compiled' runs on the device 'cpu' alone; found {device}")
        if not _installed("numba"):
            raise ImportError("kernel 'compiled' needs numba: pip install numba, or take kernel='torch'")
        return kernel, sweep_compiled
    if kernel == "triton":
        if not _installed("triton"):
            raise ImportError("kernel 'triton' needs triton: pip install triton, or take kernel='torch'")
        return kernel, sweep_triton
    return kernel, over_relaxation.sweep_batch


def sweep_compiled(costs: Tensor, factors: Tensor, betas: Tensor) -> Tensor:
    """Sweep by compiled loops, one problem after the other, on as many threads as torch uses."""
    from solvers.kernels.relax import sweep_batch

    decreases = np.zeros(factors.shape[0])
    # rows of whole vector registers
    padding = -factors.shape[2] % LANES
    padded = torch.nn.functional.pad(factors, (0, padding)).contiguous()
    arrays = (costs.contiguous().numpy(), padded.numpy(), betas.double().contiguous().numpy(), decreases)
    threads = min(torch.get_num_threads(), factors.shape[0])
    if threads == 1:
        sweep_batch(*arrays)
    else:
        bounds = [factors.shape[0] * part // threads for part in range(threads + 1)]
        with ThreadPoolExecutor(threads) as pool:
            shares = [slice(*pair) for pair in itertools.pairwise(bounds)]
            # the list makes sure that an exception in a thread is raised here
            list(pool.map(lambda share: sweep_batch(*(array[share] for array in arrays)), shares))
    factors.copy_(padded[:, :, : factors.shape[2]])
    return torch.from_numpy(decreases).to(factors.dtype)


def sweep_triton(costs: Tensor, factors: Tensor, betas: Tensor) -> Tensor:
    """Sweep every problem once for each column of ``betas``; as `over_relaxation.sweep_batch`, and in place too."""
    rows = factors.shape[1]
    if rows <= FUSED_ROWS:
        return _launch(costs, torch.bmm(costs, factors), factors, betas)
    last = torch.zeros_like(factors[:, 0, 0])
    for beta in betas.unbind(dim=1):
        last = torch.zeros_like(last)
        for first in range(0, rows, BLOCK_ROWS):
            here = slice(first, min(first + BLOCK_ROWS, rows))
            gradient = torch.bmm(costs[:, here], factors)
            last += _launch(costs[:, here, here], gradient, factors[:, here], beta[:, None])
    return last


def relax_triton(block: Tensor, gradient: Tensor, rows: Tensor, beta: Tensor) -> Tensor:
    """Relax rows as `over_relaxation.relax_rows`, but for ``gradient``, which is left as it was."""
    return _launch(block, gradient, rows, beta[:, None])


def _launch(block: Tensor, gradient: Tensor, rows: Tensor, betas: Tensor) -> Tensor:
    """One program a problem; ``block`` and ``rows`` may be views with strides, the last of them 1."""
    from solvers.torch_backend.dense.triton_kernels import relax_rows

    problems, count, width = rows.shape
    decreases = torch.zeros(problems, dtype=rows.dtype, device=rows.device)
    padded_rows, padded_width = _power_of_two(count), _power_of_two(width)
    warps = min(max(padded_rows * padded_width // ENTRIES_A_WARP, 1), 8)
    relax_rows[(problems,)](
        block,
        gradient.contiguous(),
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
    return max(2, power_of_two(size))


def triton_runs(device: torch.device) -> bool:
    """Whether triton is installed, and the device one of its own."""
    return device.type == "cuda" and _installed("triton")


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # blocked: its entry in sys.modules is None
        return False
