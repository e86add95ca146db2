"""Smallest eigenvalues of many C_j - Diag(y_j) that share a matrix: Lanczos recurrences side by side, in float64.

As for a single problem (`solvers.linalg.lanczos`) there is no reorthogonalisation, the basis is forgotten, and
a value is believed once it has stayed settled for a quarter as many steps again.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from solvers.torch_backend.shared.costs import SharedCosts

CHECK_EVERY = 15
CONFIRMATION = 1.25
MAX_STEPS = 400
BREAKDOWN = 1e-14
# A Ritz value counts as isolated, so that its error is quadratic in its residual, at this share of the distance.
ISOLATED = 0.1
ROUNDING = 1e-15
# Of the value: where a bound is wanted rather than a verdict, an error this small does.
SHARP = 0.1


class Smallest(NamedTuple):
    """Ritz values (b,), never below the eigenvalues but for rounding, and how far above they may be."""

    value: Tensor
    error: Tensor


def smallest_eigenvalues(
    costs: SharedCosts,
    which: Tensor,
    dual: Tensor,
    threshold: Tensor,
    generator: torch.Generator,
    *,
    sharply: bool = False,
) -> Smallest:
    """Estimate lambda_min of C_j - Diag(y_j) for j in ``which`` (b,), as far as ``threshold`` (b,) asks.

    ``dual`` is (N, b).  The recurrences go on until each value is below its threshold, or above it by more than
    its error; or, ``sharply``, until each error is small beside its value.  A step costs one product of A with b
    vectors.
    """
    recurrence = _Recurrence(costs, which, dual, generator)
    limit = min(MAX_STEPS, 4 * costs.order)
    settled_at = torch.zeros_like(which)
    floor = torch.full_like(threshold, -torch.inf)
    while True:
        steps = len(recurrence.diagonal)
        recurrence.extend(min(max(CHECK_EVERY, steps // 4), limit - steps))
        steps = len(recurrence.diagonal)
        value, error = recurrence.extreme()
        # what a small residual has proved once, copies of the eigenvalue found cannot undo
        floor = torch.where(value >= floor, torch.maximum(floor, value - error), value - error)
        error = value - floor
        refuted = (value < threshold) & (not sharply)
        close = error <= torch.maximum(SHARP * value.abs(), threshold.abs())
        settled = close if sharply else value - error >= threshold
        settled_at = torch.where(settled, torch.where(settled_at > 0, settled_at, steps), 0)
        confirmed = settled & ((steps >= CONFIRMATION * settled_at) | recurrence.whole)
        if steps >= limit or bool((confirmed | refuted).all()):
            return Smallest(value, error)


class _Recurrence:
    """The recurrences from random start vectors; a problem whose Krylov space is exhausted rests."""

    def __init__(self, costs: SharedCosts, which: Tensor, dual: Tensor, generator: torch.Generator) -> None:
        self._costs, self._which, self._dual = costs, which, dual
        start = torch.randn(dual.shape, dtype=torch.float64, device=dual.device, generator=generator)
        self._current = start / torch.linalg.vector_norm(start, dim=0)
        self._previous = torch.zeros_like(start)
        self.diagonal: list[Tensor] = []
        self.offdiagonal: list[Tensor] = []
        self.whole = torch.zeros_like(which, dtype=torch.bool)

    def extend(self, count: int) -> None:
        beta = self.offdiagonal[-1] if self.offdiagonal else torch.zeros_like(self._dual[0])
        for _ in range(count):
            image = self._costs.product(self._current, self._which) - self._dual * self._current
            image -= beta * self._previous
            alpha = (image * self._current).sum(dim=0)
            image -= alpha * self._current
            # a Ritz value that is there already says nothing new
            self.diagonal.append(torch.where(self.whole, self.diagonal[0], alpha) if self.diagonal else alpha)
            beta = torch.linalg.vector_norm(image, dim=0)
            radius = torch.stack(self.diagonal).abs().amax(dim=0) + 2.0 * beta
            self.whole |= beta <= BREAKDOWN * radius
            beta = beta.masked_fill(self.whole, 0.0)
            self.offdiagonal.append(beta)
            self._previous = self._current
            self._current = torch.where(beta > 0.0, image / beta, 0.0)

    def extreme(self) -> tuple[Tensor, Tensor]:
        """Smallest Ritz value of each problem and its error."""
        diagonal, beta = torch.stack(self.diagonal, dim=1), torch.stack(self.offdiagonal, dim=1)
        inner = beta[:, :-1]
        projected = torch.diag_embed(diagonal) + torch.diag_embed(inner, 1) + torch.diag_embed(inner, -1)
        values, vectors = torch.linalg.eigh(projected)
        residuals = beta[:, -1, None] * vectors[:, -1].abs()
        error = residuals[:, 0]
        if values.shape[1] > 1:
            distance = values[:, 1] - residuals[:, 1] - values[:, 0]
            error = torch.where(error <= ISOLATED * distance, error * error / distance, error)
        return values[:, 0], error + ROUNDING * values.abs().amax(dim=1)
