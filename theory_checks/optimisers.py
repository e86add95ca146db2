"""B1 and B4: what scaling does to latent weights and to the optimizers that move them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import vispa
from theory_checks.bop import differing, sign_path
from theory_checks.claim import Claim, Measurement, Trial, at_least, at_most, claim
from vispa.nn import binary_layers

Array = NDArray[np.float64]
Factory = Callable[[list[Tensor], float], torch.optim.Optimizer]

STEPS = 40


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
        changed = sum(differing(reference, problem.path(factory, c)) for c in (4.0, 0.125))
        yield at_most(f"{name}: signs that differ, c = 4 and 1/8", changed, 0)
        yield at_least(f"{name}: signs that changed on the way", differing(reference[1:], reference[:-1]), 1)
    dependent = [problem.path(plain["SGD"], c, channel_scale="mean") for c in (1.0, 4.0)]
    yield at_least("scale mean|w|: signs that differ", differing(*dependent), 1)
    clipped = problem.path(plain["SGD"], 1.0, clip=1.0)
    yield at_most("clip of 1: | largest latent weight - 1 |", abs(problem.largest - 1.0), 0)
    scaled, kept = (problem.path(plain["SGD"], 4.0, clip=clip) for clip in (4.0, 1.0))
    yield at_most("clip scaled: signs that differ", differing(clipped, scaled), 0)
    yield at_least("clip of 1 kept: signs that differ", differing(clipped, kept), 1)
    decayed = problem.path(_decaying(1.0), 1.0)
    yield at_most("wd / c: signs that differ", differing(decayed, problem.path(_decaying(0.25), 4.0)), 0)
    yield at_least("wd kept: signs that differ", differing(decayed, problem.path(_decaying(1.0), 4.0)), 1)


def _decaying(share: float) -> Factory:
    return lambda values, c: torch.optim.SGD(values, lr=0.3 * c, weight_decay=0.125 * share)


class _Regression:
    """A small binary network, its data, and latent weights to start from."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.inputs = torch.from_numpy(rng.normal(size=(12, 6)))
        self.targets = torch.from_numpy(rng.normal(size=(12, 1)))
        self.starts = [torch.from_numpy(rng.uniform(-1.0, 1.0, size=shape)) for shape in ((8, 6), (1, 8))]

        # One weight starts where any clip of 1 must act.
        self.starts[0][0, 0] = 3.0
        self.largest = 0.0

    def path(
        self, factory: Factory, c: float, *, clip: float | None = None, channel_scale: str = "learned"
    ) -> Array:
        """Signs after every step, (steps, weights); a clip of 1 is the library's own."""
        with torch.random.fork_rng(devices=[]):
            layers = (nn.Linear(6, 8, bias=False), nn.Tanh(), nn.Linear(8, 1, bias=False))
            model = vispa.binarize(
                nn.Sequential(*layers).double(), method="ste", keep=(), channel_scale=channel_scale
            )
        means = [found.mean for found in binary_layers(model)]
        for values in model.parameters():
            values.requires_grad_(any(values is mean for mean in means))
        with torch.no_grad():
            for mean, start in zip(means, self.starts, strict=True):
                mean.copy_(c * start)
        self.largest, optimizer = 0.0, factory(means, c)
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
            self.largest = max(self.largest, *(float(mean.detach().abs().max()) for mean in means))
            path.append(np.concatenate([(mean.detach().numpy() >= 0).ravel() for mean in means]))
        return np.array(path)


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
        changed = abs(_agreement(positions[520], positions[-1]) - 1.0)
        yield at_most(f"{name}: share of signs that change", changed, 0)


def _agreement(before: Array, after: Array) -> float:
    model = nn.ParameterDict({"latent": nn.Parameter(torch.from_numpy(before.copy()))})
    tracker = vispa.FlipTracker(model, parameters=["latent"])
    with torch.no_grad():
        model["latent"].copy_(torch.from_numpy(after))
    return tracker.agreement().total


def _positions(factory: Callable[[list[Tensor]], torch.optim.Optimizer], gradients: Array) -> Array:
    """Return latent weights after every step, from zero."""
    return sign_path(factory, np.zeros(gradients.shape[1]), gradients)


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


CLAIMS: tuple[Claim, ...] = (scaled_latents, adam)
