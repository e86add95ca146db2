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

from solvers.torch_backend.dense import over_relaxation as relaxation
from solvers.torch_backend.dense import triton_relaxation

# (costs, factors, betas) -> the decrease of the last sweep of each problem; factors change in place.
Sweeper: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]

LANES = 8
KERNELS = ("compiled", "torch", "triton")


def choose_sweeper(kernel: str | None, device: torch.device) -> tuple[str, Sweeper]:
    """Name and function of the implementation asked for, or of the fastest one that this device and machine have.

    Raises
    ------
    ValueError
        If the name is unknown, or does not go with the device.
    ImportError
        If the package behind it is not installed.

    Examples
    --------
    >>> choose_sweeper("torch", torch.device("cpu"))[0]
    'torch'
    """
    if kernel is None:
        fastest, package = ("compiled", "numba") if device.type == "cpu" else ("triton", "triton")
        kernel = fastest if device.type in ("cpu", "cuda") and _installed(package) else "torch"
    if kernel not in KERNELS:
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
        return kernel, triton_relaxation.sweep_batch
    return kernel, relaxation.sweep_batch


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


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # blocked: its entry in sys.modules is None
        return False
