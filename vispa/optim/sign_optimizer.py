"""What optimizers share whose parameters are the signs themselves: checked options, one update a parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from solvers import checks
from vispa.optim.checked import ByParameter, Check, Parameters
from vispa.optim.update import RunningMean

__all__ = ["Check", "Parameters", "SignOptimizer", "rate"]

# What a parameter group holds beside its options.
_NOT_OPTIONS = frozenset({"params", "param_names"})


def rate(name: str) -> Check:
    """Return the check of a running mean's rate, in (0, 1]."""

    def check(value: Any) -> float:
        value = checks.scalar(name, value, positive=True)
        if value > 1:
            raise ValueError(f"{name} must be at most 1, the rate of a running mean; found {value}")
        return value

    return check


class OptionsOfSigns(dict[str, Any]):
    """A parameter group that says which options it has where another optimizer's is asked for."""

    def __missing__(self, name: str) -> Any:
        if name == "lr":
            raise ValueError(
                "an optimizer of signs has no learning rate 'lr', which torch's schedulers change; schedule its "
                f"own options ({', '.join(key for key in self if key != 'params')}) with vispa.OptionSchedule"
            )
        raise KeyError(name)


class SignOptimizer(ByParameter):
    """What the optimizers here share: parameters of +1 and -1, checked options, one update a parameter.

    A subclass declares ``option_checks``: for every option a function that returns its value or raises.
    """

    option_checks: ClassVar[Mapping[str, Check]] = {}

    def __init__(self, params: Parameters, defaults: dict[str, Any]) -> None:
        for name, value in defaults.items():
            self.checked_option(name, value)
        super().__init__(params, defaults)

    @classmethod
    def checked_option(cls, name: str, value: Any) -> Any:
        """Return an option's value, or say why it is out of range; refuse an option that there is not."""
        if name not in cls.option_checks:
            raise ValueError(f"{cls.__name__} has no option {name!r}; it has {', '.join(cls.option_checks)}")
        return cls.option_checks[name](value)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own, refusing what does not fit before anything changes.

        Raises
        ------
        TypeError
            If a parameter is complex or of half precision, or an option is no number.
        ValueError
            If a parameter has entries other than +1 and -1, an option is out of range, or there is no such
            option.
        """
        # torch adds options of its own to the defaults of an optimizer that was copied or loaded.
        for name in set(param_group) - _NOT_OPTIONS - set(self.defaults):
            self.checked_option(name, param_group[name])
        super().add_param_group(param_group)
        group = self.param_groups[-1] = OptionsOfSigns(self.param_groups[-1])
        try:
            for name in self.option_checks:
                group[name] = self.checked_option(name, group[name])
            for values in group["params"]:
                _check_signs(values)
        except (TypeError, ValueError):
            self.param_groups.pop()
            raise

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a checkpoint; options that it does not know take their defaults."""
        super().__setstate__(state)
        self.param_groups = [OptionsOfSigns(group) for group in self.param_groups]
        for group in self.param_groups:
            for name in self.option_checks:
                group.setdefault(name, self.defaults[name])

    def running_mean(self, signs: Tensor, name: str) -> RunningMean:
        """Return a running mean of a parameter's state, zero at its first use."""
        state = self.state[signs]
        if name not in state:
            state[name] = torch.zeros_like(signs, memory_format=torch.preserve_format)
            state[f"{name}_weight"] = 0.0
        return RunningMean(state[name], state[f"{name}_weight"])

    def store(self, signs: Tensor, name: str, mean: RunningMean) -> None:
        """Keep a running mean; its tensor stays the same object."""
        state = self.state[signs]
        state[name].copy_(mean.value)
        state[f"{name}_weight"] = mean.weight


def _check_signs(values: Tensor) -> None:
    if values.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"params must be float32 or float64; found a parameter of dtype {values.dtype}")
    # A parameter on the meta device has no entries to look at.
    if not values.is_meta and not bool((values.detach().abs() == 1).all()):
        raise ValueError(
            "params must hold entries +1 and -1 only; found others. Make them so with "
            'vispa.binarize(model, method="bop"), or give them to another optimizer'
        )
