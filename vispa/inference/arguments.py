"""The arguments of `vispa.minimize`, refused at the door where they do not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from solvers import checks
from solvers.problems.problem import BinaryQuadratic
from vispa.estimators.latent import Estimator
from vispa.estimators.losses import CallableLoss, Loss, LossFunction, QuadraticLoss
from vispa.estimators.registry import ESTIMATORS, GradientEstimator
from vispa.gaussian.sign_gaussian import SignGaussian
from vispa.inference.result import InferenceStep

Callback = Callable[[InferenceStep], object]


@dataclass(frozen=True)
class Budget:
    """How long a descent may take, who hears of its steps, and how many samples judge its end."""

    iterations: int
    seconds: float | None
    evaluation_samples: int
    callback: Callback | None

    @classmethod
    def checked(
        cls,
        max_iterations: int,
        max_seconds: float | None,
        evaluation_samples: int,
        callback: Callback | None,
    ) -> Budget:
        """What a user asked for, refused by the name of the argument."""
        return cls(
            checks.integer("max_iterations", max_iterations, minimum=1),
            None if max_seconds is None else checks.scalar("max_seconds", max_seconds, positive=True),
            checks.integer("evaluation_samples", evaluation_samples, minimum=2),
            checks.function("callback", callback),
        )


def as_loss(loss: LossFunction | BinaryQuadratic, dtype: torch.dtype, device: torch.device) -> Loss:
    """Wrap a loss for the estimators."""
    if isinstance(loss, BinaryQuadratic):
        return QuadraticLoss(loss, dtype=dtype, device=device)
    return CallableLoss(loss)


def checked_size(loss: LossFunction | BinaryQuadratic, n: int | None) -> int:
    """Number of weights, from the argument or from the loss."""
    if not isinstance(loss, BinaryQuadratic):
        CallableLoss(loss)
        if n is None:
            raise ValueError("n must be given: only a BinaryQuadratic knows its number of weights")
        return checks.integer("n", n, minimum=1)
    if n is not None and checks.integer("n", n, minimum=1) != loss.n:
        raise ValueError(f"n must agree with the loss, which has {loss.n} weights; found {n}")
    return loss.n


def checked_estimator(
    estimator: str | Estimator | None, loss: LossFunction | BinaryQuadratic, temperature: float
) -> GradientEstimator:
    """Estimator by its name or as a function, chosen where the user named none."""
    if isinstance(estimator, GradientEstimator):
        return estimator
    if estimator is None:
        estimator = "straight-through"
        if temperature > 0:
            estimator = "rao-blackwell" if isinstance(loss, BinaryQuadratic) else "gaussian"
    if callable(estimator):
        return GradientEstimator(estimator)
    return ESTIMATORS[checks.choice("estimator", estimator, tuple(ESTIMATORS))]


def checked_device(
    device: torch.device | str, generator: torch.Generator | None, dtype: torch.dtype
) -> tuple[torch.device, torch.Generator]:
    """Device, and a generator on it: a freshly seeded one where none was given."""
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype must be torch.float64 or torch.float32; found {dtype}")
    try:
        device = torch.device(device)
        fresh = torch.Generator(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device must be one that torch can use here, such as 'cpu'; found {device!r}"
        ) from error
    if generator is None:
        generator = fresh
        generator.seed()
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator; found {type(generator).__name__}")
    if generator.device.type != device.type:
        raise ValueError(f"generator must be on {device}; found one on {generator.device}")
    return device, generator


def checked_start(start: SignGaussian | None, n: int, rank: int) -> SignGaussian | None:
    """Law to start from, of the right size, where one was given."""
    if start is None:
        return None
    if not isinstance(start, SignGaussian):
        raise TypeError(f"start must be a SignGaussian; found {type(start).__name__}")
    if (start.n, start.rank) != (n, rank):
        raise ValueError(
            f"start must have {n} weights and rank {rank}; found {start.n} weights and rank {start.rank}"
        )
    return start
