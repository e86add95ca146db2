"""How many bytes the factor must move in a step, and how fast memory moves them: a floor under its cost."""

from __future__ import annotations

import statistics
import time

import torch

BYTES = 4
# Of each entry of a factor, where its gradient is a tensor that any optimizer can read: read in the forward (1),
# gradient written (1), gradient, momentum and factor read and the latter two written by the optimizer (5), read
# and written by the projection (2).
PASSES = 9
REPEATS = 9


def floor_bytes(weights: int, rank: int) -> int:
    """Bytes that the factors of a network with so many binary weights move in a step, beyond the STE weight's."""
    return PASSES * BYTES * rank * weights


def bandwidth(device: torch.device, size: int) -> float:
    """Bytes a second, reading and writing ``size`` bytes in place; the median of several passes."""
    values = torch.ones(size // BYTES, device=device)
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    seconds = []
    for _ in range(REPEATS):
        _wait(device)
        started = clock()
        values.mul_(1.0)
        _wait(device)
        seconds.append(clock() - started)
    return 2 * size / statistics.median(seconds)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
