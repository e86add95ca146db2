"""What `solve_batch` returns: one tensor a quantity, and each problem's own `Solution` on request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from solvers import checks
from solvers.linalg.sphere import normalise
from solvers.problems.problem import BinaryQuadratic
from solvers.problems.solution import STATUSES, Solution, Status
from solvers.torch_backend.common.many import ManySolutions


@dataclass(frozen=True, eq=False, repr=False)
class BatchSolution(ManySolutions):
    r"""Points of B elliptopes, a bound for each, and how each was found.

    Row i of every tensor belongs to problem i.  All are on the device of the costs; numbers are float64 whatever
    the costs are, the factor has their dtype.

    Attributes
    ----------
    value : (B,) Tensor
        :math:`\langle C, V V^T\rangle`, NaN where the problem failed.  Where costs or linear terms require a
        gradient it carries one, that of a fixed V: :math:`V V^T` for the costs, symmetric, and
        :math:`\langle v_0, v_i\rangle` for the linear terms.  It is exact wherever :math:`V V^T` is the only
        optimum (Danskin).
    lower_bound : (B,) Tensor
        A bound on every feasible and so on every binary value; -inf where the problem failed.  It carries no
        gradient: it is a number computed about one problem, not a formula in its costs.
    gap : (B,) Tensor
        (value - lower_bound) / max(\|value\|, \|C\|_F), and 0 for C = 0.
    status : (B,) int64 Tensor
        Places in `statuses`.
    factor : (B, N, k) Tensor
        Unit rows; N = n + 1 with the homogenising row first where there are linear terms.
    dual : (B, N) Tensor
        The y behind each bound.
    iterations : (B,) int64 Tensor
        Sweeps.
    seconds : float
        Wall-clock time of the whole batch.
    costs, linear : Tensor
        What was solved.
    """

    value: Tensor
    lower_bound: Tensor
    gap: Tensor
    status: Tensor
    factor: Tensor
    dual: Tensor
    iterations: Tensor
    seconds: float
    costs: Tensor
    linear: Tensor | None

    def solution(self, index: int) -> Solution:
        """The `Solution` of one problem, in NumPy arrays, as `solvers.low_rank` returns it.

        Raises
        ------
        ValueError
            If there is no such problem, or if it failed because its costs are not finite.
        """
        index = checks.integer("index", index, minimum=0, maximum=len(self) - 1)
        status = STATUSES[int(self.status[index])]
        if status is Status.FAILED:
            raise ValueError(f"index {index} is a problem whose costs were not finite: it has no solution")
        problem = self._problem(index)
        # a problem without a linear term of its own has no homogenising row
        first = self.factor.shape[1] - problem.relaxation().size
        factor = self.factor[index, first:].detach().double().cpu().numpy()
        used = int(np.flatnonzero(np.any(factor, axis=0)).max()) + 1
        return Solution(
            problem=problem,
            factor=normalise(factor[:, :used]),
            value=float(self.value[index]),
            lower_bound=float(self.lower_bound[index]),
            gap=float(self.gap[index]),
            dual=self.dual[index, first:].cpu().numpy(),
            certificate="estimate",
            status=status,
            iterations=int(self.iterations[index]),
            seconds=self.seconds,
        )

    def _problem(self, index: int) -> BinaryQuadratic:
        costs = self.costs[index].detach().double().cpu().numpy()
        linear = None if self.linear is None else self.linear[index].detach().double().cpu().numpy()
        return BinaryQuadratic(0.5 * costs + 0.5 * costs.T, linear)


class _Value(torch.autograd.Function):
    """Attach the gradient of <C, V V^T> with V fixed to values that are known already."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, factor: Tensor, costs: Tensor, linear: Tensor | None) -> Tensor:
        ctx.save_for_backward(factor)
        ctx.has_linear = linear is not None
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (factor,) = ctx.saved_tensors
        first = 1 if ctx.has_linear else 0
        rows = factor[:, first:]
        weight = gradient.to(factor.dtype)
        costs = linear = None
        if ctx.needs_input_grad[2]:
            costs = weight[:, None, None] * (rows @ rows.mT)
        if ctx.has_linear and ctx.needs_input_grad[3]:
            linear = weight[:, None] * (rows @ factor[:, 0, :, None])[..., 0]
        return None, None, costs, linear


def differentiable_value(value: Tensor, factor: Tensor, costs: Tensor, linear: Tensor | None) -> Tensor:
    """The values, with their gradient where costs or linear terms want one."""
    wanted = costs.requires_grad or (linear is not None and linear.requires_grad)
    return _Value.apply(value, factor, costs, linear) if wanted else value
