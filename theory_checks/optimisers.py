"""B1-B4: what scaling does to latent weights, to Bop, and to Adam."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import vispa
from theory_checks.claim import Claim, Measurement, Trial, at_least, at_most, claim
from vispa.nn import binary_layers

Array = NDArray[np.float64]
Factory = Callable[[list[Tensor], float], torch.optim.Optimizer]

STEPS = 40
WEIGHTS = 400


@claim(
    "B1",
    title="scaling latent weights and learning rate together changes no sign",
    statement="Without clipping, and with kernel and scale independent of |w|, (w_0, lr) -> (c w_0, c lr) "
    "leaves the sign path of SGD, momentum and Adam unchanged; with clipping only if the clip scales too; "
    "coupled weight decay needs wd/c.",
    source="The gradient sees the signs alone, so every latent step is c times the other. Derived.",
    computed="A two-layer network of `binarize(method='ste')`, alpha frozen, trained for 40 steps by torch's "
    "SGD and Adam with c = 4 and 1/8, powers of two, so that nothing is rounded; the clip of `attach`; "
    "weight decay of SGD.",
    falsified_by="One sign of one step that differs where nothing, the clip or wd/c scales, or none that "
    "differs where clip or decay do not.",
)
def scaled_latents(trial: Trial) -> Iterator[Measurement]:
    """Train the same network from scaled starts."""
    problem = _Regression(trial.rng)
    plain: dict[str, Factory] = {
        "SGD": lambda values, c: torch.optim.SGD(values, lr=0.3 * c),
        "momentum": lambda values, c: torch.optim.SGD(values, lr=0.1 * c, momentum=0.9),
        "Adam": lambda values, c: torch.optim.Adam(values, lr=0.05 * c),
    }
    for name, factory in plain.items():
        reference = problem.path(factory, 1.0)
        differing = sum(_differing(reference, problem.path(factory, c)) for c in (4.0, 0.125))
        yield at_most(f"{name}: signs that differ, c = 4 and 1/8", differing, 0)
        yield at_least(f"{name}: signs that changed on the way", _differing(reference[1:], reference[:-1]), 1)
    clipped = problem.path(plain["SGD"], 1.0, clip=1.0)
    scaled, kept = (problem.path(plain["SGD"], 4.0, clip=clip) for clip in (4.0, 1.0))
    yield at_most("clip scaled: signs that differ", _differing(clipped, scaled), 0)
    yield at_least("clip of 1 kept: signs that differ", _differing(clipped, kept), 1)
    decayed = problem.path(_decaying(1.0), 1.0)
    yield at_most("wd / c: signs that differ", _differing(decayed, problem.path(_decaying(0.25), 4.0)), 0)
    yield at_least("wd kept: signs that differ", _differing(decayed, problem.path(_decaying(1.0), 4.0)), 1)


def _decaying(share: float) -> Factory:
    return lambda values, c: torch.optim.SGD(values, lr=0.3 * c, weight_decay=0.125 * share)


def _differing(first: Array, second: Array) -> int:
    return int((first != second).sum())


class _Regression:
    """A small binary network, its data, and latent weights to start from."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.inputs = torch.from_numpy(rng.normal(size=(12, 6)))
        self.targets = torch.from_numpy(rng.normal(size=(12, 1)))
        self.starts = [torch.from_numpy(rng.uniform(-1.0, 1.0, size=shape)) for shape in ((8, 6), (1, 8))]

    def path(self, factory: Factory, c: float, *, clip: float | None = None) -> Array:
        """Signs after every step, (steps, weights); a clip of 1 is the library's own."""
        with torch.random.fork_rng(devices=[]):
            layers = (nn.Linear(6, 8, bias=False), nn.Tanh(), nn.Linear(8, 1, bias=False))
            model = vispa.binarize(nn.Sequential(*layers).double(), method="ste", keep=())
        means = [found.mean for found in binary_layers(model)]
        for values in model.parameters():
            values.requires_grad_(any(values is mean for mean in means))
        with torch.no_grad():
            for mean, start in zip(means, self.starts, strict=True):
                mean.copy_(c * start)
        optimizer = factory(means, c)
        if clip == 1.0:
            vispa.attach(optimizer, model)
        path = []
        for _ in range(STEPS):
            optimizer.zero_grad()
            (model(self.inputs) - self.targets).square().mean().backward()
            optimizer.step()
            with torch.no_grad():
                for mean in means:
                    if clip is not None and clip != 1.0:
                        mean.clamp_(-clip, clip)
            path.append(np.concatenate([(mean.detach().numpy() >= 0).ravel() for mean in means]))
        return np.array(path)


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
        return _path(lambda v: vispa.Bop(v, gamma=0.5, threshold=threshold), start, scale * gradients)

    found = path(1.0, 0.25)
    expected, ties = _rule(start, gradients)
    yield at_most("signs off the rule", _differing(found, expected), 0)
    yield at_least("ties met", ties, 1)
    yield at_least("signs that changed on the way", _differing(found[1:], found[:-1]), 1)
    yield at_most("gradients and threshold times 4: signs that differ", _differing(found, path(4.0, 1.0)), 0)
    yield at_least("gradients alone times 4: signs that differ", _differing(found, path(4.0, 0.25)), 1)


def _path(factory: Callable[[list[Tensor]], torch.optim.Optimizer], start: Array, gradients: Array) -> Array:
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
        return _path(lambda v: vispa.Bop2ndOrder(v, **settings), start, scale * gradients)

    biased, unbiased = path(), path(form="published-unbiased", threshold=0.75, eps=1e-3)
    yield at_most("biased: signs off the rule", _off_second_order_rule(biased, start, gradients), 0)
    yield at_least("biased: signs that changed on the way", _differing(biased[1:], biased[:-1]), 1)
    yield at_most("gradients times 1000: signs that differ", _differing(biased, path(1000.0)), 0)
    yield at_least(
        "the same with eps = 1: signs that differ", _differing(path(eps=1.0), path(1000.0, eps=1.0)), 1
    )
    same = path(threshold=0.75 * 0.125 / 0.25, eps=1e-3 * 0.25)
    yield at_most(
        "'unbiased' against biased with tau gamma/sqrt(s): signs that differ", _differing(unbiased, same), 0
    )
    corrected = path(form="bias-corrected", threshold=0.75, eps=1e-3)
    yield at_most(
        "'unbiased' against corrected, t = 1: signs that differ", _differing(unbiased[0], corrected[0]), 0
    )
    yield at_least("the same, t > 1: signs that differ", _differing(unbiased[1:], corrected[1:]), 1)
    yield at_most(
        "corrected against Adam's step: signs that differ", _off_adam(corrected, start, gradients), 0
    )


def _off_second_order_rule(path: Array, start: Array, gradients: Array) -> int:
    first, second, signs, off = np.zeros(WEIGHTS), np.zeros(WEIGHTS), start, 0
    for gradient, found in zip(gradients, path, strict=True):
        first = 0.875 * first + 0.125 * gradient
        second = 0.9375 * second + 0.0625 * gradient**2
        score = signs * first / (np.sqrt(second) + 1e-10)
        clear = np.abs(score - 0.3) > 1e-12
        off += _differing(found[clear], np.where(score > 0.3, -signs, signs)[clear])
        signs = found
    return off


def _off_adam(path: Array, start: Array, gradients: Array) -> int:
    latent = torch.zeros(WEIGHTS, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([latent], lr=1.0, betas=(0.875, 0.9375), eps=1e-3)
    signs, off = start, 0
    for gradient, found in zip(gradients, path, strict=True):
        before = latent.detach().numpy().copy()
        latent.grad = torch.from_numpy(gradient.copy())
        adam.step()
        score = signs * (before - latent.detach().numpy())
        clear = np.abs(score - 0.75) > 1e-9
        off += _differing(found[clear], np.where(score > 0.75, -signs, signs)[clear])
        signs = found
    return off


@claim(
    "B4",
    title="Adam ignores a constant scale of the gradients, not a sudden one; neither revives a dead weight",
    statement="G -> c G leaves Adam's steps unchanged (G >> eps) and multiplies SGD's by c. After a sudden 100 x "
    "drop Adam's step falls to 0.01 and takes about 8,100 steps to regain half (beta2 = .999). Once momentum has "
    "decayed, without weight decay, an exactly zero gradient moves a weight in neither.",
    source="Kingma and Ba (2015), section 2.1; 1e-4 + beta2^k = 4e-4. Derived.",
    computed="torch's Adam and SGD in float64: 50 random steps with gradients times 1000; a stationary Adam, "
    "gradient 1, given 0.01 from then on, until its step is 0.5; 700 steps of zero gradient after 20 "
    "random ones.",
    falsified_by="Steps that differ, another recovery time, or a weight that moves without a gradient.",
)
def adam(trial: Trial) -> Iterator[Measurement]:
    """Scale the gradients, at once and for good, then stop them."""
    gradients = trial.rng.normal(size=(50, 20)) + 0.1 * trial.rng.choice([-1.0, 1.0], size=20)
    adams = [_positions(lambda v: torch.optim.Adam(v, lr=0.01), c * gradients) for c in (1.0, 1000.0)]
    sgds = [
        _positions(lambda v: torch.optim.SGD(v, lr=0.01, momentum=0.9), c * gradients) for c in (1.0, 1000.0)
    ]
    yield at_most(
        "Adam: largest change of a position, gradients times 1000", np.abs(adams[0] - adams[1]).max(), 1e-5
    )
    change = np.abs(sgds[1] - 1000.0 * sgds[0]).max() / np.abs(sgds[1]).max()
    yield at_most("SGD: largest |position - 1000 times the other|, relative", change, 1e-14)
    least, recovery = _after_drop()
    yield at_most("smallest step after the drop", least, 0.011)
    yield at_least("the same, from below", least, 0.01)
    yield at_most("|steps until half is regained - 8108|", abs(recovery - 8108), 5)
    still = np.concatenate([gradients[:20], np.zeros((700, 20))])
    for name, factory in (
        ("Adam", lambda v: torch.optim.Adam(v, lr=0.01)),
        ("SGD", lambda v: torch.optim.SGD(v, lr=0.01, momentum=0.9)),
    ):
        positions = _positions(factory, still)
        late = np.abs(positions[-1] - positions[520]).max()
        yield at_most(f"{name}: largest move after 500 zero gradients", late, 0)
        yield at_least(f"{name}: share of signs that stay", _agreement(positions[520], positions[-1]), 1.0)


def _agreement(before: Array, after: Array) -> float:
    model = nn.ParameterDict({"latent": nn.Parameter(torch.from_numpy(before.copy()))})
    tracker = vispa.FlipTracker(model, parameters=["latent"])
    with torch.no_grad():
        model["latent"].copy_(torch.from_numpy(after))
    return tracker.agreement().total


def _positions(factory: Callable[[list[Tensor]], torch.optim.Optimizer], gradients: Array) -> Array:
    """Return latent weights after every step, from zero."""
    return _path(factory, np.zeros(gradients.shape[1]), gradients)


def _after_drop() -> tuple[float, int]:
    """Return the smallest step of a stationary Adam after a drop to 0.01, and the steps until it is 0.5."""
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=1.0)
    weight.grad = torch.ones(1, dtype=torch.float64)
    optimizer.step()
    # Stationary: both means at their limits, and the bias corrections spent.
    optimizer.state[weight]["step"].fill_(1e6)
    weight.grad = torch.full((1,), 0.01, dtype=torch.float64)
    optimizer.state[weight]["exp_avg"].fill_(1.0)
    optimizer.state[weight]["exp_avg_sq"].fill_(1.0)
    least, position = np.inf, weight.item()
    for step in range(1, 20_000):
        optimizer.step()
        moved, position = position - weight.item(), weight.item()
        if moved < least:
            least = moved
        elif step > 200 and moved >= 0.5:
            return least, step
    return least, 20_000


CLAIMS: tuple[Claim, ...] = (scaled_latents, bop, second_order, adam)
