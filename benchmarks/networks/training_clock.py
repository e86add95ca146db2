"""Time steps in turn, round after round, so that what else the machine does falls on all of them alike."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import torch
from tqdm import tqdm

from benchmarks.networks.training_variants import Variant

WARM_UP_STEPS = 1
STEPS_ON_A_GPU = 10


def measure(variants: Sequence[Variant], *, rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of one step of every variant in every round, after one step that does not count."""
    timed = _on_gpu if device.type == "cuda" else _on_cpu
    for variant in variants:
        for _ in range(WARM_UP_STEPS):
            variant.step()
    seconds: dict[str, list[float]] = {variant.name: [] for variant in variants}
    for number in tqdm(range(rounds), unit="round", file=sys.stderr, disable=None):
        # Each round starts with another variant: none always follows the same neighbour.
        start = number % len(variants)
        for variant in [*variants[start:], *variants[:start]]:
            seconds[variant.name].append(timed(variant))
    return seconds


def _on_cpu(variant: Variant) -> float:
    started = time.process_time()
    variant.step()
    return time.process_time() - started


def _on_gpu(variant: Variant) -> float:
    torch.cuda.synchronize()
    first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    first.record()
    for _ in range(STEPS_ON_A_GPU):
        variant.step()
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last) / 1e3 / STEPS_ON_A_GPU
