"""What every optimizer here refuses: options out of range, in groups too, and gradients that are not dense."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["ByParameter", "Check", "CheckedOptimizer", "Parameters", "with_gradients"]

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]
Check = Callable[[Any], Any]


class CheckedOptimizer(Optimizer):
    """An optimizer whose options are checked wherever they are given: as defaults and for groups of their own.

    A subclass declares ``option_checks``: for options that have a range, a function that raises out of it.
    """

    option_checks: ClassVar[Mapping[str, Check]] = {}

    def __init__(self, params: Parameters, defaults: dict[str, Any]) -> None:
        self._check_options(defaults)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own, refusing what does not fit before anything changes.

        Raises
        ------
        TypeError, ValueError
            If an option is out of range, or a parameter cannot be moved.
        """
        self._check_options(param_group)
        super().add_param_group(param_group)
        try:
            for values in self.param_groups[-1]["params"]:
                self.check_values(values)
        except (TypeError, ValueError):
            self.param_groups.pop()
            raise

    def check_values(self, values: Tensor) -> None:
        """Refuse a parameter that cannot be moved.

        Raises
        ------
        TypeError
            If it holds no real floating-point numbers.
        """
        if not values.is_floating_point():
            raise TypeError(f"params must be floating-point; found a parameter of dtype {values.dtype}")

    def _check_options(self, options: Mapping[str, Any]) -> None:
        for name, check in self.option_checks.items():
            if name in options:
                check(options[name])


class ByParameter(Optimizer):
    """An optimizer that moves every parameter by its own gradient, in a method ``update``."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Go one step; parameters without a gradient stay.

        Parameters
        ----------
        closure : callable, optional
            Evaluates the loss again and returns it.

        Raises
        ------
        TypeError
            If a gradient is sparse; nothing has moved then.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for values, group in with_gradients(self):
            assert values.grad is not None
            self.update(values, values.grad, group)
        return loss

    def update(self, values: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Move one parameter, in place, and its state."""
        raise NotImplementedError


def with_gradients(optimizer: Optimizer) -> list[tuple[Tensor, dict[str, Any]]]:
    """Parameters that have a gradient, each with its group.

    Raises
    ------
    TypeError
        If a gradient is sparse.
    """
    moving = [
        (values, group)
        for group in optimizer.param_groups
        for values in group["params"]
        if values.grad is not None
    ]
    if any(values.grad.layout != torch.strided for values, _ in moving):
        raise TypeError(f"{type(optimizer).__name__} needs dense gradients; found a sparse one")
    return moving
