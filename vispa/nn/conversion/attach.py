"""`attach`: teach an optimizer about the posterior's parameters and its projection."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer

from vispa.nn.conversion.selection import BinaryLayer, binary_layers
from vispa.nn.weights.baselines import SignWeight

__all__ = ["attach", "project"]

OptimizerT = TypeVar("OptimizerT", bound=Optimizer)

_MARK = "_vispa_projection"


class _ProjectAfterStep:
    """Step post-hook. It keeps modules, not parameters, since those may be replaced when a model moves."""

    def __init__(self) -> None:
        self.layers: dict[int, BinaryLayer] = {}

    def __call__(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        for found in self.layers.values():
            found.weight.project(found.mean)


def attach(optimizer: OptimizerT, model: nn.Module) -> OptimizerT:
    """Make an optimizer train the posterior of a binarized model, and return it.

    Factors and alphas that the optimizer does not hold yet join the parameter group of their mean, so they
    follow its options and its schedule; the projection runs after every step. Call it once, whether the
    optimizer was made before or after :func:`vispa.binarize`; calling it again changes nothing. A deep copy
    of an optimizer loses its hooks: attach the copy to the copied model.

    Parameters
    ----------
    optimizer : Optimizer
        Holds the means of some or all binary layers; layers whose mean it does not hold are left alone.
    model : Module
        A model with binary layers; wrappers (compiled, DDP) are fine.

    Returns
    -------
    Optimizer
        The same object.

    Raises
    ------
    TypeError
        If ``optimizer`` is not a torch optimizer.
    ValueError
        If it holds no mean of the model, or the signs of a layer of method ``bop``, or is of a kind that
        prepares its state when it is built (Adagrad) and lacks a factor: make such an optimizer after
        ``binarize``.

    Notes
    -----
    Attach before ``optimizer.load_state_dict``, so that the groups match.

    Examples
    --------
    >>> import torch, vispa
    >>> model = torch.nn.Linear(4, 2)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> optimizer = vispa.attach(optimizer, vispa.binarize(model, keep=()))
    >>> len(optimizer.param_groups[0]["params"])  # mean, bias, alpha, factor
    4
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be a torch.optim.Optimizer; found {type(optimizer).__name__}")
    layers = binary_layers(model)
    groups = {id(values): group for group in optimizer.param_groups for values in group["params"]}
    held = [found for found in layers if id(found.mean) in groups]
    if not held:
        raise ValueError(
            "optimizer holds no mean of the model's binary layers; make it from model.parameters(), and "
            "attach a copied optimizer to the model that was copied with it"
        )
    for found in held:
        if isinstance(found.weight, SignWeight):
            raise ValueError(
                f"layer {found.name!r} has method 'bop': its signs are flipped by vispa.Bop, its other parameters "
                "trained by another optimizer; divide them with vispa.split_parameters, and attach nothing"
            )
    names = {id(values): name for name, values in model.named_parameters()}
    for found in held:
        for values in found.weight.parameters():
            if id(values) not in groups:
                _join(optimizer, groups[id(found.mean)], values, names[id(values)])
                groups[id(values)] = groups[id(found.mean)]
    _hook_of(optimizer).layers.update({id(found.weight): found for found in held})
    return optimizer


def project(model: nn.Module) -> None:
    """Apply the projection of every binary layer now, in place, as an attached optimizer does after a step.

    Parameters
    ----------
    model : Module
        A model with binary layers. Low-rank layers get rows on their spheres, channel by channel or, with
        ``projection="paper"``, row by row; ``projection="published"`` has nothing to project. ``ste`` and
        ``bernoulli`` layers get means in [-1, 1].

    Raises
    ------
    ValueError
        If a channel, or a row where rows are projected, is zero, mean and factor alike: it has no projection
        (claim G1 of theory_checks). Nothing is changed then.
    """
    layers = binary_layers(model)
    for found in layers:
        zeros = found.weight.zeros(found.mean)
        if zeros is not None:
            raise ValueError(
                f"layer {found.name!r}: {zeros}, which has no projection; initialise it away from zero"
            )
    for found in layers:
        found.weight.project(found.mean)


def _join(optimizer: Optimizer, group: dict[str, Any], values: torch.Tensor, name: str) -> None:
    if isinstance(optimizer, torch.optim.Adagrad):
        raise ValueError(
            f"optimizer is an Adagrad, which prepares its state when it is built, and lacks {name!r}; make "
            "it after binarize"
        )
    group["params"].append(values)
    if "param_names" in group:
        group["param_names"].append(name)


def _hook_of(optimizer: Optimizer) -> _ProjectAfterStep:
    hook = getattr(optimizer, _MARK, None)
    if not isinstance(hook, _ProjectAfterStep):
        hook = _ProjectAfterStep()
        optimizer.register_step_post_hook(hook)
        # Like the hook itself, a plain attribute does not survive a deep copy of the optimizer.
        setattr(optimizer, _MARK, hook)
    return hook
