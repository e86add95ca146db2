"""What the device itself can do: bytes a second of a copy, and operations a second of a float32 product."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

REPEATS = 5


@dataclass(frozen=True)
class Ceilings:
    """Bytes a second, and float32 operations a second."""

    bandwidth: float
    products: float


def measure_ceilings(device: torch.device) -> Ceilings:
    """The best of a few copies and of a few matrix products, after one that does not count."""
    large = device.type == "cuda"
    source = torch.ones(2**28 if large else 2**25, device=device)
    target = torch.empty_like(source)
    order = 8192 if large else 1024
    left = torch.ones(order, order, device=device)
    copying = best(lambda: target.copy_(source), device)
    multiplying = best(lambda: torch.mm(left, left), device)
    return Ceilings(2 * source.numel() * source.element_size() / copying, 2 * order**3 / multiplying)


def best(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest call."""
    seconds = []
    for _ in range(REPEATS + 1):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        started = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])
