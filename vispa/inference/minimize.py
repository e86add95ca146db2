"""Gaussian variational inference for any loss over {-1, 1}^n."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from solvers import checks
from solvers.interrupts import HeldInterrupts
from solvers.problems.problem import BinaryQuadratic
from solvers.stop import Stop, tell
from vispa.estimators.latent import Estimator
from vispa.estimators.losses import LossFunction
from vispa.gaussian.sign_gaussian import SignGaussian
from vispa.inference.arguments import (
    Budget,
    Callback,
    as_loss,
    checked_device,
    checked_estimator,
    checked_size,
    checked_start,
)
from vispa.inference.evaluation import free_energy_bound, quadratic_bound
from vispa.inference.objective import LEAST_ROOT_RESIDUAL, Objective, SphereDescent, start_rows
from vispa.inference.result import InferenceResult, InferenceStatus, InferenceStep

_log = logging.getLogger(__name__)

# Where the loss is quadratic, local search starts from so many points drawn during the descent, and so many samples
# of the final posterior; O(n^2) each.  By the end the posterior may have settled in one place.
_POLISHED = 200


def minimize(
    loss: LossFunction | BinaryQuadratic,
    n: int | None = None,
    *,
    rank: int = 0,
    temperature: float = 0.0,
    estimator: str | Estimator | None = None,
    samples: int = 32,
    mixtures: int = 32,
    optimizer: str = "adam",
    learning_rate: float = 0.05,
    max_iterations: int = 500,
    max_seconds: float | None = None,
    evaluation_samples: int = 2000,
    start: SignGaussian | None = None,
    callback: Callback | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> InferenceResult:
    r"""Fit the law of w = sgn(mean + Z g + s e) to a loss over {-1, 1}^n, and keep the best point seen.

    The objective is E[L(w)] - T H over the product of unit spheres of rows (mean_i, z_i, s_i).  With rank 0, H is
    the exact entropy.  With rank K > 0 it is the semi-implicit bound H_M: the entropy given the factor noise
    cannot reward correlation, since its best bound is that of rank 0.

    Parameters
    ----------
    loss : callable or BinaryQuadratic
        Maps a batch of points (B, n) to losses (B,).
    n : int, optional
        Number of weights; a BinaryQuadratic knows its own.
    rank : int, optional
        K >= 0, the number of factors.
    temperature : float, optional
        T >= 0.  At T = 0 with K > 0 and the straight-through estimator, s = 0: the published VISPA objective.
    estimator : str or callable, optional
        Of the gradient of E[L]: a name in `vispa.estimators.registry.ESTIMATORS`, described there, or one of
        your own, ``estimator(loss, rows, draw)``, wrapped in `GradientEstimator` where it needs s > 0.  Losses
        without a gradient need "score", "local" or "conditional"; "rao-blackwell" is for multilinear losses.  By
        default "straight-through" at T = 0; at T > 0 "rao-blackwell" for a BinaryQuadratic and "gaussian"
        otherwise.
    samples : int, optional
        B, points drawn an iteration.
    mixtures : int, optional
        M of the semi-implicit bound during the descent; the final bound uses 8 M.
    optimizer : {"adam", "momentum"}, optional
        Rule of the step.
    learning_rate : float, optional
        At the start; it falls along a cosine.
    max_iterations : int, optional
        Steps.
    max_seconds : float, optional
        Wall-clock limit of the descent, and again of the semidefinite relaxation of a quadratic.
    evaluation_samples : int, optional
        Fresh samples for the final bound, at least 2.
    start : SignGaussian, optional
        Law to start from, of the same n and rank; random by default.
    callback : callable, optional
        Called with an `InferenceStep` after each iteration; raising StopIteration ends the descent.
    generator : torch.Generator, optional
        On ``device``; the same seed gives the same result.
    dtype : torch.dtype, optional
        float64 or float32.
    device : torch.device or str, optional
        Where rows, points and noise live.

    Returns
    -------
    InferenceResult
        Ctrl-C, a callback's StopIteration and the time limit return what there is by then; a second Ctrl-C, while
        that is evaluated, raises KeyboardInterrupt.

    Raises
    ------
    TypeError, ValueError
        For an argument that does not fit, and for a loss that returns the wrong shape, is not finite, or gives
        no gradient to an estimator that needs one.

    Notes
    -----
    An iteration costs one batch of losses and O(B n (K + 1)); with T > 0 and K > 0 O(B M n (K + 1)).

    Examples
    --------
    >>> def frustrated(w):
    ...     return (w.sum(dim=1) - 1.0) ** 2 + w[:, 0] * w[:, 1] * w[:, 2]
    >>> generator = torch.Generator().manual_seed(0)
    >>> result = minimize(frustrated, 5, rank=1, max_iterations=50, generator=generator)
    >>> result.value, int(result.signs.sum())
    (-1.0, 1)

    See Also
    --------
    minimize_by_sdp : a BinaryQuadratic at temperature 0 by its semidefinite relaxation.
    """
    began = time.perf_counter()
    n = checked_size(loss, n)
    rank = checks.integer("rank", rank, minimum=0)
    temperature = checks.scalar("temperature", temperature, minimum=0.0)
    budget = Budget.checked(max_iterations, max_seconds, evaluation_samples, callback)
    chosen = checked_estimator(estimator, loss, temperature)
    samples = checks.integer("samples", samples, minimum=chosen.least_samples)
    mixtures = checks.integer("mixtures", mixtures, minimum=1)
    optimizer = checks.choice("optimizer", optimizer, ("adam", "momentum"))
    learning_rate = checks.scalar("learning_rate", learning_rate, positive=True)
    device, generator = checked_device(device, generator, dtype)
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator, device=device)))
    start = checked_start(start, n, rank)
    options = {"dtype": dtype, "device": device}
    energy = as_loss(loss, dtype, device)
    objective = Objective(energy, chosen, rank, temperature, samples, mixtures, generator)
    divides = temperature > 0 or chosen.needs_residual
    has_root_residual = divides or rank == 0 or (start is not None and bool(np.any(start.residual)))
    descent = SphereDescent(
        start_rows(start, n, rank, has_root_residual, options, generator),
        optimizer=optimizer,
        learning_rate=learning_rate,
        max_iterations=budget.iterations,
        has_root_residual=has_root_residual,
        least_root_residual=LEAST_ROOT_RESIDUAL if divides else 0.0,
    )
    return _fit(loss, objective, descent, budget, began, rng, options)


def _fit(
    loss: LossFunction | BinaryQuadratic,
    objective: Objective,
    descent: SphereDescent,
    budget: Budget,
    began: float,
    rng: np.random.Generator,
    options: dict[str, object],
) -> InferenceResult:
    """Descend, then evaluate; Ctrl-C ends the descent, and is held back while what there is is evaluated."""
    record = _Record(began)
    with HeldInterrupts() as interrupts:
        status = _descend(objective, descent, record, budget, interrupts)
        posterior = descent.posterior()
        found = _conclude(loss, objective, posterior, record, status, budget, rng, options, interrupts)
        return replace(found, status=InferenceStatus.INTERRUPTED) if interrupts.asked else found


@dataclass
class _Record:
    """The best point so far, one point drawn in each iteration, and the history."""

    began: float
    best_value: float = float("inf")
    best_signs: NDArray[np.int8] | None = None
    history: list[InferenceStep] = field(default_factory=list)
    points: list[NDArray[np.int8]] = field(default_factory=list)

    def observe(self, signs: Tensor, values: Tensor) -> None:
        index = int(values.argmin())
        self.points.append(_signs_array(signs[0]))
        if float(values[index]) < self.best_value:
            self.best_value, self.best_signs = float(values[index]), _signs_array(signs[index])

    def spread_out(self, count: int) -> list[NDArray[np.int8]]:
        """At most ``count`` of the points drawn, one an iteration, evenly over the run."""
        return self.points[:: -(-len(self.points) // count)]

    def seconds(self) -> float:
        return time.perf_counter() - self.began


def _signs_array(signs: Tensor) -> NDArray[np.int8]:
    return signs.to("cpu", torch.int8).numpy().copy()


def _descend(
    objective: Objective,
    descent: SphereDescent,
    record: _Record,
    budget: Budget,
    interrupts: HeldInterrupts,
) -> InferenceStatus:
    try:
        with interrupts.released():
            for iteration in tqdm(range(budget.iterations), desc="minimize", leave=False, disable=None):
                sample = objective.sample(descent.rows)
                record.observe(sample.signs, sample.values)
                descent.move(sample.gradient)
                energy = float(sample.values.mean())
                step = InferenceStep(
                    iteration, energy, sample.free_energy, record.best_value, record.seconds()
                )
                record.history.append(step)
                tell(budget.callback, step, InferenceStatus.STOPPED)
                if budget.seconds is not None and step.seconds >= budget.seconds:
                    return InferenceStatus.TIME_LIMIT
    except Stop as stop:
        return InferenceStatus(stop.status)
    except KeyboardInterrupt:
        return InferenceStatus.INTERRUPTED
    return InferenceStatus.COMPLETED


def _conclude(
    loss: LossFunction | BinaryQuadratic,
    objective: Objective,
    posterior: SignGaussian,
    record: _Record,
    status: InferenceStatus,
    budget: Budget,
    rng: np.random.Generator,
    options: dict[str, object],
    interrupts: HeldInterrupts,
) -> InferenceResult:
    """Evaluate the posterior on fresh samples, polish the best point, and bound a quadratic from below."""
    bound, signs, values = free_energy_bound(objective, posterior, budget.evaluation_samples, rng, options)
    record.observe(signs, values)
    centre = torch.as_tensor(posterior.signs()[None, :]).to(**options)  # type: ignore[call-overload]
    record.observe(centre, objective.loss.values(centre))
    best, value, lower_bound = record.best_signs, record.best_value, -float("inf")
    assert best is not None
    if isinstance(loss, BinaryQuadratic):
        fresh = _signs_array(signs[:_POLISHED])
        points = np.vstack([best, fresh, *record.spread_out(_POLISHED)])
        best, value, lower_bound = quadratic_bound(loss, points, budget.seconds, rng, interrupts)
    _log.info("%s after %d iterations: value %.9g", status.name.lower(), len(record.history), value)
    return InferenceResult(
        posterior, best, value, bound.value, bound.standard_error, lower_bound, tuple(record.history), status,
        record.seconds(),
    )  # fmt: skip
