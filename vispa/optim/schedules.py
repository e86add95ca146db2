"""Schedules on any option of an optimizer: gamma, sigma and threshold of Bop as well as a learning rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer

from solvers import checks
from vispa.optim.checked import CheckedOptimizer
from vispa.optim.sign_optimizer import SignOptimizer

__all__ = ["LinearSchedule", "OptionSchedule", "StepSchedule"]

Schedule = Callable[[float, int], float]


@dataclass(frozen=True)
class StepSchedule:
    """Multiply by ``factor``, in (0, 1], after every ``every`` steps.

    Examples
    --------
    >>> [StepSchedule(0.5, every=2)(8.0, step) for step in range(5)]
    [8.0, 8.0, 4.0, 4.0, 2.0]
    """

    factor: float
    every: int

    def __post_init__(self) -> None:
        if checks.scalar("factor", self.factor, positive=True) > 1:
            raise ValueError(f"factor must be at most 1; found {self.factor}")
        checks.integer("every", self.every, minimum=1)

    def __call__(self, initial: float, step: int) -> float:
        """Value after ``step`` steps."""
        return float(initial * self.factor ** (step // self.every))


@dataclass(frozen=True)
class LinearSchedule:
    """Go straight from the initial value to ``end`` in ``steps`` steps, and stay there.

    Examples
    --------
    >>> [LinearSchedule(2.0, steps=4)(10.0, step) for step in range(6)]
    [10.0, 8.0, 6.0, 4.0, 2.0, 2.0]
    """

    end: float
    steps: int

    def __post_init__(self) -> None:
        checks.scalar("end", self.end, minimum=0.0)
        checks.integer("steps", self.steps, minimum=1)

    def __call__(self, initial: float, step: int) -> float:
        """Value after ``step`` steps."""
        if step >= self.steps:
            return float(self.end)
        return float(initial + (self.end - initial) * (step / self.steps))


class OptionSchedule:
    """Set options of an optimizer's parameter groups, each by a schedule of its own, step by step.

    Parameters
    ----------
    optimizer : Optimizer
        Any torch optimizer.
    **schedules : callable
        From the option's name to a function of its initial value and the number of steps done, such as
        `StepSchedule` and `LinearSchedule`.  The initial values are those that the groups have now.

    Raises
    ------
    TypeError
        If ``optimizer`` is none, or a schedule cannot be called.
    ValueError
        If a group has no such option, its value is no number, or the schedule ends out of the option's range.

    Notes
    -----
    A value depends on the initial one and the number of steps alone, so a schedule restored by
    `load_state_dict` goes on exactly.

    Examples
    --------
    >>> import torch, vispa
    >>> optimizer = vispa.Bop([torch.ones(3, requires_grad=True)], gamma=1e-2)
    >>> falling = LinearSchedule(0.0, steps=10)
    >>> schedule = OptionSchedule(optimizer, gamma=StepSchedule(0.1, every=1), threshold=falling)
    >>> schedule.step()
    >>> round(optimizer.param_groups[0]["gamma"], 12)
    0.001
    """

    def __init__(self, optimizer: Optimizer, **schedules: Schedule) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be a torch.optim.Optimizer; found {type(optimizer).__name__}")
        if not schedules:
            raise ValueError("schedules must name at least one option of the optimizer")
        self.optimizer = optimizer
        self.schedules = schedules
        self.steps = 0
        self.initial = [
            {name: self._initial_value(group, name) for name in schedules} for group in optimizer.param_groups
        ]

    def step(self) -> None:
        """Count one step and set the options to their values after it.

        Raises
        ------
        TypeError, ValueError
            If a value is out of the option's range; nothing is set then.
        """
        self._apply(self.steps + 1)
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and containers."""
        return {"steps": self.steps, "initial": [dict(values) for values in self.initial]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken, and set the options accordingly.

        Raises
        ------
        ValueError
            If it was taken from another number of groups or other options.
        """
        initial = state_dict["initial"]
        if len(initial) != len(self.initial) or any(set(values) != set(self.schedules) for values in initial):
            raise ValueError(
                f"state_dict must hold {len(self.initial)} group(s) with the options "
                f"{', '.join(self.schedules)}; found {[sorted(values) for values in initial]}"
            )
        self.initial = [dict(values) for values in initial]
        self.steps = int(state_dict["steps"])
        self._apply(self.steps)

    def _apply(self, steps: int) -> None:
        groups = self.optimizer.param_groups
        # A group that was added since starts its schedule from the values that it has now.
        self.initial += [
            {name: self._initial_value(group, name) for name in self.schedules}
            for group in groups[len(self.initial) :]
        ]
        values = [
            {
                name: self._checked(name, schedule(initial[name], steps))
                for name, schedule in self.schedules.items()
            }
            for initial in self.initial
        ]
        for group, found in zip(groups, values, strict=True):
            group.update(found)

    def _checked(self, name: str, value: float) -> float:
        """A value within the range of an option of an optimizer of this library; others have none that is known."""
        if isinstance(self.optimizer, (SignOptimizer, CheckedOptimizer)):
            check = self.optimizer.option_checks.get(name)
            if check is not None:
                check(value)
        return value

    def _initial_value(self, group: dict[str, Any], name: str) -> float:
        schedule = self.schedules[name]
        if not callable(schedule):
            raise TypeError(
                f"{name} must be a schedule, such as LinearSchedule; found {type(schedule).__name__}"
            )
        if isinstance(self.optimizer, SignOptimizer) and name not in self.optimizer.option_checks:
            self.optimizer.checked_option(name, None)
        if not isinstance(group.get(name), (int, float)) or isinstance(group[name], bool):
            raise ValueError(
                f"optimizer must have a number as its option {name!r}; found {group.get(name)!r}"
            )
        if isinstance(self.optimizer, SignOptimizer) and isinstance(schedule, LinearSchedule):
            self.optimizer.checked_option(name, schedule.end)
        return float(group[name])
