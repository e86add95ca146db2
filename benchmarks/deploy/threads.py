"""Two threads that each take half of a batch, beside one."""

from __future__ import annotations

# ruff: noqa: B023 (what is timed is called before its loop goes on)
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

import vispa
from vispa.deploy import timing
from vispa.deploy.bits import PackSigns
from vispa.deploy.calls import Call
from vispa.deploy.layers import PackedConv2d


@torch.inference_mode()
def time_threads(drawn: Callable, networks: list, repeats: int) -> list[dict]:
    """One row a network of `drawn`: half of the images in each of two threads, by the wall clock.

    The first row is what the machine gives: the loop of one layer, which holds no lock, in each of two threads.
    """
    rows = [_threads_of_loops(repeats)]
    for name, shape, batch in networks:
        packed = drawn(name, shape)[1]
        halves = torch.randn(2, max(batch, 4), *shape).contiguous()
        with ThreadPoolExecutor(2) as threads:

            def both():
                return list(threads.map(inference(packed), halves))

            one, two = timing.in_turns([lambda: [packed(half) for half in halves], both], repeats)
        rows.append(
            {"network": f"{name}, {shape[1]}x{shape[2]}, batch {len(halves) * halves.shape[1]}",
             "one_thread_ms": one * 1e3, "two_threads_ms": two * 1e3, "speedup": one / two}
        )  # fmt: skip
    return rows


def _threads_of_loops(repeats: int) -> dict:
    layer = PackedConv2d(
        vispa.harden(vispa.binarize(nn.Conv2d(256, 256, 3, padding=1, bias=False), keep=())), outputs="bits"
    )
    works = []
    for _ in range(2):
        call = Call(PackSigns()(torch.randn(8, 256, 14, 14)), layer.words, layer.window.flat(), layer.kernel)
        works.append((call, call.to_bits(layer.limits, layer.flips, call.empty(8, torch.int32))))

    def run(work):
        for _ in range(8):
            work[0].run(work[1])

    with ThreadPoolExecutor(2) as threads:
        one, two = timing.in_turns(
            [lambda: [run(work) for work in works], lambda: list(threads.map(run, works))], repeats
        )
    row = {"network": "the loop of one layer alone", "one_thread_ms": one * 1e3, "two_threads_ms": two * 1e3}
    return row | {"speedup": one / two}


def inference(model):
    """The model in inference mode, which every thread enters by itself."""

    def run(inputs):
        with torch.inference_mode():
            return model(inputs)

    return run
