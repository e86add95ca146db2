"""G5: the radius on which a layer keeps its rows is a choice of units, not of the posterior."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import vispa
from theory_checks.bop import differing
from theory_checks.claim import Claim, Measurement, Trial, at_least, at_most, claim
from vispa.gaussian.sign_gaussian import SignGaussian
from vispa.nn import binary_layers

Array = NDArray[np.float64]
Factory = Callable[[list[Tensor], float], torch.optim.Optimizer]

STEPS = 40
RANK = 2
SCALE = 25.0
KINDS = ("channel", "paper")


@claim(
    "G5",
    title="for every radius the law is the same, and radius and rate scale together",
    statement="Rows (mean_i, factor_i / sqrt(S), residual_i) kept at radius rho, each or a channel's in root mean "
    "square, have the law of w that they had. (rows, rho, lr) -> (c rows, c rho, c lr) leaves the path of all "
    "signs, of means and of samples, unchanged for SGD, momentum and Adam; AdamW needs wd/c. rho alone changes the "
    "path.",
    source="Claim G1; the gradient sees the signs alone, so every step is c times the other, and so is what the "
    "projection does to it. Derived.",
    computed="E[w] and E[w w^T] of a layer's rows projected to radii from 0.01 to 100. A two-layer network of "
    "`binarize(rank=2)`, trained for 40 steps through `attach` with c = 4 and 1/8, powers of two, so that "
    "nothing is rounded.",
    falsified_by="A moment that depends on the radius, one sign of one step that differs where all three scale, or "
    "none that differs where the radius alone does.",
)
def radius(trial: Trial) -> Iterator[Measurement]:
    """Project one layer to many radii, and train one network at several."""
    problem = _Regression(trial.rng)
    for kind in KINDS:
        law, norms = _projections(trial.rng, kind)
        yield at_most(f"{kind}: largest change of a moment over radii", law, 1e-12)
        yield at_most(f"{kind}: largest |root mean square norm / radius - 1|", norms, 1e-13)
        for name, factory in _OPTIMIZERS.items():
            reference = problem.path(kind, factory, 1.0, 1.0)
            changed = sum(differing(reference, problem.path(kind, factory, c, c)) for c in (4.0, 0.125))
            yield at_most(f"{kind}, {name}: signs that differ, c = 4 and 1/8", changed, 0)
            yield at_least(
                f"{kind}, {name}: signs that changed on the way", differing(reference[1:], reference[:-1]), 1
            )
        reference, other = (problem.path(kind, _OPTIMIZERS["SGD"], c, 1.0) for c in (1.0, 4.0))
        yield at_least(
            f"{kind}: signs that differ where the radius alone is times 4", differing(reference, other), 1
        )


# From parameters and c to an optimizer whose rate is times c.
_OPTIMIZERS: dict[str, Factory] = {
    "SGD": lambda values, c: torch.optim.SGD(values, lr=0.05 * c),
    "momentum": lambda values, c: torch.optim.SGD(values, lr=0.02 * c, momentum=0.9),
    "Adam": lambda values, c: torch.optim.Adam(values, lr=0.01 * c),
    "AdamW": lambda values, c: torch.optim.AdamW(values, lr=0.01 * c, weight_decay=0.5 / c),
}


def _projections(rng: np.random.Generator, kind: str) -> tuple[float, float]:
    """Return the largest change of a moment, and of a norm against the radius, over radii."""
    shape = (2, 3)
    mean = torch.from_numpy(rng.normal(size=shape))
    factor = torch.from_numpy(math.sqrt(SCALE) * rng.normal(size=(shape[0], RANK, shape[1])))
    root = torch.from_numpy(math.sqrt(SCALE) * rng.normal(size=shape))
    moments, norms = [], 0.0
    for value in (0.01, 1.0, 100.0):
        layer = nn.Linear(shape[1], shape[0], bias=False, dtype=torch.float64)
        with torch.random.fork_rng(devices=[]):
            vispa.binarize(
                layer, rank=RANK, scale=SCALE, projection=kind, radius=value, residual=True, keep=()
            )
        (found,) = binary_layers(layer)
        parameters = dict(found.weight.named_parameters())
        with torch.no_grad():
            found.mean.copy_(mean)
            parameters["factor"].copy_(factor)
            parameters["root_residual"].copy_(root)
        vispa.nn.project(layer)
        rows = parameters["factor"].detach().transpose(1, 2).reshape(-1, RANK).numpy() / math.sqrt(SCALE)
        own = parameters["root_residual"].detach().numpy().ravel() ** 2 / SCALE
        law = SignGaussian(found.mean.detach().numpy().ravel(), rows, own)
        moments.append(np.concatenate([law.mean_signs(), law.second_moments().ravel()]))
        squares = (law.mean**2 + (rows**2).sum(axis=1) + own).reshape(shape)
        kept = squares.mean(axis=1) if kind == "channel" else squares
        norms = max(norms, float(np.abs(np.sqrt(kept) / value - 1.0).max()))
    return float(np.ptp(np.array(moments), axis=0).max()), norms


class _Regression:
    """A small binary network of rank 2, its data, and rows to start from."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.inputs = torch.from_numpy(rng.normal(size=(12, 6)))
        self.targets = torch.from_numpy(rng.normal(size=(12, 1)))
        self.shapes = ((8, 6), (1, 8))
        self.means = [torch.from_numpy(rng.normal(size=shape)) for shape in self.shapes]
        self.factors = [torch.from_numpy(rng.normal(size=(out, RANK, fan))) for out, fan in self.shapes]
        self.seed = int(rng.integers(2**31))

    def path(self, kind: str, factory: Factory, radius_by: float, rate_by: float) -> Array:
        """Signs of means and of one sample after every step, (steps, signs)."""
        layers = (nn.Linear(6, 8, bias=False), nn.Tanh(), nn.Linear(8, 1, bias=False))
        model = nn.Sequential(*layers).double()
        with torch.random.fork_rng(devices=[]):
            vispa.binarize(
                model, rank=RANK, scale=SCALE, projection=kind, radius=0.25 * radius_by, keep=(),
                channel_scale="none",
            )  # fmt: skip
            found = binary_layers(model)
            with torch.no_grad():
                for layer, mean, factor in zip(found, self.means, self.factors, strict=True):
                    layer.mean.copy_(mean)
                    dict(layer.weight.named_parameters())["factor"].copy_(factor)
            vispa.nn.project(model)
            optimizer = vispa.attach(factory(list(model.parameters()), rate_by), model)
            torch.manual_seed(self.seed)
            path = []
            for _ in range(STEPS):
                optimizer.zero_grad()
                (model(self.inputs) - self.targets).square().mean().backward()
                optimizer.step()
                samples = [layer.weight.realise(layer.mean, layer.weight.draw()) for layer in found]
                signs = [*(layer.mean for layer in found), *samples]
                path.append(np.concatenate([(values.detach().numpy() >= 0).ravel() for values in signs]))
        return np.array(path)


CLAIMS: tuple[Claim, ...] = (radius,)
