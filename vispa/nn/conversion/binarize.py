"""`binarize`: make the weights of a network binary, with a Gaussian posterior over their signs."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from solvers import checks
from vispa.nn.conversion.assignment import let_writes_take_effect
from vispa.nn.conversion.layer_kinds import Site
from vispa.nn.conversion.refusals import refuse_wrapped
from vispa.nn.conversion.scope_modules import scopes_of
from vispa.nn.conversion.selection import LayerChoice, select_sites
from vispa.nn.weights.bias import ScaledBias
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.low_rank_weight import LowRankWeight
from vispa.nn.weights.options import PosteriorOptions, draw_mean, published_noise_ratio, start_noise
from vispa.nn.weights.root_scope import RootScope

__all__ = ["binarize"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def binarize(
    model: ModuleT,
    *,
    rank: int = 4,
    layers: LayerChoice = None,
    keep: Collection[str] | None = None,
    scale: float = 100.0,
    projection: str = "channel",
    radius: float | None = None,
    method: str = "vispa",
    noise_ratio: float | None = None,
    channel_scale: str = "learned",
    covariance: str = "layer",
    residual: bool = False,
    scopes: Collection[str] = (),
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
        Any module tree. Its weights become the means, keep their identity, and are drawn anew.
    rank : int, default 4
        K >= 1, the number of columns of the factor; at most the number of weights of a layer. Only
        ``method="vispa"`` has a factor: the others ignore ``rank``, ``scale``, ``projection``,
        ``radius``, ``covariance``, ``residual`` and ``noise_ratio``.
    layers : collection of str, or callable, optional
        What becomes binary: names of modules, each standing for all layers in it, shell patterns of names
        such as ``"features.*"``, or a predicate ``layers(name, module)``. By default all but Embeddings.
        An Embedding needs a pattern that matches its own name, or a predicate.
    keep : collection of str, optional
        What stays real of these: ``"first"`` and ``"last"`` layer in the order of ``model.modules()``, and
        names and patterns as in ``layers``. By default ``("first", "last")``, or nothing where ``layers``
        is given.
    scale : float, default 100
        S > 0. The noise shared by a layer is ``r ~ N(0, I_K / S)``, and S preconditions the factor: in the
        coordinates ``factor / sqrt(S)`` a step of gradient descent is ``learning_rate / sqrt(S)`` times G.
    projection : {"channel", "paper", "published"}
        Where the rows ``(mean_i, factor_i / sqrt(S))`` are kept, now and after every step of an attached
        optimizer. Multiplying a row by a positive number leaves the law of its sign alone (claim G1 of
        theory_checks), not the number of steps that turn it. ``"channel"``, ours, keeps the root mean square of
        a channel's norms at ``radius``: small rows stay the ones that turn easily. ``"paper"`` is Algorithm 1,
        every row on the unit sphere, where steps of usual length turn hardly any sign. ``"published"`` leaves
        rows where they are, as the published code does.
    radius : float, optional
        Of ``projection="channel"``, a quarter of Xavier's standard deviation by default, and of ``"paper"``,
        1 by default: multiplying radius and learning rate by one number leaves the path of the signs alone
        (claim G5), so a smaller radius turns more signs.
    method : {"vispa", "ste", "bernoulli", "bop"}
        ``"vispa"``: latents ``x = mean + r @ factor``, gradients ``grad_mean = G`` and
        ``grad_factor = sqrt(S) r outer G``. ``"ste"``: ``sgn(mean)`` with the identity as its gradient,
        means clipped to [-1, 1] after every step. ``"bernoulli"``: independent ``x ~ N(mean, 1 - mean^2)``,
        identity gradient, the same clip. ``"bop"``: no latent weights, the parameters are the signs themselves,
        for :class:`vispa.Bop` or :class:`vispa.Bop2ndOrder` (see :func:`vispa.split_parameters`).
    noise_ratio : float, optional
        Root mean square of the noise over that of the mean at the start, positive: a sample then differs
        from ``sgn(mean)`` in a share of about ``arctan(noise_ratio) / pi`` of its signs. By default the
        published initialisation gives ``sqrt(K (in + out) / (S in (out + K)))`` with the layer's numbers of
        channels (``in`` counted in one group): a few per cent. With ``residual`` read K + 1 for the first K.
    channel_scale : {"learned", "mean", "none"}
        ``alpha``: a parameter; ``mean |mean_i|`` over the channel, without a gradient; or 1. The bias adds
        as it is unless alpha is learned.
    covariance : {"layer", "channel"}
        Whether one ``r`` is drawn for a layer, so that all its weights are correlated, or one for every
        output channel, so that channels are independent.
    residual : bool, default False
        Whether every weight also has noise of its own, ``x_i += root_residual_i eps_i`` with
        ``eps_i ~ N(0, 1 / S)``, learned like the factor and part of the row that is projected.
    scopes : collection of str, default ()
        Names or patterns of modules whose every forward is to use one sample throughout, such as a module
        that unrolls a recurrent cell.

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
    At the start ``mean`` is Xavier normal (with ``"bernoulli"``, whose noise has unit size, standard normal before
    it is clipped); the factor is normal; a learned ``alpha`` is one over the square
    root of the number of products that an output adds up, so that inputs of unit variance give outputs of
    unit variance (1 in an Embedding, whose ``padding_idx`` keeps alpha 0); the bias is divided by alpha, so
    that the layer adds what it added before. All draws come from torch's default generator. Memory: K more
    weights a layer, K + 1 with ``residual``. A forward adds as many multiply-adds a weight, a backward as
    many products. Between forward and backward a layer keeps one tensor of its weight's size; on a CPU the
    memory of a large factor's gradient is kept between steps. To start from trained float weights instead,
    see :func:`vispa.load_float`.

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
    options = PosteriorOptions(method, rank, scale, projection, radius, covariance, residual, channel_scale)
    if noise_ratio is not None:
        noise_ratio = checks.scalar("noise_ratio", noise_ratio, positive=True)
    sites = select_sites(model, layers, keep)
    if method == "vispa":
        _check_rank(rank, sites)
    if channel_scale != "learned":
        _check_padding(sites)
    around = scopes_of(model, sites, scopes)
    root = RootScope()
    root.open(model)
    shared: dict[int, BinaryWeight] = {}
    for site in sites.values():
        weights = []
        for attribute in site.weights:
            mean = getattr(site.module, attribute)
            if id(mean) not in shared:
                shared[id(mean)] = options.new_weight(mean, site.layout(attribute))
                shared[id(mean)].root = root
                _initialise(shared[id(mean)], mean, site, attribute, noise_ratio)
            weights.append(shared[id(mean)])
        _install(site, weights, around[site.name])
    return model


def _check_rank(rank: int, sites: dict[str, Site]) -> None:
    sizes = {
        name: min(getattr(site.module, weight).numel() for weight in site.weights)
        for name, site in sites.items()
    }
    smallest = min(sizes, key=lambda name: sizes[name])
    if rank > sizes[smallest]:
        raise ValueError(
            f"rank must be at most the number of weights of a layer, {sizes[smallest]} for {smallest!r}; "
            f"found {rank}"
        )


def _check_padding(sites: dict[str, Site]) -> None:
    for site in sites.values():
        if getattr(site.module, "padding_idx", None) is not None:
            raise ValueError(
                f"{site.label}: its padding_idx needs a row of zeros, which only channel_scale='learned' gives"
            )


def _initialise(
    weight: BinaryWeight, mean: Tensor, site: Site, attribute: str, noise_ratio: float | None
) -> None:
    draw_mean(weight, mean)
    if isinstance(weight, LowRankWeight):
        start_noise(weight, mean, published_noise_ratio(weight) if noise_ratio is None else noise_ratio)
    if weight.alpha is not None:
        with torch.no_grad():
            weight.alpha.fill_(site.terms(attribute) ** -0.5)
            padding = getattr(site.module, "padding_idx", None)
            if padding is not None:
                # The row of zeros stays one: its gradient is zero, and so is that of its alpha.
                weight.alpha[padding] = 0.0
    weight.project(mean)


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
