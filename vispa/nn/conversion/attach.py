"""`attach`: teach an optimizer about the posterior's parameters and its projection."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, TypeVar, overload

from torch import Tensor, nn
from torch.optim import Optimizer

from vispa.nn.conversion.optimizer_kinds import refuse_new_parameter, stepping_optimizer, takes
from vispa.nn.conversion.optimizer_state import StateNames, plain_names
from vispa.nn.conversion.selection import BinaryLayer, binary_layers
from vispa.nn.conversion.still_signs import StillSigns

_log = logging.getLogger(__name__)

__all__ = ["attach", "project"]

OptimizerT = TypeVar("OptimizerT", bound=Optimizer)

_MARK = "_vispa_projection"


class _ProjectAfterStep:
    """Step hooks. They keep modules, not parameters, since those may be replaced when a model moves."""

    def __init__(self) -> None:
        self.layers: dict[int, BinaryLayer] = {}
        self.still_signs = StillSigns()

    def before(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        """Step pre-hook."""
        for found in self.layers.values():
            found.weight.before_step(found.mean)

    def __call__(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        for found in self.layers.values():
            found.weight.follow(found.mean)
        self.still_signs.after_step(optimizer, self.layers.values())


@overload
def attach(optimizer: OptimizerT, model: nn.Module) -> OptimizerT: ...


@overload
def attach(optimizer: Sequence[Optimizer], model: nn.Module) -> list[Optimizer]: ...


def attach(optimizer: Any, model: nn.Module) -> Any:
    """Make an optimizer, or several, train the posterior of a binarized model, and return what was given.

    Factors and alphas that no optimizer holds yet join the parameter group of their mean, so they follow its
    options and its schedule; the projection runs after every step. Call it once, whether the optimizer was
    made before or after :func:`vispa.binarize`, the parameters are in the same order then; calling it again
    changes nothing. A deep copy of an optimizer loses its hooks: attach the copy to the copied model.

    Parameters
    ----------
    optimizer : Optimizer, or sequence of Optimizer
        Holds the means of some or all binary layers; layers whose mean it does not hold are left alone. In a
        wrapper (sharpness-aware minimisation, accelerate) the optimizer inside is attached. Of several, what
        one cannot train (Muon trains matrices alone) goes to another.
    model : Module
        A model with binary layers; wrappers (compiled, DDP) are fine.

    Returns
    -------
    Optimizer, or list of Optimizer
        The same objects.

    Raises
    ------
    TypeError
        If ``optimizer`` is not a torch optimizer, was never initialised, or steps without ``step()``.
    ValueError
        If it holds no mean of the model, or the signs of a layer of method ``bop``, if two of several hold
        one mean, or if it lacks a factor and is of a kind that cannot take it: Adagrad, which prepares its
        state when it is built, LBFGS after a step, Muon alone. Nothing is changed then.

    Notes
    -----
    Attach before ``optimizer.load_state_dict``, so that the groups match. What ``optimizer.state_dict()``
    returns holds the names of the parameters too, under ``"parameter_names"``: when it is loaded, each
    parameter gets its own state whatever the order, and a state of other parameters is refused.

    After 400 steps it warns, once, where fewer than a thousandth of the signs of a layer have turned that trains
    otherwise: a learning rate too small for the size of its latent weights.

    Examples
    --------
    >>> import torch, vispa
    >>> model = torch.nn.Linear(4, 2)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> optimizer = vispa.attach(optimizer, vispa.binarize(model, keep=()))
    >>> len(optimizer.param_groups[0]["params"])  # mean, bias, alpha, factor
    4
    """
    several = isinstance(optimizer, Sequence)
    optimizers = [stepping_optimizer(each) for each in (optimizer if several else [optimizer])]
    held = _held_layers(optimizers, binary_layers(model))
    names = plain_names(model)
    joining = _joining(optimizers, held, names)
    for each, _, values in joining:
        refuse_new_parameter(each, values, names[id(values)])
    for _, group, values in joining:
        _join(group, values, names)
    for group in {id(group): group for _, group, _ in joining}.values():
        _sort(group, names)
    for each, layers in zip(optimizers, held, strict=True):
        _hook_of(each, model).layers.update({id(found.weight): found for found in layers})
        _log.info("%s trains the posteriors of %d layers", type(each).__name__, len(layers))
    return list(optimizer) if several else optimizer


def _held_layers(optimizers: list[Optimizer], layers: list[BinaryLayer]) -> list[list[BinaryLayer]]:
    """Return the layers whose mean each optimizer holds; refuse means that none or two of them hold."""
    held = []
    owner: dict[int, int] = {}
    for number, optimizer in enumerate(optimizers):
        ids = {id(values) for group in optimizer.param_groups for values in group["params"]}
        held.append([found for found in layers if id(found.mean) in ids])
        for found in held[-1]:
            if owner.setdefault(id(found.mean), number) != number:
                raise ValueError(
                    f"layer {found.name!r}: its mean is held by two of the optimizers; give every parameter to one"
                )
            if not found.weight.takes_any_optimizer:
                raise ValueError(
                    f"layer {found.name!r} has method {found.weight.method.name!r}: its weights are moved by "
                    f"{found.weight.own_optimizer}, its other parameters trained by another optimizer; divide "
                    "them with vispa.split_parameters, and attach nothing"
                )
    if not owner:
        raise ValueError(
            "optimizer holds no mean of the model's binary layers; make it from model.parameters(), and "
            "attach a copied optimizer to the model that was copied with it"
        )
    return held


def _joining(
    optimizers: list[Optimizer], held: list[list[BinaryLayer]], names: dict[int, str]
) -> list[tuple[Optimizer, dict[str, Any], Tensor]]:
    """Return which parameters of the posterior no optimizer holds, with the groups that they join."""
    groups = {
        id(values): group for each in optimizers for group in each.param_groups for values in group["params"]
    }
    joining: list[tuple[Optimizer, dict[str, Any], Tensor]] = []
    for optimizer, layers in zip(optimizers, held, strict=True):
        for found in layers:
            for values in found.weight.parameters():
                if id(values) in groups:
                    continue
                able = [each for each in (optimizer, *optimizers) if takes(each, values)]
                home = able[0] if able else optimizer
                group = groups[id(found.mean)] if home is optimizer else home.param_groups[0]
                joining.append((home, group, values))
                groups[id(values)] = group
    return joining


def project(model: nn.Module) -> None:
    """Apply the projection of every binary layer now, in place, as an attached optimizer does after a step.

    Parameters
    ----------
    model : Module
        A model with binary layers. Low-rank layers get rows on their spheres, channel by channel or, with
        ``projection="paper"``, row by row; ``projection="published"`` has nothing to project. Other methods
        clip, centre or quantise their latent weights, or leave them.

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
        found.weight.follow(found.mean)


def _join(group: dict[str, Any], values: Tensor, names: dict[int, str]) -> None:
    group["params"].append(values)
    if "param_names" in group:
        group["param_names"].append(names[id(values)])


def _sort(group: dict[str, Any], names: dict[int, str]) -> None:
    """Put a group in the order of ``model.named_parameters()``, that of an optimizer made after binarize."""
    order = {key: position for position, key in enumerate(names)}
    params = group["params"]
    ranks = sorted(range(len(params)), key=lambda place: order.get(id(params[place]), len(order)))
    group["params"] = [params[place] for place in ranks]
    if "param_names" in group:
        group["param_names"] = [group["param_names"][place] for place in ranks]


def _hook_of(optimizer: Optimizer, model: nn.Module) -> _ProjectAfterStep:
    hook = getattr(optimizer, _MARK, None)
    if not isinstance(hook, _ProjectAfterStep):
        hook = _ProjectAfterStep()
        optimizer.register_step_pre_hook(hook.before)
        optimizer.register_step_post_hook(hook)
        StateNames(model).follow(optimizer)
        # Like the hook itself, a plain attribute does not survive a deep copy of the optimizer.
        setattr(optimizer, _MARK, hook)
    return hook
