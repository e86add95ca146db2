"""The optimizers and schedules of recipes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vispa.nn.conversion.selection import find_binary_layers
from vispa.nn.shifted_activations import RPReLU, RSign
from vispa.optim import Bop, Bop2ndOrder, LinearSchedule, OptionSchedule
from vispa.optim.groups import OptimizerGroup, split_parameters
from vispa.training.recipes import Recipe

# Axes of the weight of a convolution over images.
CONVOLUTION_AXES = 4


def make_optimizer(
    model: nn.Module, settings: Recipe, training_images: int
) -> tuple[Optimizer | OptimizerGroup, LambdaLR | OptimizerGroup]:
    """The recipe's optimizer, beside flips or not; the rate warms up linearly and falls to zero."""
    steps = math.ceil(training_images / settings.batch_size)
    total, warmup = steps * settings.epochs, steps * settings.warmup_epochs

    def rate(step: int) -> float:
        done = min(step / total, 1.0)
        left = 1.0 - done if settings.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
        return min(1.0, (step + 1) / (warmup + 1)) * left

    if settings.latent_free:
        return _make_flipping(model, settings, rate, total)
    optimizer = _gradient_steps(parameter_groups(model, settings), settings)
    if settings.is_binary:
        from vispa.nn import attach

        attach(optimizer, model)
    return optimizer, LambdaLR(optimizer, rate)


def parameter_groups(model: nn.Module, settings: Recipe) -> Iterable[Tensor] | list[dict[str, Any]]:
    """Parameters with rates and decays of their own, or all of them where there are none."""
    means = set()
    if settings.latent_rate != 1 and settings.is_binary:
        means = {id(found.mean) for found in find_binary_layers(model)}
    decayed = _decayed(model) if settings.optimizer == "adam-l2" else set()
    if not means and not decayed:
        return model.parameters()
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    for values in model.parameters():
        latent, decays = id(values) in means, id(values) in decayed
        rate = settings.learning_rate * (settings.latent_rate if latent else 1.0)
        group = groups.setdefault((latent, decays), {"params": [], "lr": rate})
        if settings.optimizer == "adam-l2":
            group["weight_decay"] = settings.weight_decay if decays else 0.0
        elif settings.optimizer == "sgd" and latent:
            # What a step takes off a latent weight is a share of it, which does not grow with its unit.
            group["weight_decay"] = settings.weight_decay / settings.latent_rate
        group["params"].append(values)
    return list(groups.values())


def _decayed(model: nn.Module) -> set[int]:
    """What AdamBNN's code decays, all its parameters of four axes: convolutions, and the shifts of activations."""
    shifts = {
        id(values)
        for module in model.modules()
        if isinstance(module, (RSign, RPReLU))
        for name, values in module.named_parameters(recurse=False)
        if name.startswith("shift")
    }
    return shifts | {id(values) for values in model.parameters() if values.ndim == CONVOLUTION_AXES}


def _make_flipping(
    model: nn.Module, settings: Recipe, rate: Callable[[int], float], total: int
) -> tuple[OptimizerGroup, OptimizerGroup]:
    binary, real = split_parameters(model)
    flipping: Optimizer
    if settings.method == "bop":
        flipping = Bop(binary, threshold=settings.threshold, gamma=settings.gamma)
    else:
        flipping = Bop2ndOrder(
            binary, threshold=settings.threshold, gamma=settings.gamma, sigma=settings.sigma
        )
    steps = _gradient_steps(real, settings)
    slower = OptionSchedule(flipping, gamma=LinearSchedule(0.01 * settings.gamma, steps=total))
    return OptimizerGroup(flipping, steps), OptimizerGroup(slower, LambdaLR(steps, rate))


def _gradient_steps(values: Iterable[Tensor] | list[dict[str, Any]], settings: Recipe) -> Optimizer:
    if settings.optimizer.startswith("adam"):
        return Adam(values, lr=settings.learning_rate)
    return SGD(
        values, lr=settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
