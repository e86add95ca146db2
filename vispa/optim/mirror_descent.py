"""`MirrorDescent`: steps of mirror descent on weights within (-1, 1), in the directions of Adam."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from solvers import checks
from vispa.nn.methods.mirror import mirror_step
from vispa.optim.checked import ByParameter, Check, CheckedOptimizer, Parameters

__all__ = ["MirrorDescent"]


def _betas(values: Any) -> None:
    if not isinstance(values, tuple | list) or len(values) != 2:
        raise TypeError(f"betas must be two numbers, those of Adam; found {values!r}")
    for each in values:
        if not 0.0 <= checks.scalar("betas", each) < 1.0:
            raise ValueError(f"betas must lie within [0, 1); found {values}")


class MirrorDescent(CheckedOptimizer, ByParameter):
    r"""MD-tanh: mirror descent with the entropy of two levels, :math:`\tanh(\mathrm{artanh}\, w - \eta \beta d)`.

    d is the direction of Adam, its root shifted by eps before the correction of its start, as published.

    Parameters
    ----------
    params : iterable
        Weights within (-1, 1): ``vispa.split_parameters(model).binary`` of a model of
        ``vispa.binarize(model, method="mirror", stable=False)``.
    lr : float, default 1e-3
        eta.
    beta : float, default 1
        Multiplies the step; raise it in training, with `vispa.OptionSchedule`.
    betas : (float, float)
        Of the running means of gradients and of their squares.
    eps : float, default 1e-8
        Added to the root.

    Raises
    ------
    TypeError, ValueError
        For options out of range and weights outside [-1, 1].

    References
    ----------
    Ajanthan et al., Mirror Descent View for Neural Network Quantization, AISTATS 2021.

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = MirrorDescent([weight], lr=0.5)
    >>> weight.sum().backward()
    >>> optimizer.step()
    >>> round(weight.item(), 4)
    -0.4621
    """

    option_checks: ClassVar[Mapping[str, Check]] = {
        "lr": partial(checks.scalar, "lr", minimum=0.0),
        "beta": partial(checks.scalar, "beta", positive=True),
        "betas": _betas,
        "eps": partial(checks.scalar, "eps", positive=True),
    }

    def __init__(
        self,
        params: Parameters,
        *,
        lr: float = 1e-3,
        beta: float = 1.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, {"lr": lr, "beta": beta, "betas": betas, "eps": eps})

    def check_values(self, values: Tensor) -> None:
        """Refuse weights outside [-1, 1], of which a step would make NaN; rounding may lead to the ends."""
        super().check_values(values)
        if not values.is_meta and not bool((values.detach().abs() <= 1.0).all()):
            raise ValueError(
                "params must hold weights within (-1, 1); found others. Make them so with "
                'vispa.binarize(model, method="mirror", stable=False), or give them to another optimizer'
            )

    def update(self, values: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Move one parameter, in place, and its state."""
        state = self.state[values]
        if not state:
            state["step"] = 0
            for name in ("mean", "square"):
                state[name] = torch.zeros_like(values, memory_format=torch.preserve_format)
        state["step"] += 1
        first, second = group["betas"]
        state["mean"].lerp_(gradient, 1.0 - first)
        state["square"].mul_(second).addcmul_(gradient, gradient, value=1.0 - second)
        direction = state["mean"] / (state["square"].sqrt() + group["eps"])
        rate = group["lr"] * math.sqrt(1.0 - second ** state["step"]) / (1.0 - first ** state["step"])
        values.copy_(mirror_step(values, direction, rate, group["beta"]))
