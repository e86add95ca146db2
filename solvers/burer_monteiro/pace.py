"""How a method fares since it began: the error it predicts, and when an evaluation or a certificate is due."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from solvers.burer_monteiro.progress import Progress
from solvers.burer_monteiro.settings import COMPONENT


@dataclass
class Pace:
    """What was seen of a method since it began at its present start, and when more than iterations is due.

    Attributes
    ----------
    progress : Progress
    error : float
        What the last decrease predicts is still to come.
    evaluate_below : float
        The error at which the next evaluation is due.
    certify_from : int
        The number of iterations before which a certificate is not worth its price.
    blocks : int
        Blocks of iterations since the last evaluation.
    """

    progress: Progress = field(default_factory=Progress)
    error: float = np.inf
    evaluate_below: float = np.inf
    certify_from: int = 0
    blocks: int = 0

    def advanced(self, error: float) -> None:
        """Note a block of iterations, and the error that its last decrease predicts."""
        self.error = error
        self.progress.note(error)
        self.blocks += 1

    def evaluated(self, gap: float, allowed: float) -> None:
        """Note an evaluation that estimates this gap, and set the error at which the next is due."""
        reached = COMPONENT.promising * allowed / gap if gap > 0.0 else 1.0
        share = min(COMPONENT.first_evaluation, reached**COMPONENT.evaluation_power)
        self.evaluate_below = max(share, COMPONENT.farthest_evaluation) * self.error
        self.blocks = 0
