"""`harden`: one binary network of plain layers out of the posterior."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrize

from solvers import checks
from vispa.nn.activation import SignActivation, plain_sign
from vispa.nn.calibration import Batches, check_batches, mean_loss, reestimate_batch_norm
from vispa.nn.calling import Forward
from vispa.nn.conversion.refusals import refuse_sharded, refuse_wrapped
from vispa.nn.conversion.selection import BinaryLayer, binary_layers
from vispa.nn.weights.bias import ScaledBias
from vispa.nn.weights.binary_weight import BinaryWeight

__all__ = ["harden"]


def harden(
    model: nn.Module,
    *,
    how: str = "mean",
    calibration: Batches | None = None,
    samples: int = 40,
    loss: Callable[[Any, Any], Tensor] = cross_entropy,
    batch_norm: bool = False,
    forward: Forward | None = None,
) -> nn.Module:
    """Return one new network of plain layers, its weights ``alpha * sgn`` and its biases ``alpha * bias``.

    Classes of layers and the keys of ``state_dict`` are those of the network before :func:`vispa.binarize`:
    it can be saved, exported by ``torch.export`` and to ONNX, and loaded without this library.
    :class:`vispa.SignActivation` becomes a plain module too, which passes no gradient. The model itself is
    unchanged.

    Parameters
    ----------
    model : Module
        A model with binary layers.
    how : {"mean", "sample", "best_of"}, default "mean"
        ``"mean"`` takes ``sgn(mean)``, the network that evaluation mode computes. ``"sample"`` draws one
        network from the posterior, with torch's default generator. ``"best_of"`` draws ``samples`` and takes
        the one with the least mean loss on ``calibration``, the first of equals.
    calibration : iterable of batches, optional
        Held-out data, never the test set: pairs (inputs, targets), iterable more than once, such as a
        DataLoader. For ``batch_norm`` alone, batches of inputs will do. Tensors are moved to the model's
        device; the model is called with the inputs as its only argument, or as keyword arguments where they
        are a mapping. A batch may be one mapping with an entry ``labels``.
    samples : int, default 40
        Networks that ``"best_of"`` draws, at least 1; the others ignore it.
    loss : callable, default torch.nn.functional.cross_entropy
        ``loss(outputs, targets)``, averaged over the batch, by which ``"best_of"`` chooses.
    batch_norm : bool, default False
        Whether the running statistics of BatchNorm are estimated anew on ``calibration``, of every network
        drawn before its loss is taken. Those of training are averages over many sampled networks. On digits
        nothing was gained that could be measured (0.01 +- 0.08 points over 112 runs, whatever the noise at the
        start), hence False: benchmarks/networks/default_start.py.
    forward : callable, optional
        ``forward(model, inputs)`` returns the outputs, for models that are called otherwise. By default they
        are what the model returns, or its ``logits``.

    Returns
    -------
    Module
        A copy, in the same training or evaluation mode, without gradients.

    Raises
    ------
    TypeError
        If the model is wrapped (compiled, DDP): pass the module inside. If it is sharded, or ``calibration``
        cannot be iterated more than once.
    ValueError
        If the model has no binary layer, an option is not allowed, ``calibration`` is missing, empty or
        without targets, or no network that was drawn has a finite loss.

    Notes
    -----
    The copy holds the factors for a moment: the peak of memory is twice the model, and one plain network more
    for ``"best_of"``, which evaluates ``samples`` times on the calibration data, twice with ``batch_norm``.

    Examples
    --------
    >>> import torch, vispa
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> model = vispa.binarize(model, keep=("last",))
    >>> plain = vispa.harden(model)
    >>> sorted(plain.state_dict()), type(plain[0]).__name__
    (['0.bias', '0.weight', '2.bias', '2.weight'], 'Linear')
    >>> batches = [(torch.randn(8, 4), torch.randint(2, (8,)))]
    >>> best = vispa.harden(model, how="best_of", calibration=batches, samples=5)
    """
    refuse_wrapped(model, "hardened")
    refuse_sharded(model, "hardened")
    checks.choice("how", how, ("mean", "sample", "best_of"))
    checks.function("forward", forward)
    if not isinstance(batch_norm, bool):
        raise TypeError(f"batch_norm must be True or False; found {batch_norm!r}")
    _refuse_further_parametrizations(binary_layers(model))
    if how == "best_of" or batch_norm:
        check_batches(calibration, needed_by="how='best_of'" if how == "best_of" else "batch_norm=True")
    if how == "best_of":
        samples = checks.integer("samples", samples, minimum=1)
        checks.function("loss", loss)
        assert calibration is not None
        return _best_of(model, calibration, samples, loss, batch_norm, forward)
    plain = _plain_network(model, sample=how == "sample")
    if batch_norm and calibration is not None:
        reestimate_batch_norm(plain, calibration, forward)
    return plain


def _best_of(
    model: nn.Module,
    calibration: Batches,
    samples: int,
    loss: Callable[[Any, Any], Tensor],
    batch_norm: bool,
    forward: Forward | None,
) -> nn.Module:
    best: nn.Module | None = None
    least = math.inf
    for _ in range(samples):
        candidate = _plain_network(model, sample=True)
        if batch_norm:
            reestimate_batch_norm(candidate, calibration, forward)
        value = mean_loss(candidate, calibration, loss, forward)
        if value < least:
            best, least = candidate, value
    if best is None:
        raise ValueError(f"loss must be finite for some network; found none among the {samples} drawn")
    return best


def _plain_network(model: nn.Module, *, sample: bool) -> nn.Module:
    plain = deepcopy(model)
    plain.zero_grad(set_to_none=True)
    layers = binary_layers(plain)
    # One draw a posterior: layers with tied weights stay tied.
    weights: dict[int, nn.Parameter] = {}
    with torch.no_grad():
        for found in layers:
            weight = found.weight
            if id(weight) not in weights:
                values = weight.harden(found.mean, weight.draw() if sample else None)
                weights[id(weight)] = _parameter(values, found.mean)
        for module in {id(found.layer): found.layer for found in layers}.values():
            _make_plain(module, weights)
    _make_activations_plain(plain)
    return plain


def _make_activations_plain(plain: nn.Module) -> None:
    replaced: dict[int, nn.Module] = {}
    for module in list(plain.modules()):
        # Not `named_children`, which shows a module with two names once.
        for name, child in module._modules.items():
            if type(child) is SignActivation:
                if id(child) not in replaced:
                    replaced[id(child)] = plain_sign(child).train(child.training)
                module._modules[name] = replaced[id(child)]


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
