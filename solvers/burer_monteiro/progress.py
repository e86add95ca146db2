"""Whether a method still gets on: how far it has to go at its present pace, and whether it crawls."""

from __future__ import annotations

import numpy as np

# A method that halves neither the implied gap nor the error within this share of its blocks so far, and within this
# many of them, is crawling.
CRAWLING_SHARE = 0.75
MIN_BLOCKS = 20


class Progress:
    """Notices when neither the implied gap nor the foretold error is halved any more, or when both crawl."""

    def __init__(self) -> None:
        self._implied = np.inf
        self._foretold = np.inf
        self._record: list[float] = []
        self._halved_at = 0

    def note(self, foretold: float) -> None:
        """Record the error foretold after a block of iterations."""
        self._record.append(foretold)

    def projected(self, implied: float, target: float) -> float:
        """How many times the iterations so far it takes to a gap, if that falls by the power law of the error."""
        # medians, because the decreases of over-relaxed sweeps flicker
        middle = len(self._record) // 2
        now = float(np.median(self._record[-5:]))
        before = float(np.median(self._record[max(middle - 5, 0) : middle + 1]))
        if implied <= target:
            return 1.0
        if not 0.0 < now < before:
            return np.inf
        return float(2.0 ** (np.log(implied / target) / np.log(before / now)))

    def stalled(self, implied: float, foretold: float) -> bool:
        """Whether nothing was halved for too many blocks."""
        blocks = len(self._record)
        if implied < 0.5 * self._implied or foretold < 0.5 * self._foretold:
            self._implied = min(implied, self._implied)
            self._foretold = min(foretold, self._foretold)
            self._halved_at = blocks
        return blocks - self._halved_at > max(MIN_BLOCKS, CRAWLING_SHARE * blocks)
