"""The problems of a batch that are still being solved: costs, factors and counters side by side."""

from __future__ import annotations

import torch
from torch import Tensor

from solvers.methods.over_relaxation import DELAY
from solvers.torch_backend.dense.backends import Backend
from solvers.torch_backend.dense.costs import zero_diagonal

# Finished problems are swept along until they are this share of the group.
IDLE_SHARE = 0.25
# Columns that an escape adds to all factors of a group where none is spare.
EXTRA_COLUMNS = 4


class ActiveSet:
    """Problems under way, in float32.

    Parameters
    ----------
    which : (b,) Tensor
        Their numbers in the batch.
    exact : (b, N, N) float64 Tensor
        Their costs, for certificates; the sweeps have them in float32, with a zero diagonal.
    factors : (b, N, k) Tensor
        Unit rows; changed in place.
    iterations : (b,) Tensor
        Sweeps that they have had.

    Attributes
    ----------
    age : (b,) Tensor
        Sweeps since the schedule of relaxation factors began, which an escape begins again.
    next_check : (b,) Tensor
        The number of sweeps before which a certificate is not worth its price.
    alive : (b,) bool Tensor
        Those not finished.
    """

    def __init__(self, which: Tensor, exact: Tensor, factors: Tensor, iterations: Tensor) -> None:
        self.which = which
        self.exact = exact
        self.costs = zero_diagonal(exact.float())
        self.factors = factors
        self.iterations = iterations
        self.age = torch.zeros_like(iterations)
        self.next_check = torch.zeros_like(iterations)
        self.alive = torch.ones_like(iterations, dtype=torch.bool)

    def advance(self, sweep: Backend, count: int) -> Tensor:
        """Run ``count`` sweeps; return the error (b,) that the last decrease predicts, as for a single problem."""
        ages = self.age[:, None] + torch.arange(count, device=self.age.device)
        last = sweep(self.costs, self.factors, (ages / (ages + DELAY)).to(self.factors.dtype))
        self.factors /= torch.linalg.vector_norm(self.factors, dim=2, keepdim=True)
        self.age += count
        self.iterations += count * self.alive
        return 0.5 * last.double() * self.age

    def leave(self, places: Tensor) -> None:
        """Take the problems at these places out; memory and time are regained at the next `compact`."""
        self.alive[places] = False

    def compact(self) -> None:
        """Drop finished problems once they are many."""
        kept = self.alive.nonzero()[:, 0]
        if kept.numel() > (1.0 - IDLE_SHARE) * self.alive.numel() and kept.numel() > 1:
            return
        if kept.numel() == self.alive.numel():
            return
        for name in ("which", "exact", "costs", "factors", "iterations", "age", "next_check", "alive"):
            setattr(self, name, getattr(self, name)[kept])

    def widen(self, width: int | None = None) -> None:
        """Give every factor columns of zeros, up to the width asked for or a few more than it has."""
        have = self.factors.shape[2]
        wanted = have + EXTRA_COLUMNS if width is None else max(width, have)
        self.factors = torch.nn.functional.pad(self.factors, (0, wanted - have))
