"""B7: what revives a weight behind a saturated activation, and what does not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

import vispa
from theory_checks.claim import Claim, Measurement, Trial, at_least, at_most, claim
from theory_checks.monte_carlo import ERROR_PROBABILITY, hoeffding_radius
from vispa.nn import binary_layers
from vispa.optim.dead_weights import DeadWeightTracker

INPUTS, CHANNELS, EXAMPLES, STEPS = 9, 6, 20, 100
RATE, DECAY = 0.005, 0.1
STREAMS, LENGTH = 2000, 2000
Maker = Callable[[list[Tensor]], Optimizer]


@claim(
    "B7",
    title="rare gradients and coupled decay revive dead weights under Adam, nothing does under SGD",
    statement="Where every example saturates an activation, the weights before it have gradient 0: SGD and Adam "
    "leave them, SGD with decay and AdamW multiply them by 1 - eta lambda and turn no sign, Adam with coupled "
    "decay moves them towards 0 by nearly eta a step, and beyond, on one path whatever lambda. A gradient that "
    "comes with probability p a step moves a weight p as far as one that always comes by SGD, sqrt(p) as far by "
    "Adam; one that is c times as large, c and 1 times as far.",
    source="Liu et al. (2021), section 4, on Adam and dead weights; m = p g and v = p g^2 on average. Derived.",
    computed="A binary layer before `SignActivation('hard-tanh')`, half of its channels saturated, 100 steps of "
    "torch's optimizers, read by `DeadWeightTracker`; 2,000 streams of rare gradients, 2,000 steps.",
    falsified_by="A dead weight that SGD, Adam or AdamW turns, one that Adam with decay does not, or other powers "
    "of p.",
)
def revival(trial: Trial) -> Iterator[Measurement]:
    """Step a half-saturated layer by every rule, then stream rare gradients."""
    seed = int(trial.rng.integers(2**62))
    shrunk = (1 - RATE * DECAY) ** STEPS
    for name, make, factor in (
        ("SGD", partial(SGD, lr=RATE), 1.0),
        ("Adam", partial(Adam, lr=RATE), 1.0),
        ("SGD with decay", partial(SGD, lr=RATE, weight_decay=DECAY), shrunk),
        ("AdamW", partial(AdamW, lr=RATE, weight_decay=DECAY), shrunk),
    ):
        before, after, turned, live, share = _train(make, seed)
        yield at_most(
            f"{name}: largest |dead weight - {factor:.3g} of its start|", _gap(after, factor * before), 1e-12
        )
        yield at_most(f"{name}: signs of dead weights that turned", turned, 0)
        yield at_least(f"{name}: largest way of a live weight", live, 0.01)
        yield at_most(f"{name}: |share of dead weights - half|", abs(share - 0.5), 0)
    paths = []
    for decay in (1e-1, 1e-4):
        before, after, turned, *_ = _train(partial(Adam, lr=RATE, weight_decay=decay), seed)
        far = before.abs() > 1.3 * RATE * STEPS
        way = (before - after)[far] * before[far].sign() / (RATE * STEPS)
        paths.append(after)
        yield at_most(
            f"Adam with decay {decay:g}: largest |way of a dead weight / (eta steps) - 1|",
            _gap(way, 1.0),
            0.2,
        )
        yield at_least(f"Adam with decay {decay:g}: signs of dead weights that turned", turned, 1)
    yield at_most("Adam: largest distance of dead weights under decays 0.1 and 0.0001", _gap(*paths), 0.01)
    yield from _rare(trial)


def _rare(trial: Trial) -> Iterator[Measurement]:
    always = {name: _way(make, np.ones((LENGTH, 1))) for name, make in _STREAMED.items()}
    for p in (0.25, 0.04):
        arrivals = (trial.rng.random((LENGTH, STREAMS)) < p).astype(np.float64)
        for name, power in (("SGD", 1.0), ("Adam", 0.5)):
            ratio = _way(_STREAMED[name], arrivals) / always[name]
            # The inverse root of a moment over a thousand steps is a little above that of its mean.
            bound = hoeffding_radius(1.0, STREAMS * LENGTH) / p if name == "SGD" else 0.04
            yield at_most(
                f"{name}, p = {p:g}: |way / p^{power:g} - 1|", abs(ratio / p**power - 1), bound,
                error_probability=ERROR_PROBABILITY,
            )  # fmt: skip
    small = 1e-3 * np.ones((LENGTH, 1))
    yield at_most(
        "SGD: |way of a gradient of 0.001 / 0.001 - 1|",
        abs(1e3 * _way(_STREAMED["SGD"], small) / always["SGD"] - 1),
        1e-9,
    )
    yield at_most(
        "Adam: |way of a gradient of 0.001 / 1 - 1|",
        abs(_way(_STREAMED["Adam"], small) / always["Adam"] - 1),
        1e-4,
    )


_STREAMED: dict[str, Maker] = {
    "SGD": partial(SGD, lr=RATE),
    "Adam": partial(Adam, lr=RATE),
}


def _way(make: Maker, gradients: np.ndarray) -> float:
    """Mean distance that weights have gone."""
    values = torch.zeros(gradients.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = make([values])
    for gradient in torch.from_numpy(gradients):
        values.grad = gradient
        optimizer.step()
    return float(-values.detach().mean())


def _train(make: Maker, seed: int) -> tuple[Tensor, Tensor, int, float, float]:
    """Return dead weights before and after, how many signs of theirs turned, the live ones' way, the share dead."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        model = vispa.binarize(
            nn.Linear(INPUTS, CHANNELS, bias=False).double(), keep=(), method="ste", channel_scale="none",
            kernel="identity",
        )  # fmt: skip
    (layer,) = binary_layers(model)
    with torch.no_grad():
        # Inside the box to which the method clips.
        layer.mean.copy_(1.9 * torch.rand(layer.mean.shape, generator=generator, dtype=torch.float64) - 0.95)
        layer.mean[:, 0] = 0.3 * RATE * STEPS
    activation = vispa.SignActivation("hard-tanh")
    # Sums of nine signs are odd: times two they are saturated, over ten they are not.
    scale = torch.tensor([2.0, 0.1]).repeat(CHANNELS // 2).double()
    optimizer = vispa.attach(make(list(model.parameters())), model)
    tracker = DeadWeightTracker(model, optimizer)
    before = layer.mean.detach().clone()
    ever = torch.zeros_like(before, dtype=torch.bool)
    dead = math.nan
    inputs = torch.randn(EXAMPLES, INPUTS, generator=generator, dtype=torch.float64).sign()
    targets = torch.randn(EXAMPLES, CHANNELS, generator=generator, dtype=torch.float64)
    for _ in range(STEPS):
        optimizer.zero_grad()
        (activation(scale * model(inputs)) * targets).sum().backward()
        optimizer.step()
        dead = tracker.update()["weight"].dead
        ever |= (layer.mean >= 0) != (before >= 0)
    saturated, after = scale > 1, layer.mean.detach()
    way = _gap(after[~saturated], before[~saturated])
    return before[saturated], after[saturated], int(ever[saturated].sum()), way, dead


def _gap(values: Tensor, expected: Tensor | float) -> float:
    return float((values - expected).abs().max())


CLAIMS: tuple[Claim, ...] = (revival,)
