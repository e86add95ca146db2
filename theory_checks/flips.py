"""B5 and B6: how often noise turns latent signs, and the scale that fits a weight best."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize
from torch import nn

import vispa
from theory_checks.claim import Claim, Measurement, Trial, at_least, at_most, claim
from theory_checks.monte_carlo import ERROR_PROBABILITY, hoeffding_radius
from theory_checks.oracles import cube, sign_product_moment
from vispa.nn import binary_layers

Array = NDArray[np.float64]

WEIGHTS = 300_000
STEPS = 10


@claim(
    "B5",
    title="noise turns latent signs at a rate that weight decay raises",
    statement="w <- (1 - eta lambda) w - eta G, G iid zero-mean Gaussian, w_0 stationary, 0 < eta lambda < 1: the "
    "flip rate a step is arccos(1 - eta lambda)/pi, the agreement with the initial sign after T steps 1 - "
    "arccos((1 - eta lambda)^T)/pi.",
    source="Sheppard (1899) on the correlation (1 - eta lambda)^T of a stationary AR(1) process. Derived.",
    computed="300,000 weights on torch's SGD with weight decay, gradients that are noise, stationary start: "
    "`FlipTracker` after 1 and 10 steps against `flip_rate` and `sign_agreement` (Hoeffding); the closed forms "
    "against quadrature of the bivariate normal.",
    falsified_by="A share off its closed form by more than its radius, or a flip rate that falls with lambda.",
)
def flip_rates(trial: Trial) -> Iterator[Measurement]:
    """Simulate stationary weights, and integrate their joint law."""
    radius = hoeffding_radius(1.0, WEIGHTS)
    for rate, decay in ((0.5, 0.04), (0.1, 3.0)):
        first, last, agreement = _simulate(trial.rng, rate, decay)
        expected = vispa.flip_rate(rate, decay)
        label = f"eta lambda = {rate * decay:g}"
        for name, found, value in (
            ("flips of step 1", first, expected),
            ("flips of step 10", last, expected),
            ("agreement after 10 steps", agreement, float(vispa.sign_agreement(rate, decay, STEPS))),
        ):
            yield at_most(
                f"{label}: |{name} - closed form|",
                abs(found - value),
                radius,
                error_probability=ERROR_PROBABILITY,
            )
    error = 0.0
    for product in (0.01, 0.3, 0.9):
        for steps in (1, 2, 7):
            correlation = (1.0 - product) ** steps
            pair = np.array([[1.0, correlation], [correlation, 1.0]])
            exact = 0.5 * (1.0 + sign_product_moment(np.zeros(2), pair))
            error = max(error, abs(float(vispa.sign_agreement(1.0, product, steps)) - exact))
            if steps == 1:
                error = max(error, abs(1.0 - vispa.flip_rate(1.0, product) - exact))
    yield at_most("largest |closed form - quadrature|", error, 1e-10)
    yield at_most("|agreement after 0 steps - 1|", abs(float(vispa.sign_agreement(0.1, 1.0, 0)) - 1.0), 0)
    yield at_most("products eta lambda of 1 or more that were accepted", _accepted((1.0, 1.005, 2.0)), 0)
    yield at_most("flips that the tracker sees from 1 to 0 and from -0 to 1", _flips_at_zero(), 0)
    rates = [vispa.flip_rate(0.1, decay) for decay in np.geomspace(1e-6, 9.9, 50).tolist()]
    yield at_least("smallest growth of the flip rate from one lambda to the next", min(np.diff(rates)), 1e-9)


def _accepted(products: tuple[float, ...]) -> int:
    count = 0
    for product in products:
        try:
            vispa.flip_rate(1.0, product)
        except ValueError:
            continue
        count += 1
    return count


def _flips_at_zero() -> float:
    model = nn.ParameterDict({"latent": nn.Parameter(torch.tensor([1.0, -0.0]))})
    tracker = vispa.FlipTracker(model, parameters=["latent"])
    with torch.no_grad():
        model["latent"].copy_(torch.tensor([0.0, 1.0]))
    return tracker.update().total


def _simulate(rng: np.random.Generator, rate: float, decay: float) -> tuple[float, float, float]:
    """Return shares of flips in the first and in the last step, and of signs as at the start, in the end."""
    stationary = rate / math.sqrt(1.0 - (1.0 - rate * decay) ** 2)
    model = nn.ParameterDict(
        {"latent": nn.Parameter(torch.from_numpy(stationary * rng.normal(size=WEIGHTS)))}
    )
    latent = model["latent"]
    optimizer = torch.optim.SGD([latent], lr=rate, weight_decay=decay)
    tracker = vispa.FlipTracker(model, parameters=["latent"])
    shares = []
    for _ in range(STEPS):
        latent.grad = torch.from_numpy(rng.normal(size=WEIGHTS))
        optimizer.step()
        shares.append(tracker.update().layers["latent"])
    return shares[0], shares[-1], tracker.agreement().layers["latent"]


@claim(
    "B6",
    title="the mean magnitude is the best scale of a binary weight",
    statement="alpha = mean|W| minimises |W - alpha sgn(W)|^2, whose minimum is |W|^2 - n alpha^2.",
    source="Rastegari et al. (2016), section 3.1: a parabola in alpha.",
    computed="Random rows through `binarize(channel_scale='mean')` and `harden`: the scale of every "
    "channel against a numerical minimiser, the distance against the closed form and against all other signs.",
    falsified_by="A scale or signs nearer to W than the layer's.",
)
def best_scale(trial: Trial) -> Iterator[Measurement]:
    """Try to come nearer than the layer."""
    W = trial.rng.normal(size=(6, 9)) * np.geomspace(1e-3, 1e3, 6)[:, None]
    W[0, 0], W[1, 1] = 0.0, -0.0
    with torch.random.fork_rng(devices=[]):
        model = vispa.binarize(
            nn.Linear(9, 6, bias=False).double(), keep=(), method="ste", channel_scale="mean"
        )
    with torch.no_grad():
        binary_layers(model)[0].mean.copy_(torch.from_numpy(W))
    hard = vispa.harden(model)
    assert isinstance(hard, nn.Linear)
    B = hard.weight.detach().numpy()
    scale_error, distance_error, nearest = 0.0, 0.0, math.inf
    signs = cube(9)
    for row, binary in zip(W, B, strict=True):
        size = float(row @ row)
        distance = float(((row - binary) ** 2).sum())
        search = optimize.minimize_scalar(
            lambda a, row=row: (
                float(((row - a * np.where(row >= 0, 1.0, -1.0)) ** 2).sum()) / float(row @ row)
            )
        )
        scale_error = max(scale_error, abs(abs(binary[0]) - search.x) / search.x)
        distance_error = max(distance_error, abs(distance - size + 9 * binary[0] ** 2) / size)
        scales = np.maximum(signs @ row, 0.0) / 9
        others = ((row - scales[:, None] * signs) ** 2).sum(axis=1)
        nearest = min(nearest, (float(others.min()) - distance) / size)
    yield at_most("largest |alpha - minimiser|, relative", scale_error, 1e-6)
    yield at_most("largest error of |W|^2 - n alpha^2, relative", distance_error, 1e-13)
    yield at_least("smallest distance of other signs at their best scale - ours, relative", nearest, -1e-14)
    yield at_most("zeros of either sign taken for -1", int(B[0, 0] < 0) + int(B[1, 1] < 0), 0)


CLAIMS: tuple[Claim, ...] = (flip_rates, best_scale)
