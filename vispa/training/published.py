"""The recipes of Orecchia et al. (NeurIPS 2024) by name: model and settings of the published code.

All have SGD with momentum 0.9, five epochs of linear warm-up, a cosine to zero step by step, S = 100, weight
decay on every parameter, and average L = 40 networks when evaluated.  Augmentation is the usual one for each
data set: mirror images and random crops, with an eighth of the side as padding or, on ImageNet, of random size and
shape.  The paper does not state its own.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from solvers import checks
from vispa.training.recipes import LATENT_FREE_METHODS, TUNED, Recipe

__all__ = ["PUBLISHED", "Published", "published"]


class Published(NamedTuple):
    """A model's name in `vispa.training.models.MODELS`, and the settings of method ``vispa`` for it."""

    model: str
    recipe: Recipe


def _settings(rank: int, learning_rate: float, weight_decay: float, epochs: int, **others: Any) -> Recipe:
    common: dict[str, Any] = {
        "projection": "published", "scale": 100.0, "warmup_epochs": 5, "samples": 40, "batch_size": 256,
        "crop_padding": 4, "flip": True,
    }  # fmt: skip
    return Recipe(
        "vispa", learning_rate, weight_decay=weight_decay, rank=rank, epochs=epochs, **common | others
    )


_CIFAR_BINARY = _settings(4, 0.5, 1e-5, 600)
_CIFAR_WEIGHTS = _settings(8, 0.1, 5e-4, 500)
# Four processes of 256 each in the published runs; rates grow with them.
_IMAGENET = {"batch_size": 1024, "crop_padding": 0, "resized_crops": True}

PUBLISHED: dict[str, Published] = {
    "cifar10-vgg-small-1w1a": Published("vgg-small-1w1a", _CIFAR_BINARY),
    "cifar10-resnet18-1w1a": Published("resnet18-1w1a", _CIFAR_BINARY),
    "cifar10-vgg16-1w32a": Published("vgg16-1w32a", _CIFAR_WEIGHTS),
    "cifar10-resnet18-1w32a": Published("resnet18-1w32a", _CIFAR_WEIGHTS),
    "cifar100-vgg16-1w32a": Published("vgg16-1w32a", _CIFAR_WEIGHTS),
    "cifar100-resnet18-1w32a": Published("resnet18-1w32a", _CIFAR_WEIGHTS),
    "tiny-imagenet-resnet18-1w32a": Published(
        "tiny-imagenet-resnet18-1w32a", dataclasses.replace(_CIFAR_WEIGHTS, crop_padding=8)
    ),
    "imagenet-alexnet-1w1a": Published("imagenet-alexnet-1w1a", _settings(2, 2.0, 1e-5, 100, **_IMAGENET)),
    "imagenet-alexnet-1w32a": Published("imagenet-alexnet-1w32a", _settings(4, 0.4, 5e-5, 100, **_IMAGENET)),
    "imagenet-birealnet18-1w1a": Published(
        "imagenet-birealnet18-1w1a", _settings(2, 2.0, 1e-5, 200, **_IMAGENET)
    ),
    "imagenet-resnet18-1w32a": Published(
        "imagenet-resnet18-1w32a", _settings(4, 0.4, 5e-5, 200, **_IMAGENET)
    ),
}


def published(name: str, method: str = "vispa", **changes: Any) -> Published:
    """Return a recipe by name, for another method or with any setting changed.

    Parameters
    ----------
    name : str
        One of `PUBLISHED`.
    method : str, optional
        In `vispa.training.recipes.METHODS`: the same steps, with other weights.  ``bop`` and ``bop2nd`` keep
        their own optimizer, learning rate and rule.
    **changes
        Fields of `Recipe`.  Fewer epochs shorten the warm-up in proportion.

    Raises
    ------
    ValueError, TypeError
        If the name is unknown or a setting is out of range.

    Examples
    --------
    >>> chosen = published("cifar10-resnet18-1w1a", epochs=120)
    >>> chosen.model, chosen.recipe.learning_rate, chosen.recipe.epochs, chosen.recipe.warmup_epochs
    ('resnet18-1w1a', 0.5, 120, 1)
    """
    model, settings = PUBLISHED[checks.choice("recipe", name, tuple(PUBLISHED))]
    if method in LATENT_FREE_METHODS:
        changes = {**TUNED[method], **changes}
    changed = dataclasses.replace(settings, method=method, **changes)
    if "warmup_epochs" not in changes:
        warmup = settings.warmup_epochs * changed.epochs // settings.epochs
        changed = dataclasses.replace(changed, warmup_epochs=min(settings.warmup_epochs, warmup))
    return Published(model, changed)
