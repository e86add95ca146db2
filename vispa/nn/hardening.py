"""`harden`: one binary network of plain layers out of the posterior."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from solvers import checks
from vispa.nn.bias import ScaledBias
from vispa.nn.refusals import refuse_wrapped
from vispa.nn.selection import BinaryLayer, binary_layers
from vispa.nn.weights import BinaryWeight

__all__ = ["harden"]


def harden(model: nn.Module, *, how: str = "mean") -> nn.Module:
    """Return a new network of plain layers, its weights ``alpha * sgn`` and its biases ``alpha * bias``.

    Classes and the keys of ``state_dict`` are those of the network before :func:`vispa.binarize`: it can be
    saved, exported and loaded without this library. The model itself is unchanged.

    Parameters
    ----------
    model : Module
        A model with binary layers.
    how : {"mean", "sample"}, default "mean"
        ``"mean"`` takes ``sgn(mean)``, the network that evaluation mode computes. ``"sample"`` draws one
        network from the posterior, with torch's default generator; take the best of several on held-out data.

    Returns
    -------
    Module
        A copy, in the same training or evaluation mode, without gradients.

    Raises
    ------
    TypeError
        If the model is wrapped (compiled, DDP, FSDP): pass the module inside.
    ValueError
        If it has no binary layer, or ``how`` is not allowed.

    Notes
    -----
    Buffers such as the running statistics of BatchNorm are copied as they are. The copy holds the factors
    for a moment: the peak of memory is twice the model.

    Examples
    --------
    >>> import torch, vispa
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> plain = vispa.harden(vispa.binarize(model, keep=("last",)))
    >>> sorted(plain.state_dict()), type(plain[0]).__name__
    (['0.bias', '0.weight', '2.bias', '2.weight'], 'Linear')
    """
    refuse_wrapped(model, "hardened")
    checks.choice("how", how, ("mean", "sample"))
    _refuse_further_parametrizations(binary_layers(model))
    plain = copy.deepcopy(model)
    plain.zero_grad(set_to_none=True)
    layers = binary_layers(plain)
    # One draw a posterior: layers with tied weights stay tied.
    weights: dict[int, nn.Parameter] = {}
    with torch.no_grad():
        for found in layers:
            weight = found.weight
            if id(weight) not in weights:
                values = weight.realise(found.mean, weight.draw() if how == "sample" else None)
                weights[id(weight)] = _parameter(values, found.mean)
        for module in {id(found.layer): found.layer for found in layers}.values():
            _make_plain(module, weights)
    return plain


def _make_plain(module: nn.Module, weights: dict[int, nn.Parameter]) -> None:
    # `parametrize.remove_parametrizations` would take the property from a class that copies share.
    plain: dict[str, nn.Parameter] = {}
    chains: nn.ModuleDict = module.parametrizations  # type: ignore[assignment]
    for attribute, chain in chains.items():
        weight = chain[0]  # type: ignore[index]
        if isinstance(weight, BinaryWeight):
            plain[attribute] = weights[id(weight)]
            weight.close_scopes()
        else:
            plain[attribute] = _parameter(chain(), chain.original)  # type: ignore[arg-type]
    module.__class__ = parametrize.type_before_parametrizations(module)
    del module.parametrizations
    # Weights come first in a state_dict, as they did before.
    remaining = dict(module._parameters)
    module._parameters.clear()
    for name, parameter in (plain | remaining).items():
        module.register_parameter(name, parameter)


def _parameter(values: Tensor, like: Tensor) -> nn.Parameter:
    return nn.Parameter(values.clone(), requires_grad=like.requires_grad)


def _refuse_further_parametrizations(layers: list[BinaryLayer]) -> None:
    for found in layers:
        chains: nn.ModuleDict = found.layer.parametrizations  # type: ignore[assignment]
        for chain in chains.values():
            if len(chain) > 1 or not isinstance(chain[0], (BinaryWeight, ScaledBias)):  # type: ignore[index, arg-type]
                raise ValueError(
                    f"layer {found.name!r}: it was parametrized again after binarize; remove that "
                    "parametrization before harden"
                )
