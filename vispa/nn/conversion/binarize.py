"""`binarize`: make the weights of a network binary, with a Gaussian posterior over their signs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from torch import nn
from torch.nn.utils import parametrize

from solvers import checks
from vispa.nn.conversion.assignment import let_writes_take_effect
from vispa.nn.conversion.coverage import log_coverage
from vispa.nn.conversion.layer_kinds import Site
from vispa.nn.conversion.refusals import refuse_wrapped
from vispa.nn.conversion.scope_modules import scopes_of
from vispa.nn.conversion.selection import LayerChoice, select_sites
from vispa.nn.conversion.start import STARTS, initialise, keeps_weights
from vispa.nn.methods.base import Method
from vispa.nn.methods.registry import as_method
from vispa.nn.weights.bias import ScaledBias
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.root_scope import RootScope

__all__ = ["binarize"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def binarize(
    model: ModuleT,
    *,
    method: str | Method = "vispa",
    layers: LayerChoice = None,
    keep: Collection[str] | None = None,
    scopes: Collection[str] = (),
    start: str = "auto",
    **options: Any,
) -> ModuleT:
    r"""Make the weights of a model binary, in place, and return the model.

    Linear, convolutions and transposed convolutions of every dimension, groups, dilation and padding mode,
    the projections of MultiheadAttention, and Embedding on request; fused recurrent layers (LSTM, GRU, RNN)
    stay real, cells made of Linear do not. A layer then computes
    ``alpha * (layer(inputs; w) + bias)`` with signs ``w = sgn(x)`` and one ``alpha`` an output channel (a row,
    in an Embedding). In training every forward of the model samples all signs once; in evaluation
    they are ``sgn(mean)``, unless inside :func:`vispa.sampling`. Pass the optimizer, made before or after,
    to :func:`vispa.attach`; take a plain network with :func:`vispa.harden`.

    Parameters
    ----------
    model : Module
        Any module tree. Its weights become the means and keep their identity; see ``start``.
    method : str or Method, default "vispa"
        How the weights train: a name in ``vispa.nn.methods.registry.METHODS``, with the method's options as
        further arguments, such as ``rank=8``; or the method made with its options,
        ``vispa.nn.methods.vispa.Vispa(rank=8)``, where they are described.
    layers : collection of str, or callable, optional
        What becomes binary: names of modules, each standing for all layers in it, shell patterns of names
        such as ``"features.*"``, or a predicate ``layers(name, module)``. By default all but Embeddings.
        An Embedding needs a pattern that matches its own name, or a predicate.
    keep : collection of str, optional
        What stays real of these: ``"first"`` and ``"last"`` layer in the order of ``model.modules()``, and
        names and patterns as in ``layers``. By default ``("first", "last")``, or nothing where ``layers``
        is given.
    scopes : collection of str, default ()
        Names or patterns of modules whose every forward is to use one sample throughout, such as a module
        that unrolls a recurrent cell.
    start : {"auto", "weights", "fresh"}
        ``"weights"`` starts from the weights that are there, as :func:`vispa.load_float` does: a trained network
        keeps its signs, and alpha approximates its channels. ``"fresh"`` draws the means anew. ``"auto"`` keeps
        the weights unless all of them look like draws of torch's own initialisation.
    **options
        Of the method. Of all of them, ``channel_scale`` is the one most have: where the scale alpha of an output
        channel comes from, a parameter (``"learned"``), ``mean |mean_i|`` without a gradient (``"mean"``), or 1
        (``"none"``). The bias adds as it is unless alpha is learned.

    Returns
    -------
    Module
        The same object.

    Raises
    ------
    TypeError
        If the model is wrapped (compiled, DDP, FSDP), a weight is a DTensor or not floating point, or no method
        has an option.
    ValueError
        If an option is not allowed or belongs to another method, nothing would be binary, or a weight is lazy,
        empty, on the meta device, already parametrized, or tied to one that would stay real. The model is
        unchanged after any error.

    Notes
    -----
    A fresh ``mean`` is Xavier normal (with ``"bernoulli"``, whose noise has unit size, standard normal before
    it is clipped); the factor is normal; a learned ``alpha`` is one over the square
    root of the number of products that an output adds up, so that inputs of unit variance give outputs of
    unit variance (1 in an Embedding, whose ``padding_idx`` keeps alpha 0); the bias is divided by alpha, so
    that the layer adds what it added before. All draws come from torch's default generator. Memory of
    ``"vispa"``: K more weights a layer, K + 1 with ``residual``. A forward adds as many multiply-adds a weight,
    a backward as many products. Between forward and backward a layer keeps one tensor of its weight's size; on a
    CPU the memory of a large factor's gradient is kept between steps.

    A layer that is called several times in a forward of the model, or whose weight is read there without
    calling it, sees one sample; called outside the model's forward, a layer draws at every call. There, modules
    around a layer share one draw in each of their own forwards where they read the weight without calling the
    layer (MultiheadAttention), where tied weights are to be one sample (the nearest module that holds all of
    them), and where ``scopes`` asks for it. Gradient checkpointing finds the noise of the forward that it
    recomputes, also with ``preserve_rng_state=False``; where several forwards wait for their backward and it
    cannot tell them apart, it raises. Around tied weights and ``scopes`` with gradient
    checkpointing the checkpointed region must call such a module, or the recomputation raises; compiled too,
    it needs ``fullgraph=False``, since a compiled region cannot bind noise inside a checkpoint. Outside
    any forward ``layer.weight`` is ``alpha * sgn(mean)``; in a compiled region in training, code that
    reads it without calling the layer sees a sample of its own.

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
    chosen = as_method(method, options)
    checks.choice("start", start, STARTS)
    sites = select_sites(model, layers, keep)
    for site in sites.values():
        for attribute in site.weights:
            chosen.check_layer(site.label, site.layout(attribute))
    if getattr(chosen, "channel_scale", "none") != "learned":
        _check_padding(sites)
    around = scopes_of(model, sites, scopes)
    keep_weights = keeps_weights(start, sites.values())
    root = RootScope()
    root.open(model)
    shared: dict[int, BinaryWeight] = {}
    for site in sites.values():
        weights = []
        for attribute in site.weights:
            mean = getattr(site.module, attribute)
            if id(mean) not in shared:
                shared[id(mean)] = chosen.new_weight(mean, site.layout(attribute))
                shared[id(mean)].root = root
                initialise(shared[id(mean)], mean, site, attribute, keep=keep_weights)
            weights.append(shared[id(mean)])
        _install(site, weights, around[site.name])
    log_coverage(model)
    return model


def _check_padding(sites: dict[str, Site]) -> None:
    for site in sites.values():
        if getattr(site.module, "padding_idx", None) is not None:
            raise ValueError(
                f"{site.label}: its padding_idx needs a row of zeros, which only channel_scale='learned' gives"
            )


def _install(site: Site, weights: list[BinaryWeight], scopes: list[nn.Module]) -> None:
    for attribute, weight in zip(site.weights, weights, strict=True):
        weight.train(site.module.training)
        parametrize.register_parametrization(site.module, attribute, weight)
        if site.is_called:
            weight.open_layer(site.module)
        for scope in scopes:
            weight.open_scope(scope)
        weight.is_installed = True
        weight.drift.projected(getattr(site.module.parametrizations, attribute).original)
    if site.bias is not None and weights[0].alpha is not None:
        parametrize.register_parametrization(site.module, site.bias, ScaledBias(*weights))
    let_writes_take_effect(site.module, site.weights, site.bias)
