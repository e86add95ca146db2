"""Whether a method still gets on: how far it has to go at its present pace, and whether it crawls."""

from __future__ import annotations

import math

import numpy as np

from solvers.burer_monteiro.settings import PROGRESS

# More doublings of the iterations than this nobody sees the end of.
FARTHEST = 1000.0


class Progress:
    """Notices when neither the estimated gap nor the predicted error is halved any more, or when both crawl."""

    def __init__(self) -> None:
        self._gap = np.inf
        self._error = np.inf
        self._record: list[float] = []
        self._halved_at = 0

    def note(self, error: float) -> None:
        """Record the error predicted after a block of iterations."""
        self._record.append(error)

    def projected(self, gap: float, target: float) -> float:
        """How many times the iterations so far it takes to a gap, if that falls by the power law of the error."""
        # medians, because the decreases of over-relaxed sweeps flicker
        middle = len(self._record) // 2
        now = float(np.median(self._record[-5:]))
        before = float(np.median(self._record[max(middle - 5, 0) : middle + 1]))
        if gap <= target:
            return 1.0
        if not (0.0 < now < before and target > 0.0):
            return math.inf
        fallen = math.log(before) - math.log(now)
        doublings = (math.log(gap) - math.log(target)) / fallen if fallen > 0.0 else math.inf
        return math.inf if doublings > FARTHEST else 2.0**doublings

    def stalled(self, gap: float, error: float) -> bool:
        """Whether nothing was halved for too many blocks."""
        blocks = len(self._record)
        if gap < 0.5 * self._gap or error < 0.5 * self._error:
            self._gap = min(gap, self._gap)
            self._error = min(error, self._error)
            self._halved_at = blocks
        return blocks - self._halved_at > max(PROGRESS.least_blocks, PROGRESS.crawling_share * blocks)
