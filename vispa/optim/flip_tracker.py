"""Flip-flop ratio and C2I: how many signs a training step turns, and how many training turned in the end."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

__all__ = ["FlipTracker", "SignShares"]

_WITH_SIGNS = (nn.Linear, nn.modules.conv._ConvNd)
_PARAMETRIZED = re.compile(r"(^|\.)parametrizations\.(\w+)\.original$")


class SignShares(NamedTuple):
    """A share of signs, in [0, 1]: of all that are watched, and by the parameter's name."""

    total: float
    layers: dict[str, float]


class FlipTracker:
    r"""Watch the signs of a model's weights: latent, low-rank, or the signs themselves.

    The flip-flop ratio of a step is the share of signs that it changed; C2I is the share of signs that agree with
    those at the start.  The signs of a binary layer are those of the network in evaluation mode, whatever its
    method keeps; sgn(0) = +1.

    Parameters
    ----------
    model : Module
        Any module, wrapped or not.  With binary layers of this library, their weights are watched; without, the
        weights of all Linear and convolutional layers.
    parameters : collection of str, optional
        Names to watch instead, as ``model.named_parameters()`` has them; a parametrized weight is also known as
        ``"layer.weight"``.

    Raises
    ------
    TypeError
        If ``model`` is no module, or ``parameters`` no collection of names.
    ValueError
        If there is nothing to watch, or a name is unknown.

    Notes
    -----
    Two booleans a weight, on its device; a parameter that occurs twice counts once.  Parameters are looked up by
    name each time, so the model may move.  In data-parallel training all replicas hold the same signs, and one
    of them is enough.

    References
    ----------
    Liu, Shen, Li, Helwegen, Huang and Cheng, How Do Adam and Training Strategies Help BNNs Optimization?,
    ICML 2021, section 4.

    Examples
    --------
    >>> import torch
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[0.5, -0.5]]))
    >>> tracker = FlipTracker(layer)
    >>> layer.weight.data.neg_()[0, 0] = 0.0
    >>> tracker.update(), tracker.agreement().total
    (SignShares(total=0.5, layers={'weight': 0.5}), 0.5)
    >>> tracker.update().total
    0.0
    """

    def __init__(self, model: nn.Module, parameters: Collection[str] | None = None) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module; found {type(model).__name__}")
        self.model = model
        # From the name that is shown to the name by which torch finds the parameter.
        self.paths = _watched(model) if parameters is None else _named(model, parameters)
        if not self.paths:
            raise ValueError("model has no weight whose sign could be watched; name some in parameters")
        self.initial = self._signs()
        self.previous = self.initial

    def update(self) -> SignShares:
        """Return the share of signs that changed since the last update, or since the start."""
        now = self._signs()
        changed = _shares(now, self.previous)
        self.previous = now
        return changed

    def agreement(self) -> SignShares:
        """Return C2I, the share of signs that are what they were at the start."""
        changed = _shares(self._signs(), self.initial)
        return SignShares(1.0 - changed.total, {name: 1.0 - share for name, share in changed.layers.items()})

    def state_dict(self) -> dict[str, Any]:
        """Signs at the start and at the last update, as boolean tensors."""
        return {"initial": dict(self.initial), "previous": dict(self.previous)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises
        ------
        ValueError
            If it watched other parameters, or their shapes were others.
        """
        for name in ("initial", "previous"):
            found = {key: tuple(signs.shape) for key, signs in state_dict[name].items()}
            expected = {key: tuple(signs.shape) for key, signs in self.initial.items()}
            if found != expected:
                raise ValueError(f"state_dict must hold signs of {expected}; found {found}")
        self.initial = dict(state_dict["initial"])
        self.previous = dict(state_dict["previous"])

    def _signs(self) -> dict[str, Tensor]:
        return {name: _positive(self.model, path) for name, path in self.paths.items()}


def _positive(model: nn.Module, path: str) -> Tensor:
    values = model.get_parameter(path).detach()
    owner, _, attribute = path.rpartition(".")
    chain = model.get_submodule(owner)
    # A binary weight knows which of its signs are positive, whatever its method keeps.
    if attribute == "original" and isinstance(chain, ParametrizationList):
        positive: Tensor | None = getattr(chain[0], "positive", lambda mean: None)(values)
        if positive is not None:
            return positive
    return values >= 0


def _shares(first: dict[str, Tensor], second: dict[str, Tensor]) -> SignShares:
    changed = {name: int((signs != second[name].to(signs.device)).sum()) for name, signs in first.items()}
    sizes = {name: signs.numel() for name, signs in first.items()}
    total = sum(changed.values()) / sum(sizes.values())
    return SignShares(total, {name: count / sizes[name] for name, count in changed.items()})


def _watched(model: nn.Module) -> dict[str, str]:
    from vispa.nn.conversion.selection import find_binary_layers

    binary = [(found.name, found.attribute) for found in find_binary_layers(model)]
    plain = [(name, "weight") for name, module in model.named_modules() if isinstance(module, _WITH_SIGNS)]
    known = _known(model)
    paths: dict[str, str] = {}
    for name, attribute in binary or plain:
        shown = f"{name}.{attribute}".lstrip(".")
        # A tied weight is listed under the first of its names only.
        if shown in known and known[shown] not in paths.values():
            paths[shown] = known[shown]
    return paths


def _named(model: nn.Module, parameters: Collection[str]) -> dict[str, str]:
    if isinstance(parameters, str) or not isinstance(parameters, Collection):
        raise TypeError(f"parameters must be a collection of names; found {parameters!r}")
    known = _known(model)
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ValueError(f"parameters must name parameters of the model; found {unknown[0]!r}")
    return {name: known[name] for name in dict.fromkeys(parameters)}


def _known(model: nn.Module) -> dict[str, str]:
    """From every name a parameter goes by to torch's."""
    names = [name for name, values in model.named_parameters() if values.numel() > 0]
    short = {_PARAMETRIZED.sub(r"\1\2", name): name for name in names}
    return {**short, **{name: name for name in names}}
