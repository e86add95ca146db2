"""Exact thresholds: the sums at which a sign turns, found by trying torch's own operations on every sum."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from vispa.deploy.epilogue import Epilogue

__all__ = ["Turn", "limits_of", "turning_sums"]

# Bounds the memory of the trial, not its result.
SUMS_AT_ONCE = 1024

Turn = tuple[NDArray[np.int64], NDArray[np.bool_]]


def turning_sums(epilogue: Epilogue, largest: int) -> Turn | None:
    """For every channel the sum t at which its sign turns, and whether it falls; None where a sign turns twice.

    A rising channel is not negative from t on, a falling one is negative from t on. All sums between -largest and
    largest are tried, so rounding is part of the answer. Takes O(channels * largest) time.

    Examples
    --------
    >>> turning_sums(Epilogue(torch.ones(1), bias=torch.tensor([-2.5])), 9)
    (array([3]), array([False]))
    """
    channels = len(epilogue.scale)
    before: NDArray[np.bool_] | None = None
    first = np.zeros(channels, dtype=np.int64)
    turns = np.zeros(channels, dtype=np.int64)
    start = positive = np.zeros(channels, dtype=bool)
    for low in range(-largest, largest + 1, SUMS_AT_ONCE):
        sums = torch.arange(low, min(low + SUMS_AT_ONCE, largest + 1), dtype=torch.float32, device="cpu")
        with torch.no_grad():
            positive = (epilogue(sums[:, None].expand(-1, channels)) >= 0).numpy()
        if before is None:
            before = start = positive[0]
        changes = positive != np.concatenate([before[None], positive[:-1]])
        turns += changes.sum(axis=0)
        if (turns > 1).any():
            return None
        first = np.where(changes.any(axis=0), low + changes.argmax(axis=0), first)
        before = positive[-1]
    # never negative: from the least sum on not; always negative: only beyond the largest not
    constant = np.where(start, -largest, largest + 1)
    return np.where(turns == 0, constant, first), start & (turns == 1)


def limits_of(turn: Turn, bases: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.uint32]]:
    """Limits (classes, channels) so that a sign is negative iff the count is above, and words of those negated.

    A sum is base - 2 count, so it is below t iff the count is above floor((base - t) / 2).
    """
    sums, falls = turn
    channels = len(sums)
    limits = np.full(bases.shape, np.iinfo(np.int32).max, dtype=np.int32)
    limits[:, :channels] = (bases[:, :channels].astype(np.int64) - sums) // 2
    bits = np.zeros(bases.shape[1], dtype=bool)
    bits[:channels] = falls
    flips = np.packbits(bits, bitorder="little").view("<u4").astype(np.uint32)
    return limits, flips
