"""B2 and B3: the rules by which Bop and Bop2ndOrder flip signs, and what does not matter to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import vispa
from theory_checks.claim import Claim, Measurement, Trial, at_least, at_most, claim

Array = NDArray[np.float64]

WEIGHTS = 400


def differing(first: Array, second: Array) -> int:
    """Count entries that differ."""
    return int((first != second).sum())


@claim(
    "B2",
    title="Bop flips where the running gradient agrees with the sign",
    statement="m <- m + g (G - m); w flips iff w m > tau, a tie gives +1. (G, tau) -> (c G, c tau) changes "
    "nothing; G -> c G does.",
    source="Helwegen et al. (2019), algorithm 1; the tie as in the published code.",
    computed="`vispa.Bop` on dyadic gradients, 400 weights, 20 steps, gamma = 1/2, where every m is exact and ties "
    "occur: against the rule, written out in integers; then with gradients and threshold times 4.",
    falsified_by="A sign that the rule does not give, or a scaling of both that changes one.",
)
def bop(trial: Trial) -> Iterator[Measurement]:
    """Compare with the rule in integers, then scale."""
    gradients = trial.rng.integers(-16, 17, size=(20, WEIGHTS)) / 16.0
    start = trial.rng.choice([-1.0, 1.0], size=WEIGHTS)

    def path(scale: float, threshold: float) -> Array:
        return sign_path(lambda v: vispa.Bop(v, gamma=0.5, threshold=threshold), start, scale * gradients)

    found = path(1.0, 0.25)
    expected, ties = _rule(start, gradients)
    yield at_most("signs off the rule", differing(found, expected), 0)
    yield at_least("ties met", ties, 1)
    yield at_least("signs that changed on the way", differing(found[1:], found[:-1]), 1)
    yield at_most("gradients and threshold times 4: signs that differ", differing(found, path(4.0, 1.0)), 0)
    yield at_least("gradients alone times 4: signs that differ", differing(found, path(4.0, 0.25)), 1)


def sign_path(
    factory: Callable[[list[Tensor]], torch.optim.Optimizer], start: Array, gradients: Array
) -> Array:
    """Signs after every step of an optimizer that is fed the gradients."""
    signs = torch.from_numpy(start.copy()).requires_grad_()
    optimizer = factory([signs])
    path = []
    for gradient in gradients:
        signs.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        path.append(signs.detach().numpy().copy())
    return np.array(path)


def _rule(start: Array, gradients: Array) -> tuple[Array, int]:
    """Bop with gamma = 1/2, tau = 1/4 in exact integers: m_t times 16 2^t."""
    signs = [int(sign) for sign in start]
    moments = [0] * len(signs)
    path, ties = [], 0
    for step, gradient in enumerate(gradients, start=1):
        for i, entry in enumerate(gradient):
            moments[i] += int(16 * entry) << (step - 1)
            score, threshold = signs[i] * moments[i], 4 << step
            ties += score == threshold
            signs[i] = -signs[i] if score > threshold else 1 if score == threshold else signs[i]
        path.append(list(signs))
    return np.array(path, dtype=np.float64), ties


@claim(
    "B3",
    title="Bop2ndOrder ignores the scale of the gradients; its 'unbiased' form is the biased one",
    statement="w flips iff w m/(sqrt(v) + eps) > tau; G -> c G changes nothing, up to eps. For constant gamma and "
    "s the published 'unbiased' form is the biased one with tau gamma/sqrt(s) and eps sqrt(s). It is Adam's "
    "bias correction only at t = 1.",
    source="Suarez-Ramirez et al. (2021); Kingma and Ba (2015), section 3. Derived.",
    computed="`vispa.Bop2ndOrder`, 400 weights, 40 steps: against the rule in NumPy; with gradients times 1000; "
    "both published forms with gamma = 1/8 and s = 1/16, where nothing more is rounded; the corrected form against "
    "the step of torch's Adam.",
    falsified_by="A sign off the rule, an equivalence that fails for one sign, or agreement with Adam's correction "
    "after the first step.",
)
def second_order(trial: Trial) -> Iterator[Measurement]:
    """Compare forms with each other, with the rule, and with Adam."""
    gradients = trial.rng.normal(size=(40, WEIGHTS))
    start = trial.rng.choice([-1.0, 1.0], size=WEIGHTS)

    def path(scale: float = 1.0, **options: Any) -> Array:
        settings = {"gamma": 0.125, "sigma": 0.0625, "threshold": 0.3, "eps": 1e-10, **options}
        return sign_path(lambda v: vispa.Bop2ndOrder(v, **settings), start, scale * gradients)

    biased, unbiased = path(), path(form="published-unbiased", threshold=0.75, eps=1e-3)
    yield at_most("biased: signs off the rule", _off_second_order_rule(biased, start, gradients), 0)
    yield at_least("biased: signs that changed on the way", differing(biased[1:], biased[:-1]), 1)
    yield at_most("gradients times 1000: signs that differ", differing(biased, path(1000.0)), 0)
    yield at_least(
        "the same with eps = 1: signs that differ", differing(path(eps=1.0), path(1000.0, eps=1.0)), 1
    )
    same = path(threshold=0.75 * 0.125 / 0.25, eps=1e-3 * 0.25)
    yield at_most(
        "'unbiased' against biased with tau gamma/sqrt(s): signs that differ", differing(unbiased, same), 0
    )
    corrected = path(form="bias-corrected", threshold=0.75, eps=1e-3)
    often = path(form="bias-corrected", threshold=0.3, eps=1e-2)
    yield at_most(
        "'unbiased' against corrected, t = 1: signs that differ", differing(unbiased[0], corrected[0]), 0
    )
    yield at_least("the same, t > 1: signs that differ", differing(unbiased[1:], corrected[1:]), 1)
    yield at_most("corrected against Adam's step: signs that differ", _off_adam(often, start, gradients), 0)


def _off_second_order_rule(path: Array, start: Array, gradients: Array) -> int:
    first, second, signs, off = np.zeros(WEIGHTS), np.zeros(WEIGHTS), start, 0
    for gradient, found in zip(gradients, path, strict=True):
        first = 0.875 * first + 0.125 * gradient
        second = 0.9375 * second + 0.0625 * gradient**2
        score = signs * first / (np.sqrt(second) + 1e-10)
        clear = np.abs(score - 0.3) > 1e-12
        off += differing(found[clear], np.where(score > 0.3, -signs, signs)[clear])
        signs = found
    return off


def _off_adam(path: Array, start: Array, gradients: Array) -> int:
    latent = torch.zeros(WEIGHTS, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([latent], lr=1.0, betas=(0.875, 0.9375), eps=1e-2)
    signs, off = start, 0
    for gradient, found in zip(gradients, path, strict=True):
        before = latent.detach().numpy().copy()
        latent.grad = torch.from_numpy(gradient.copy())
        adam.step()
        score = signs * (before - latent.detach().numpy())
        clear = np.abs(score - 0.3) > 1e-9
        off += differing(found[clear], np.where(score > 0.3, -signs, signs)[clear])
        signs = found
    return off


CLAIMS: tuple[Claim, ...] = (bop, second_order)
