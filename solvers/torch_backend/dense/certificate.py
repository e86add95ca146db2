r"""Lower bounds for a batch of small dense problems, by Cholesky factorisations in float64.

For any y with S = C - Diag(y) positive semidefinite, 1^T y is a bound.  A factorisation of S + t I that completes
shows \lambda_min(S) >= -t up to rounding of order eps |S|, which is taken off: then 1^T y - N (t + eps |S|) is one.

Where the multipliers of a nearly optimal factor give no bound inside the tolerance, `polish` turns to the dual
problem itself: Newton steps on 1^T y + mu log det(C - Diag(y)) from the shifted multipliers, with mu falling with
the gap (Helmberg, Rendl, Vanderbei and Wolkowicz 1996; Benson, Ye and Zhang 2000).  The factor's value supplies
what these methods otherwise need a primal iterate for.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from solvers.torch_backend.dense.cholesky import factorise, inverse

EPSILON = torch.finfo(torch.float64).eps
# Of the gap allowed: the rest is left for rounding.
SHARE = 0.9
# The closer the first y inside S > 0 is to the multipliers, the fewer Newton steps follow.
RUNG = 2.0
# Enough rungs to climb from rounding to the size of the cost.
MAX_RUNGS = 80
# The barrier parameter aims at a gap this many times smaller.
REDUCTION = 2.0
MAX_NEWTON_STEPS = 20
# Of the step that is sure to stay inside.
INSIDE = 0.95
# A step that leaves more than this share of the gap was the last.
TOO_LITTLE = 0.8


class Bound(NamedTuple):
    """Lower bounds (b,) of scaled problems and the y (b, N) behind them."""

    bound: Tensor
    dual: Tensor


def multipliers(costs: Tensor, factors: Tensor) -> Tensor:
    """y_i = <(C V)_i, v_i>, (b, N); its sum is the value."""
    return (torch.bmm(costs, factors) * factors).sum(dim=2)


def multipliers_and_slope(costs: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
    """The multipliers y, and (C - Diag(y)) V, (b, N, k), from one product."""
    image = torch.bmm(costs, factors)
    dual = (image * factors).sum(dim=2)
    return dual, torch.addcmul(image, dual[:, :, None], factors, value=-1.0)


def normalised(factors: Tensor) -> Tensor:
    """Rows of length one in float64."""
    rows = factors.double()
    return rows / torch.linalg.vector_norm(rows, dim=2, keepdim=True)


def slack(costs: Tensor, dual: Tensor, shift: Tensor, *, spare: bool = False) -> Tensor:
    """C - Diag(y) + t I, with t (b,); in the place of the costs where those are ``spare``."""
    matrices = costs if spare else costs.clone()
    matrices.diagonal(dim1=1, dim2=2).sub_(dual - shift[:, None])
    return matrices


def rounding(costs: Tensor, dual: Tensor) -> Tensor:
    """What a completed factorisation may leave unseen of a negative eigenvalue, (b,): eps times the norm of S."""
    return EPSILON * (torch.linalg.vector_norm(costs, dim=(1, 2)) + torch.linalg.vector_norm(dual, dim=1))


def certify(
    costs: Tensor, dual: Tensor, value: Tensor, allowed: Tensor, *, spare: bool = False
) -> tuple[Tensor, Tensor]:
    """Whether y proves a gap within ``allowed`` (b,) of the value, and the bound that it then gives.

    Costs that are ``spare`` are overwritten.
    """
    order = costs.shape[1]
    error = rounding(costs, dual)
    shift = (SHARE * allowed - value + dual.sum(dim=1)) / order - error
    _, failed = factorise(slack(costs, dual, shift, spare=spare))
    # a zero cost is its own proof
    proved = (~failed & (shift > 0.0)) | (allowed == 0.0)
    return proved, dual.sum(dim=1) - order * (shift + error)


def climb(costs: Tensor, dual: Tensor, shift: Tensor) -> Bound:
    """The best bound on a ladder of shifts, each ``RUNG`` times the last; all are tried that are needed.

    ``shift`` (b,) is the first, positive.  Returns y with the shift taken off, strictly inside S > 0.
    """
    remaining = torch.arange(costs.shape[0], device=costs.device)
    inside = torch.full_like(dual, -torch.inf)
    error = rounding(costs, dual)
    shift = shift + error
    for _ in range(MAX_RUNGS):
        _, failed = factorise(slack(costs[remaining], dual[remaining], shift[remaining]))
        passed = remaining[~failed]
        inside[passed] = dual[passed] - shift[passed, None]
        remaining = remaining[failed]
        if remaining.numel() == 0:
            break
        shift = RUNG * shift
    return Bound(inside.sum(dim=1) - costs.shape[1] * error, inside)


def polish(costs: Tensor, start: Bound, value: Tensor, allowed: Tensor) -> Bound:
    """Raise the bounds of problems whose factor is nearly optimal, until the gap is within ``allowed`` (b,).

    Problems leave when their gap is small enough, or when a Newton step no longer pays.  A step costs O(b N^3).
    """
    bound, dual = start.bound.clone(), start.dual.clone()
    going = torch.arange(costs.shape[0], device=costs.device)
    for _ in range(MAX_NEWTON_STEPS):
        going = going[value[going] - bound[going] > SHARE * allowed[going]]
        if going.numel() == 0:
            break
        gap = value[going] - bound[going]
        stepped, _ = newton_step(costs[going], dual[going], gap)
        found = stepped.sum(dim=1) - costs.shape[1] * rounding(costs[going], stepped)
        better = found > bound[going]
        bound[going[better]], dual[going[better]] = found[better], stepped[better]
        going = going[value[going] - bound[going] <= TOO_LITTLE * gap]
    return confirmed(costs, Bound(bound, dual), start)


def confirmed(costs: Tensor, found: Bound, start: Bound) -> Bound:
    """What was found, where its y is inside S > 0 indeed, and the start elsewhere.

    A Newton step cannot leave S > 0, but for what rounding does to it where S is nearly singular.
    """
    _, failed = factorise(slack(costs, found.dual, torch.zeros_like(found.bound)))
    return Bound(
        torch.where(failed, start.bound, found.bound), torch.where(failed[:, None], start.dual, found.dual)
    )


def newton_step(costs: Tensor, dual: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
    """One damped step toward the central path, never out of S > 0, and S^-1 before it.

    Where rounding allows no step, y itself comes back.
    """
    root, failed = factorise(slack(costs, dual, torch.zeros_like(gap)))
    inverted = inverse(root)
    # mu = gap/(REDUCTION N), and the step d solves (S^-1 o S^-1) d = 1/mu - diag(S^-1)
    aim = REDUCTION * costs.shape[1] / gap
    residual = aim[:, None] - inverted.diagonal(dim1=1, dim2=2)
    hessian_root, singular = factorise(inverted.square())
    step = torch.cholesky_solve(residual[..., None], hessian_root)[..., 0]
    # the decrement is the Frobenius norm of L^-1 Diag(d) L^-T, S = L L^T: below one, S - Diag(d) stays positive
    decrement = torch.sqrt((step * residual).sum(dim=1).clamp_min(0.0))
    length = (INSIDE / decrement).clamp_max(1.0)
    usable = ~failed & ~singular & torch.isfinite(step).all(dim=1)
    return torch.where(usable[:, None], dual + length[:, None] * step, dual), inverted
