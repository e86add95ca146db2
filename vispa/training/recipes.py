"""One recipe a method: what is trained, by which steps, for how long."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import nn

from solvers import checks

Method = Literal["vispa", "ste", "bernoulli", "bop", "bop2nd", "float"]
METHODS: tuple[str, ...] = get_args(Method)
SAMPLED_METHODS = ("vispa", "bernoulli")
LATENT_FREE_METHODS = ("bop", "bop2nd")


@dataclass(frozen=True)
class Recipe:
    """Settings of one training run: linear warm-up, cosine to zero, one step a batch.

    Attributes
    ----------
    method : {"vispa", "ste", "bernoulli", "bop", "bop2nd", "float"}
        ``vispa``: mean and low-rank factor, sampled.  ``ste``: deterministic sgn(mean), identity kernel,
        means clipped to [-1, 1].  ``bernoulli``: independent signs, sampled.  ``bop``, ``bop2nd``: no latent
        weights, flips by `vispa.Bop` or `vispa.Bop2ndOrder` (biased), everything else on Adam.  ``float``:
        nothing is binary.
    learning_rate, momentum, weight_decay : float
        Of SGD, for every parameter.  ``bop`` and ``bop2nd`` give Adam the rate and read no other of these.
    rank : int
        K, the columns of the factor; read by ``vispa`` alone.
    scale : float
        S, which preconditions the factor; read by ``vispa`` alone.
    projection : {"paper", "published"}
        Where steps keep mean and factor; read by ``vispa`` alone.  ``"paper"`` needs longer runs than these:
        0.94 against 0.98 on validation after 20 epochs.
    initial_mean : float
        Root mean square of the initial means before they are clipped; read by ``bernoulli`` alone.
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
    momentum: float = 0.9
    weight_decay: float = 1e-3
    rank: int = 4
    scale: float = 100.0
    projection: str = "published"
    initial_mean: float = 10.0
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
        checks.choice("projection", self.projection, ("channel", "paper", "published"))
        checks.scalar("learning_rate", self.learning_rate, positive=True)
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
        checks.scalar("scale", self.scale, positive=True)
        checks.boolean("flip", self.flip)
        if checks.boolean("resized_crops", self.resized_crops) and self.crop_padding:
            raise ValueError(f"crop_padding must be 0 beside resized_crops; found {self.crop_padding}")
        checks.integer("samples", self.samples, minimum=1)

    @property
    def sampled(self) -> bool:
        """Whether the trained object is a distribution over networks."""
        return self.method in SAMPLED_METHODS

    @property
    def latent_free(self) -> bool:
        """Whether the parameters are the signs themselves, flipped by Bop."""
        return self.method in LATENT_FREE_METHODS


# Chosen on validation images under seeds 100 and 101, which no report uses, never on test images.  Every method
# had the same budget: 0.05, 0.1, 0.2, 0.4, each with 200 and with all training images; the best mean of the four
# validation accuracies won.  Bernoulli had one trial more, initial means of 10 at 0.2 instead of 2, and kept it.
# Length, batch, width and weight decay are common to all; they were set with ste and vispa alone.
LEARNING_RATES = {"vispa": 0.4, "ste": 0.4, "bernoulli": 0.2, "bop": 0.01, "bop2nd": 0.01, "float": 0.1}
# Bop has more to set: nine trials in the same way (Bop2ndOrder eight), gamma from 1e-3 to 3e-2 (1e-2, 1e-1),
# threshold from 0 to 1e-4 (1e-6 to 0.5), Adam's rate 0.003, 0.01 and 0.03.
FLIP_RULES = {"bop": {"threshold": 1e-8, "gamma": 3e-2}, "bop2nd": {"threshold": 1e-2, "gamma": 1e-1}}


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
    return dataclasses.replace(
        Recipe(method, LEARNING_RATES[method]), **{**FLIP_RULES.get(method, {}), **changes}
    )


def apply_method(
    model: nn.Module, settings: Recipe, *, keep: Collection[str] = ("first", "last")
) -> nn.Module:
    """Make the layers of a plain model binary in place, all but those kept, as the method asks, and return it.

    `vispa.binarize` draws the means anew; they get the signs of the weights that were there.  A sign is
    independent of a normal mean's magnitude, so their law stays the same, and all binary methods start, under
    one seed, from one and the same binary network.
    """
    if settings.method == "float":
        return model
    from vispa.nn import binarize, binary_layers

    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    method = "bop" if settings.latent_free else settings.method
    binarize(
        model,
        rank=settings.rank,
        keep=keep,
        scale=settings.scale,
        projection=settings.projection,
        method=method,
    )
    with torch.no_grad():
        for layer in binary_layers(model):
            magnitude = layer.mean.abs()
            if settings.method == "bernoulli":
                magnitude = (magnitude * settings.initial_mean / magnitude.square().mean().sqrt()).clamp_max(
                    1.0
                )
            layer.mean.copy_(magnitude.copysign(before[f"{layer.name}.weight"]))
    return model
