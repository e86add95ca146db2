"""The problems of a batch that are still being solved: costs, factors and counters side by side."""

from __future__ import annotations

import torch
from torch import Tensor

from solvers.methods.over_relaxation import DELAY
from solvers.torch_backend.common.settings import DENSE
from solvers.torch_backend.dense.backends import Backend
from solvers.torch_backend.dense.costs import zero_diagonal


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
        self.next_check = iterations + DENSE.first_evaluation
        self.alive = torch.ones_like(iterations, dtype=torch.bool)

    def advance(self, sweep: Backend, count: int) -> Tensor:
        """Run ``count`` sweeps; return the error (b,) that the last decrease predicts, as for a single problem."""
        ages = self.age[:, None] + torch.arange(count, device=self.age.device)
        last = sweep(self.costs, self.factors, (ages / (ages + DELAY)).to(self.factors.dtype))
        self.factors /= torch.linalg.vector_norm(self.factors, dim=2, keepdim=True)
        self.age += count
        self.iterations += count * self.alive
        return 0.5 * last.double() * self.age

    @property
    def is_due(self) -> Tensor:
        """Where (b,) as many sweeps have run as the next certificate waits for."""
        return self.iterations >= self.next_check

    def postpone(self, places: Tensor) -> None:
        """Let the next certificate of these problems wait for more sweeps, in proportion to those so far."""
        self.next_check[places] = (DENSE.patience * self.iterations[places]).long()

    def begin_again(self, places: Tensor, factors: Tensor) -> None:
        """Go on from other factors (b, N, k), as after an escape."""
        self.factors[places] = factors.to(self.factors.dtype)
        self.age[places] = 0
        self.next_check[places] = self.iterations[places] + DENSE.first_evaluation

    def replace(self, places: Tensor, factors: Tensor) -> None:
        """Put factors (b, N, k) in the place of these, as many columns as any of them uses."""
        used = int((factors != 0.0).any(dim=1).sum(dim=1).max())
        self.widen(used)
        self.factors[places] = 0.0
        self.factors[places, :, :used] = factors[:, :, :used].to(self.factors.dtype)

    def leave(self, places: Tensor) -> None:
        """Take the problems at these places out; memory and time are regained at the next `compact`."""
        self.alive[places] = False

    def compact(self) -> None:
        """Drop finished problems once they are many."""
        kept = self.alive.nonzero()[:, 0]
        if kept.numel() > (1.0 - DENSE.idle_share) * self.alive.numel() and kept.numel() > 1:
            return
        if kept.numel() == self.alive.numel():
            return
        for name in ("which", "exact", "costs", "factors", "iterations", "age", "next_check", "alive"):
            setattr(self, name, getattr(self, name)[kept])

    def widen(self, width: int | None = None) -> None:
        """Give every factor columns of zeros, up to the width asked for or a few more than it has."""
        have = self.factors.shape[2]
        wanted = have + DENSE.extra_columns if width is None else max(width, have)
        self.factors = torch.nn.functional.pad(self.factors, (0, wanted - have))
