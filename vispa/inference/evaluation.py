"""What can be said after a descent: the free energy on fresh samples, and for quadratics the SDP's bound."""

from __future__ import annotations

import contextlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from solvers.interrupts import HeldInterrupts
from solvers.problems.problem import BinaryQuadratic
from vispa.estimators.losses import QuadraticLoss
from vispa.gaussian.entropy import Estimate, sample_log_marginal
from vispa.gaussian.sign_gaussian import SignGaussian
from vispa.inference.objective import Objective

# H_M tightens with M, and here no gradient has to be stored.
_MORE_MIXTURES = 8


def free_energy_bound(
    objective: Objective,
    posterior: SignGaussian,
    samples: int,
    rng: np.random.Generator,
    options: dict[str, object],
) -> tuple[Estimate, Tensor, Tensor]:
    """Estimate E[L] - T H_M >= -T log sum exp(-L/T) without bias.

    Energy and entropy are averaged over the same points: near the target their fluctuations cancel.  With rank
    0 the entropy is exact, and so is the energy of a quadratic.

    Returns
    -------
    Estimate, (B, n) tensor, (B,) tensor
        With the points drawn and their losses.
    """
    temperature, quadratic = objective.temperature, isinstance(objective.loss, QuadraticLoss)
    mixtures = _MORE_MIXTURES * objective.mixtures if temperature > 0 and posterior.rank > 0 else 0
    if mixtures:
        root = np.sqrt(posterior.residual)
        drawn, log_marginal = sample_log_marginal(
            posterior.mean, posterior.factor, root, mixtures=mixtures, samples=samples, rng=rng
        )
    else:
        drawn = posterior.sample(samples, rng=rng)
        log_marginal = np.full(samples, -float(posterior.conditional_entropy()))
    signs = torch.as_tensor(drawn).to(**options)  # type: ignore[call-overload]
    values = objective.loss.values(signs)
    if quadratic and not mixtures and posterior.rank == 0:
        mean = torch.as_tensor(posterior.mean_signs()[None, :]).to(**options)  # type: ignore[call-overload]
        energy = float(objective.loss.values(mean))
        return Estimate(energy + temperature * float(log_marginal[0]), 0.0), signs, values
    integrand = values.to("cpu", torch.float64).numpy() + temperature * log_marginal
    return Estimate.of_mean(integrand), signs, values


def quadratic_bound(
    problem: BinaryQuadratic,
    points: NDArray[np.int8],
    max_seconds: float | None,
    rng: np.random.Generator,
    interrupts: HeldInterrupts,
) -> tuple[NDArray[np.int8], float, float]:
    """Best one-flip minimum reached from the points (m, n), its value, and the relaxation's lower bound.

    An interrupt ends the relaxation, which returns the bound that it has by then; -inf where it has not begun.
    """
    from solvers.heuristics.rounding import one_flip
    from solvers.low_rank import low_rank

    polished = one_flip(problem, points)
    values = np.asarray(problem.evaluate(polished))
    best = int(values.argmin())
    lower_bound = -float("inf")
    with contextlib.suppress(KeyboardInterrupt), interrupts.released():
        lower_bound = low_rank(problem, max_seconds=max_seconds, rng=rng).lower_bound
    return polished[best], float(values[best]), lower_bound
