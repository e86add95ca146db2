"""Binary parameters to one optimizer, all others to another, and both as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from vispa.nn.conversion.selection import binary_layers

__all__ = ["OptimizerGroup", "SplitParameters", "split_parameters"]


class SplitParameters(NamedTuple):
    """The (latent) signs, and all other parameters: scales, biases, batch normalisation, real layers."""

    binary: list[nn.Parameter]
    real: list[nn.Parameter]


def split_parameters(model: nn.Module) -> SplitParameters:
    """Tell what an optimizer of its own moves in a binarized model from the other parameters.

    That is what methods ``"bop"``, ``"bayesbinn"``, ``"adaste"`` and ``"mirror"`` keep in place of weights.

    Returns
    -------
    SplitParameters
        ``binary`` for `vispa.Bop`, `vispa.Bop2ndOrder`, `vispa.BayesBiNN` or `vispa.MirrorDescent`, ``real`` for
        Adam or another; every parameter of the
        model once, in its order.

    Raises
    ------
    TypeError, ValueError
        If ``model`` is no module, or no layer has an optimizer of its own.

    Examples
    --------
    >>> import torch, vispa
    >>> model = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(3)))
    >>> binary, real = split_parameters(vispa.binarize(model, method="bop"))
    >>> optimizers = OptimizerGroup(vispa.Bop(binary), torch.optim.Adam(real))
    >>> len(binary), len(real)
    (1, 6)
    """
    signs = {id(found.mean) for found in binary_layers(model) if found.weight.own_optimizer}
    if not signs:
        raise ValueError(
            "model has no layer whose method has an optimizer of its own; make it with "
            'vispa.binarize(model, method="bop"), or with method "bayesbinn", "adaste" or "mirror"'
        )
    parameters = list(model.parameters())
    return SplitParameters(
        [values for values in parameters if id(values) in signs],
        [values for values in parameters if id(values) not in signs],
    )


class Stepping(Protocol):
    """An optimizer or a schedule, as far as a training loop and a checkpoint need it."""

    def step(self) -> Any:
        """Go one step."""

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Go on where `state_dict` was taken."""


class OptimizerGroup:
    """Several optimizers, or several schedules, that step, save and load as one.

    Raises
    ------
    ValueError, TypeError
        If there is no member, or one that is neither.

    Examples
    --------
    >>> import torch
    >>> first, second = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    >>> both = OptimizerGroup(torch.optim.SGD([first], lr=0.1), torch.optim.Adam([second], lr=0.1))
    >>> (first + second).backward()
    >>> both.step()
    >>> round(first.item(), 3), round(second.item(), 3)
    (0.9, 0.9)
    """

    def __init__(self, *members: Stepping) -> None:
        if not members:
            raise ValueError("members must not be empty")
        for member in members:
            if not all(
                callable(getattr(member, name, None)) for name in ("step", "state_dict", "load_state_dict")
            ):
                raise TypeError(f"members must be optimizers or schedules; found {type(member).__name__}")
        self.members = members

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all optimizers, which gradient scalers and gradient clipping look through."""
        return [group for member in self.members for group in member.param_groups]  # type: ignore[attr-defined]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Step each, in order.

        Parameters
        ----------
        closure : callable, optional
            Evaluates the loss, calls ``backward`` and returns the loss: once, before the first member steps.

        Returns
        -------
        object
            What the closure returned; None without one.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for member in self.members:
            member.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients that the optimizers hold."""
        for member in self.members:
            member.zero_grad(set_to_none=set_to_none)  # type: ignore[attr-defined]

    def state_dict(self) -> dict[str, Any]:
        """One entry a member."""
        return {"members": [member.state_dict() for member in self.members]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore each member.

        Raises
        ------
        ValueError
            If the number of members differs.
        """
        states = state_dict["members"]
        if len(states) != len(self.members):
            raise ValueError(f"state_dict must have {len(self.members)} members; found {len(states)}")
        for member, state in zip(self.members, states, strict=True):
            member.load_state_dict(state)
