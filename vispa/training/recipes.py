"""One recipe a method: what is trained, by which steps, for how long."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from solvers import checks
from vispa.nn.methods.registry import METHODS as BINARY_METHODS
from vispa.nn.methods.registry import as_method

# What `vispa.binarize` trains, and variants that differ in more than its layers.
VARIANTS = {"vispa-s100": "vispa", "bop2nd": "bop", "frozen": "ste"}
REAL_METHODS = ("real-weights", "float")
METHODS: tuple[str, ...] = (*BINARY_METHODS, *VARIANTS, *REAL_METHODS)
LATENT_FREE_METHODS = ("bop", "bop2nd")
# What the demo shows side by side.
SHOWN_METHODS = ("vispa", "ste", "bernoulli", "bop", "bop2nd", "frozen", "float")
OPTIMIZERS = ("sgd", "adam", "adam-l2")
SCHEDULES = ("cosine", "linear")


@dataclass(frozen=True)
class Recipe:
    """Settings of one training run: linear warm-up, then a rate that falls to zero, one step a batch.

    Attributes
    ----------
    method : str
        A method of `vispa.binarize`; ``vispa-s100``, ``vispa`` at the published ``scale=100``, where an optimizer
        moves the noise ten times as far; ``bop2nd``, ``bop`` by `vispa.Bop2ndOrder` (biased); ``frozen``,
        ``ste`` whose signs stay as they were drawn, what a method must beat to have trained any;
        ``real-weights``: activations alone are binary; ``float``: nothing is.
    learning_rate : float
        Of the optimizer.
    latent_rate : float
        What multiplies the learning rate of the means of binary layers, and of what joins them.  SGD decays them by
        as large a share a step as it does all others.
    optimizer : {"sgd", "adam", "adam-l2"}
        Adam has its own betas and no weight decay; with ``-l2`` a coupled one, of the weights of convolutions and
        the shifts of `RSign` and `RPReLU` alone, as AdamBNN has it.
    momentum, weight_decay : float
        Of SGD; the decay of ``adam-l2`` too.
    schedule : {"cosine", "linear"}
        How the rate falls.
    rank : int
        K, the columns of the factor; read by ``vispa`` alone.
    scale : float, optional
        S, which preconditions the factor, by default that of `vispa.binarize`; read by ``vispa`` alone.
    projection : {"channel", "paper", "published"}
        Where steps keep mean and factor, as in `vispa.binarize`; read by ``vispa`` alone.
    initial_mean : float
        Root mean square of the initial means before they are clipped; read by ``bernoulli`` alone.
    options : mapping
        Further options of the method, as `vispa.binarize` takes them; ``vispa`` has fields of its own here.
    threshold, gamma, sigma : float
        Of `vispa.Bop` and `vispa.Bop2ndOrder`; gamma falls along a line to a hundredth of itself.
    epochs, batch_size, warmup_epochs : int
        Length of the run.  A batch is divided among the processes of a run.
    crop_padding : int
        Training images are moved by up to so many pixels, black moving in.
    flip : bool
        Whether training images are mirrored, every second one on average.
    resized_crops : bool
        Whether training images are parts of random size and shape, resized, of the stored ones, and others their
        centres, seven eighths of the shorter side: for images that are streamed.
    samples : int
        L, the networks drawn when a sampled method is evaluated.
    """

    method: str
    learning_rate: float
    optimizer: str = "sgd"
    latent_rate: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 1e-3
    schedule: str = "cosine"
    rank: int = 4
    scale: float | None = None
    projection: str = "channel"
    initial_mean: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)
    threshold: float = 1e-8
    gamma: float = 1e-2
    sigma: float = 1e-2
    epochs: int = 20
    batch_size: int = 64
    warmup_epochs: int = 2
    crop_padding: int = 0
    flip: bool = False
    resized_crops: bool = False
    samples: int = 10

    def __post_init__(self) -> None:
        checks.choice("method", self.method, METHODS)
        checks.choice("optimizer", self.optimizer, OPTIMIZERS)
        checks.choice("schedule", self.schedule, SCHEDULES)
        checks.choice("projection", self.projection, ("channel", "paper", "published"))
        for rate in ("learning_rate", "latent_rate"):
            checks.scalar(rate, getattr(self, rate), positive=True)
        checks.scalar("momentum", self.momentum, minimum=0.0)
        checks.scalar("weight_decay", self.weight_decay, minimum=0.0)
        checks.integer("rank", self.rank, minimum=1)
        checks.scalar("initial_mean", self.initial_mean, positive=True)
        checks.scalar("threshold", self.threshold, minimum=0.0)
        for rate in ("gamma", "sigma"):
            if checks.scalar(rate, getattr(self, rate), positive=True) > 1:
                raise ValueError(f"{rate} must be at most 1; found {getattr(self, rate)}")
        checks.integer("epochs", self.epochs, minimum=1)
        checks.integer("batch_size", self.batch_size, minimum=2)
        checks.integer("warmup_epochs", self.warmup_epochs, minimum=0)
        checks.integer("crop_padding", self.crop_padding, minimum=0)
        if self.scale is not None:
            checks.scalar("scale", self.scale, positive=True)
        checks.boolean("flip", self.flip)
        if checks.boolean("resized_crops", self.resized_crops) and self.crop_padding:
            raise ValueError(f"crop_padding must be 0 beside resized_crops; found {self.crop_padding}")
        checks.integer("samples", self.samples, minimum=1)
        if self.is_binary:
            as_method(self.layer_method, self.method_options)
        elif self.options:
            raise ValueError(f"options must be empty for method {self.method!r}; found {dict(self.options)}")

    @property
    def sampled(self) -> bool:
        """Whether the trained object is a distribution over networks."""
        return self.is_binary and BINARY_METHODS[self.layer_method].is_distribution

    @property
    def is_binary(self) -> bool:
        """Whether weights are binary."""
        return self.method not in REAL_METHODS

    @property
    def layer_method(self) -> str:
        """The method of the layers."""
        return VARIANTS.get(self.method, self.method)

    @property
    def method_options(self) -> dict[str, Any]:
        """The options of the layers' method."""
        if self.layer_method == "vispa":
            return {"rank": self.rank, "scale": self.scale, "projection": self.projection, **self.options}
        return dict(self.options)

    @property
    def latent_free(self) -> bool:
        """Whether the parameters are the signs themselves, flipped by Bop."""
        return self.method in LATENT_FREE_METHODS


# The noise of these has unit size, that of others the size of Xavier's draws, about .05 in small networks.  Under
# Adam, steps of latent weights are to grow with the size of what they must outweigh, under SGD with its square.
UNIT_NOISE = 20.0
UNIT_NOISE_METHODS = ("bernoulli", "bayesbinn")


# Of benchmarks/networks/digits_tuning.py: for vispa and ste the best of eleven trials each, five rates of SGD and
# six of Adam, by validation under seeds that no report uses.  bernoulli and bayesbinn: the best of six and eight of
# Adam's rate and the latent rate, one such seed; with one rate for all parameters, either latent weights or all
# others were at the wrong one.  bop and bop2nd keep what nine and eight trials of gamma, threshold and Adam's rate
# chose in the same way before; float and frozen have a usual rate, untuned.  Length, batch and width are common.
TUNED: dict[str, dict[str, Any]] = {
    "vispa": {"learning_rate": 0.003, "optimizer": "adam"},
    "vispa-s100": {"learning_rate": 0.003, "optimizer": "adam", "scale": 100.0},
    "ste": {"learning_rate": 0.03, "optimizer": "adam"},
    "bernoulli": {"learning_rate": 0.01, "optimizer": "adam", "latent_rate": UNIT_NOISE},
    "bayesbinn": {"learning_rate": 0.01, "optimizer": "adam", "latent_rate": UNIT_NOISE},
    "bop": {"learning_rate": 0.01, "optimizer": "adam", "threshold": 1e-8, "gamma": 3e-2},
    "bop2nd": {"learning_rate": 0.01, "optimizer": "adam", "threshold": 1e-2, "gamma": 1e-1},
    "frozen": {"learning_rate": 0.01, "optimizer": "adam"},
    "real-weights": {"learning_rate": 0.003, "optimizer": "adam"},
    "float": {"learning_rate": 0.003, "optimizer": "adam"},
}


# Of methods without a line above: for each of them the better rate, by far, of two pairs of trials, the other about
# 0.001 (benchmarks/results/methods_digits_2026-11-28.json).  Where the published start is one of large latent
# weights, for the method's own optimizer and hundreds of epochs, theirs is that of all others.
UNTUNED: dict[str, Any] = {"learning_rate": 0.018, "optimizer": "adam"}
SHORT_RUNS: dict[str, dict[str, Any]] = {
    "adaste": {"initial_size": None},
    "bayesbinn": {"initial_size": None},
    "rbnn": {"angle": 0.25 * math.pi},
    "proxquant": {"strength": 5e-3},
}


def recipe(method: str, **changes: Any) -> Recipe:
    """Return the recipe of a method, with any setting changed.

    Raises
    ------
    ValueError, TypeError
        If the method is unknown or a setting is out of range.

    Examples
    --------
    >>> recipe("vispa", epochs=5).epochs
    5
    """
    checks.choice("method", method, METHODS)
    options = {"options": SHORT_RUNS[method]} if method in SHORT_RUNS else {}
    return Recipe(**{"method": method, **TUNED.get(method, UNTUNED), **options, **changes})


def apply_method(
    model: nn.Module, settings: Recipe, *, keep: Collection[str] = ("first", "last")
) -> nn.Module:
    """Make the layers of a plain model binary in place, all but those kept, as the method asks, and return it.

    `vispa.binarize` draws the means anew; they get the signs of the weights that were there.  A sign is
    independent of a normal mean's magnitude, so their law stays the same, and all binary methods start, under
    one seed, from one and the same binary network.
    """
    if not settings.is_binary:
        return model
    from vispa.nn import binarize, binary_layers

    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    binarize(model, keep=keep, method=settings.layer_method, **settings.method_options)
    with torch.no_grad():
        for layer in binary_layers(model):
            magnitude = layer.mean.abs()
            if settings.method == "bernoulli":
                magnitude = (magnitude * settings.initial_mean / magnitude.square().mean().sqrt()).clamp_max(
                    1.0
                )
            layer.mean.copy_(magnitude.copysign(before[f"{layer.name}.weight"]))
            layer.weight.follow(layer.mean)
            layer.mean.requires_grad_(settings.method != "frozen")
    return model
