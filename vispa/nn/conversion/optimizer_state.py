"""Names beside an optimizer's saved state, so that each parameter gets its own state back, in any order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

__all__ = ["StateNames", "plain_names"]

KEY = "parameter_names"
# State of the shape of its parameter, in the optimizers of torch.
_LIKE_THE_PARAMETER = ("exp_avg", "exp_avg_sq", "momentum_buffer", "square_avg")


def plain_names(model: nn.Module) -> dict[int, str]:
    """Return the names of a model's parameters by their ids, without the prefixes of wrappers."""
    return {
        id(values): name.replace("_orig_mod.", "").removeprefix("module.")
        for name, values in model.named_parameters()
    }


class StateNames:
    """Hooks that save the names of an optimizer's parameters, and check and sort by them when it loads."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def follow(self, optimizer: Optimizer) -> None:
        """Register the hooks."""
        optimizer.register_state_dict_post_hook(self.save)
        optimizer.register_load_state_dict_pre_hook(self.load)

    def save(self, optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
        """Add the names, one list a group; parameters of another model have none."""
        return {**state_dict, KEY: self._names(optimizer)}

    def load(self, optimizer: Optimizer, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        """Return the state with every group in the optimizer's own order.

        Raises
        ------
        ValueError
            If it was saved for other parameters, or, where it has no names, for other shapes.
        """
        groups = [dict(group) for group in state_dict["param_groups"]]
        if KEY in state_dict:
            saved, own = state_dict[KEY], self._names(optimizer)
            if [sorted(names) for names in saved] != [sorted(names) for names in own]:
                raise ValueError(
                    "state_dict must hold the state of the optimizer's parameters, group by group; "
                    f"{_difference(saved, own)}"
                )
            for group, names, mine in zip(groups, saved, own, strict=True):
                if "" not in names:
                    position = dict(zip(names, group["params"], strict=True))
                    group["params"] = [position[name] for name in mine]
        self._check_shapes(optimizer, groups, state_dict["state"])
        return {**state_dict, "param_groups": groups}

    def _names(self, optimizer: Optimizer) -> list[list[str]]:
        names = plain_names(self.model)
        return [[names.get(id(values), "") for values in group["params"]] for group in optimizer.param_groups]

    def _check_shapes(
        self, optimizer: Optimizer, groups: list[dict[str, Any]], states: Mapping[Any, Any]
    ) -> None:
        names = plain_names(self.model)
        for group, own in zip(groups, optimizer.param_groups, strict=False):
            for number, values in zip(group["params"], own["params"], strict=False):
                for key in _LIKE_THE_PARAMETER:
                    found = states.get(number, {}).get(key)
                    if getattr(found, "shape", values.shape) != values.shape:
                        raise ValueError(
                            f"state_dict must hold state of shape {tuple(values.shape)} for "
                            f"{names.get(id(values), 'a parameter')!r}; found {tuple(found.shape)}: it was saved "
                            "in another order of the parameters, before the optimizer was attached"
                        )


def _difference(saved: list[list[str]], own: list[list[str]]) -> str:
    before, now = {name for names in saved for name in names}, {name for names in own for name in names}
    if before == now:
        return f"found {len(saved)} group(s) that divide them otherwise"
    return (
        f"missing: {', '.join(map(repr, sorted(now - before))) or 'none'}; "
        f"left over: {', '.join(map(repr, sorted(before - now))) or 'none'}"
    )
