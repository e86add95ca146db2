"""What an optimizer needs to train a posterior: hooks of its own, and groups that take more parameters."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["refuse_new_parameter", "stepping_optimizer", "takes"]

# Where wrappers (sharpness-aware minimisation, accelerate, lookahead) keep the optimizer that steps.
_INSIDE = ("base_optimizer", "optimizer")


def stepping_optimizer(optimizer: object) -> Optimizer:
    """Return the optimizer that steps: the one given, or the one inside a wrapper.

    Raises
    ------
    TypeError
        If there is none, it was never initialised, or it steps without ``step()``.
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be a torch.optim.Optimizer; found {type(optimizer).__name__}")
    inside = next((getattr(optimizer, name, None) for name in _INSIDE if hasattr(optimizer, name)), None)
    if isinstance(inside, Optimizer):
        return stepping_optimizer(inside)
    kind = type(optimizer).__name__
    if hasattr(optimizer, "first_step"):
        raise TypeError(
            f"optimizer must keep the optimizer that steps as its base_optimizer; found a {kind}, whose "
            "first_step and second_step nothing can follow: call vispa.project(model) after second_step"
        )
    if not hasattr(optimizer, "_optimizer_step_post_hooks"):
        raise TypeError(
            f"optimizer must be initialised; found a {kind} whose __init__ does not call "
            "torch.optim.Optimizer.__init__, so that nothing can follow its steps"
        )
    return optimizer


def takes(optimizer: Optimizer, values: Tensor) -> bool:
    """Say whether the optimizer trains parameters of such a shape: Muon trains matrices alone."""
    return not _is_for_matrices(optimizer) or values.ndim == 2


def refuse_new_parameter(optimizer: Optimizer, values: Tensor, name: str) -> None:
    """Raise where the optimizer cannot take a parameter any more, or not one of its shape.

    Raises
    ------
    ValueError
        In words that name the order or the second optimizer that works.
    """
    if isinstance(optimizer, torch.optim.Adagrad):
        raise ValueError(
            f"optimizer is an Adagrad, which prepares its state when it is built, and lacks {name!r}; make "
            "it after binarize"
        )
    if isinstance(optimizer, torch.optim.LBFGS) and optimizer.state:
        raise ValueError(
            f"optimizer is an LBFGS that has made a step, whose history lacks {name!r}; attach it before its "
            "first step"
        )
    if not takes(optimizer, values):
        raise ValueError(
            f"optimizer is a {type(optimizer).__name__}, which trains matrices alone, and {name!r} has shape "
            f"{tuple(values.shape)}; attach it together with one that trains the rest, as in "
            "vispa.attach([muon, adamw], model)"
        )


def _is_for_matrices(optimizer: Optimizer) -> bool:
    # torch has it from 2.9 on; others have been published under the same name.
    return any(base.__name__ == "Muon" for base in type(optimizer).__mro__)
