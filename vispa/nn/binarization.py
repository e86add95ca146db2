"""`binarize`: make the weights of a network binary, with a Gaussian posterior over their signs."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from solvers import checks
from vispa.nn.selection import Layer, refuse_wrapped, select_layers
from vispa.nn.weights import (
    BernoulliWeight,
    BinaryWeight,
    LowRankWeight,
    ScaledBias,
    StraightThroughWeight,
)

__all__ = ["binarize"]

METHODS = ("vispa", "ste", "bernoulli")
PROJECTIONS = ("paper", "published")

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def binarize(
    model: ModuleT,
    *,
    rank: int = 4,
    keep: Collection[str] = ("first", "last"),
    scale: float = 100.0,
    projection: str = "paper",
    method: str = "vispa",
    noise_ratio: float | None = None,
) -> ModuleT:
    r"""Make the weights of Linear and Conv1d, 2d, 3d layers binary, in place, and return the model.

    A layer then computes ``alpha * (layer(inputs; w) + bias)`` with signs ``w = sgn(x)`` and one learned
    ``alpha`` an output channel. In training every forward of a layer samples its signs once; in evaluation
    they are ``sgn(mean)``, unless inside :func:`vispa.sampling`. Pass the optimizer, made before or after,
    to :func:`vispa.attach`; take a plain network with :func:`vispa.harden`.

    Parameters
    ----------
    model : Module
        Any module tree. Its weights become the means, keep their identity, and are drawn anew.
    rank : int, default 4
        K >= 1, the number of columns of the factor; at most the number of weights of a layer. Only
        ``method="vispa"`` has a factor: the others ignore ``rank``, ``scale``, ``projection`` and
        ``noise_ratio``.
    keep : collection of str, default ("first", "last")
        What stays real: ``"first"`` and ``"last"`` eligible layer in the order of ``model.modules()``, and
        names of modules, each standing for all layers in it.
    scale : float, default 100
        S > 0. The noise shared by a layer is ``r ~ N(0, I_K / S)``, and S preconditions the factor: in the
        coordinates ``factor / sqrt(S)`` a step of gradient descent is ``learning_rate / sqrt(S)`` times G.
    projection : {"paper", "published"}
        ``"paper"`` projects every row ``(mean_i, factor_i / sqrt(S))`` to the unit sphere, now and after
        every step of an attached optimizer. ``"published"`` leaves the stored parameters alone, as the
        published code does.
    method : {"vispa", "ste", "bernoulli"}
        ``"vispa"``: latents ``x = mean + r @ factor``, gradients ``grad_mean = G`` and
        ``grad_factor = sqrt(S) r outer G``. ``"ste"``: ``sgn(mean)`` with the identity as its gradient,
        means clipped to [-1, 1] after every step. ``"bernoulli"``: independent ``x ~ N(mean, 1 - mean^2)``,
        identity gradient, the same clip.
    noise_ratio : float, optional
        Root mean square of the noise over that of the mean at the start, positive. By default the published
        initialisation gives ``sqrt(K (in + out) / (S in (out + K)))`` with the layer's numbers of channels
        (``in`` counted in one group): a few per cent.

    Returns
    -------
    Module
        The same object.

    Raises
    ------
    TypeError
        If the model is wrapped (compiled, DDP, FSDP), a weight is a DTensor or not floating point.
    ValueError
        If an option is not allowed, nothing would be binary, or a weight is lazy, empty, on the meta device,
        already parametrized, or tied to one that would stay real. The model is unchanged after any error.

    Notes
    -----
    At the start ``mean`` is Xavier normal; the factor is normal; ``alpha = 1 / sqrt(fan_in)``, so that
    inputs of unit variance give outputs of unit variance; the bias is divided by alpha, so that the layer
    adds what it added before. All draws come from torch's default generator. Memory: K more weights a
    layer. A forward adds K multiply-adds a weight, a backward K products a weight.

    Noise is drawn by hooks on the layer (on the MultiheadAttention, for its output projection). Code that
    reads ``layer.weight`` without calling the layer sees ``alpha * sgn(mean)``; in a compiled region in
    training it sees a sample of its own. A layer called twice in a forward samples twice, and so do
    layers with tied weights.

    References
    ----------
    Orecchia et al., NeurIPS 2024, Algorithm 1.

    Examples
    --------
    >>> import torch, vispa
    >>> model = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(3)))
    >>> model = vispa.binarize(model, rank=2)
    >>> optimizer = vispa.attach(torch.optim.SGD(model.parameters(), lr=0.1), model)
    >>> model(torch.ones(5, 8)).sum().backward()
    >>> optimizer.step()
    >>> weight = vispa.harden(model)[1].weight
    >>> (weight.abs() == weight[:, :1].abs()).all().item()
    True
    """
    refuse_wrapped(model, "binarized")
    checks.choice("method", method, METHODS)
    checks.choice("projection", projection, PROJECTIONS)
    scale = checks.scalar("scale", scale, positive=True)
    if noise_ratio is not None:
        noise_ratio = checks.scalar("noise_ratio", noise_ratio, positive=True)
    layers = select_layers(model, keep)
    if method == "vispa":
        _check_rank(rank, layers)
    scopes = _scopes(model)
    shared: dict[int, BinaryWeight] = {}
    for layer in layers.values():
        mean = layer.weight
        if id(mean) not in shared:
            weight = _new_weight(mean, method, rank, scale, projection == "paper")
            _initialise(weight, mean, noise_ratio)
            shared[id(mean)] = weight
        _install(layer, shared[id(mean)], scopes.get(id(layer), layer))
    return model


def _check_rank(rank: int, layers: dict[str, Layer]) -> None:
    if checks.integer("rank", rank, minimum=0) == 0:
        raise ValueError(
            "rank must be at least 1 for method 'vispa'; found 0. Rank 0 without a factor is method "
            "'bernoulli' (sampled) or 'ste' (deterministic)"
        )
    smallest = min(layers, key=lambda name: layers[name].weight.numel())
    allowed = layers[smallest].weight.numel()
    if rank > allowed:
        raise ValueError(
            f"rank must be at most the number of weights of a layer, {allowed} for {smallest!r}; found {rank}"
        )


def _scopes(model: nn.Module) -> dict[int, nn.Module]:
    """Modules that use a layer's weight without calling the layer, by the layer's id."""
    return {
        id(module.out_proj): module for module in model.modules() if isinstance(module, nn.MultiheadAttention)
    }


def _new_weight(mean: Tensor, method: str, rank: int, scale: float, normalise: bool) -> BinaryWeight:
    if method == "ste":
        return StraightThroughWeight(mean)
    if method == "bernoulli":
        return BernoulliWeight(mean)
    return LowRankWeight(mean, rank=rank, scale=scale, normalise=normalise)


def _initialise(weight: BinaryWeight, mean: Tensor, noise_ratio: float | None) -> None:
    with torch.no_grad():
        nn.init.xavier_normal_(mean)
        if isinstance(weight, LowRankWeight):
            out_channels, rank, fan_in = weight.factor.shape
            if noise_ratio is None:
                # Xavier's law for a tensor of shape (K, out_channels, ...), as the published layer stores it.
                deviation = math.sqrt(2.0 / (fan_in * (out_channels + rank)))
            else:
                deviation = noise_ratio * math.sqrt(weight.scale / rank) * float(mean.square().mean().sqrt())
            nn.init.normal_(weight.factor, std=deviation)
    weight.project(mean)


def _install(layer: Layer, weight: BinaryWeight, scope: nn.Module) -> None:
    weight.train(layer.training)
    parametrize.register_parametrization(layer, "weight", weight)
    if layer.bias is not None:
        parametrize.register_parametrization(layer, "bias", ScaledBias(weight))
    weight.open_scope(scope)
