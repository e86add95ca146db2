"""N1, N2: where two published training methods are one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

import vispa
from theory_checks.claim import Claim, Measurement, Trial, at_least, at_most, claim
from vispa.nn.methods.bayesbinn import concrete_noise, concrete_weight
from vispa.nn.methods.mirror import tanh_weight
from vispa.optim.natural import natural_step

SIZE, STEPS = 40, 60
# BayesBiNN as published for CIFAR-10.
TEMPERATURE, RATE, EXAMPLES, START = 1e-10, 3e-4, 450_000, 10.0


@claim(
    "N1",
    title="for two levels, mirror descent with a softmax is that with a tanh",
    statement="MD-softmax on u, two levels -1 and +1 a weight, from softmax of logits l, has the weights of "
    "MD-tanh from tanh((l_1 - l_0) / 2). MD-softmax-S by Adam on u has those of MD-tanh-S by Adam on "
    "(u_1 - u_0) / 2, without weight decay.",
    source="w = u_1 - u_0 is tanh of half the difference of logits, Adam is odd, and the gradients of the levels "
    "are -G and G. Derived.",
    computed="Both pairs side by side in float64 under the same random gradients and a rising beta; MD-softmax is "
    "written out here, MD-tanh is `vispa.MirrorDescent`, MD-tanh-S `tanh_weight`.",
    falsified_by="A weight that differs beyond rounding at some step.",
)
def softmax_is_tanh(trial: Trial) -> Iterator[Measurement]:
    """Step both forms of both methods."""
    gradients = torch.from_numpy(trial.rng.normal(size=(STEPS, SIZE)))
    logits = torch.from_numpy(0.5 * trial.rng.normal(size=(2, SIZE)))
    betas = 1.05 ** torch.arange(STEPS, dtype=torch.float64)
    yield at_most("MD: largest |softmax form - tanh form|", _mirror(logits, gradients, betas), 1e-12)
    distance, moved = _stable(logits, gradients, betas)
    yield at_most("MD, stable: largest |softmax form - tanh form|", distance, 1e-11)
    yield at_least("signs that changed on the way", moved, 1)


def _mirror(logits: Tensor, gradients: Tensor, betas: Tensor) -> float:
    levels = torch.softmax(logits, dim=0)
    weight = torch.tanh((logits[1] - logits[0]) / 2).requires_grad_()
    optimizer = vispa.MirrorDescent([weight], lr=0.01)
    mean, square, largest = torch.zeros_like(levels), torch.zeros_like(levels), 0.0
    for step, (gradient, beta) in enumerate(zip(gradients, betas, strict=True), 1):
        pair = torch.stack([-gradient, gradient])
        mean, square = 0.9 * mean + 0.1 * pair, 0.999 * square + 0.001 * pair * pair
        rate = 0.01 * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        levels = levels * torch.exp(-rate * beta * mean / (square.sqrt() + 1e-8))
        levels = levels / levels.sum(0)
        optimizer.param_groups[0]["beta"] = float(beta)
        weight.grad = gradient.clone()
        optimizer.step()
        largest = max(largest, float((levels[1] - levels[0] - weight.detach()).abs().max()))
    return largest


def _stable(logits: Tensor, gradients: Tensor, betas: Tensor) -> tuple[float, int]:
    scores = logits.clone().requires_grad_()
    theta = ((logits[1] - logits[0]) / 2).clone().requires_grad_()
    optimizers = [torch.optim.Adam([values], lr=0.05) for values in (scores, theta)]
    largest, start = 0.0, theta.detach() >= 0
    for gradient, beta in zip(gradients, betas, strict=True):
        levels = torch.softmax(beta * scores.detach(), dim=0)
        weight = tanh_weight(theta, float(beta))
        largest = max(largest, float((levels[1] - levels[0] - weight.detach()).abs().max()))
        theta.grad = None
        weight.backward(gradient)
        scores.grad = torch.stack([-gradient, gradient])
        for optimizer in optimizers:
            optimizer.step()
    return largest, int(((theta.detach() >= 0) != start).sum())


@claim(
    "N2",
    title="in single precision, BayesBiNN from its published start is plain straight-through",
    statement="At tau = 1e-10 and |lambda| >= 9.02 the scale (1 - w^2 + 1e-10) / tau / (1 - mu^2 + 1e-10) is one "
    "constant, 1e10, in float32, and float32 uniform numbers give noise below 8.4: a sample is sgn(lambda). The "
    "steps are those of SGD at sgn(lambda) with weight decay. In float64 the scale is 1.2e8 at 10 and depends on "
    "lambda.",
    source="tanh(9.02) rounds to 1 in float32; the largest |log(u / (1 - u))| / 2 of u >= 2^-24. Derived.",
    computed="Scale and noise at the edges; 60 steps of `natural_step` with `concrete_weight` on a quadratic in "
    "float32 beside SGD with the constant and the decay, sign by sign.",
    falsified_by="A scale in float32 that is not the constant, noise that reaches 9.02, or a share of signs below "
    "99 % that agree.",
)
def bayesbinn_in_single_precision(trial: Trial) -> Iterator[Measurement]:
    """Look at the edges, then step both."""
    yield at_most("largest noise of a float32 uniform number", float(_largest_noise()), 9.02)
    for dtype, expected in ((torch.float32, 1e10), (torch.float64, 1.2e8)):
        scale = _scale(torch.tensor([START], dtype=dtype))
        yield at_most(f"{dtype} at 10: |scale / {expected:.3g} - 1|", abs(scale / expected - 1), 0.01)
    edges = [_scale(torch.tensor([value], dtype=torch.float32)) for value in (9.02, 12.0, 1e6)]
    yield at_most(
        "float32 from 9.02 on: largest |scale / 1e10 - 1|", max(abs(e / 1e10 - 1) for e in edges), 1e-6
    )
    agreeing, turned = _agreement(trial)
    yield at_least("share of signs that agree with plain SGD, 60 steps", agreeing, 0.99)
    yield at_least("signs that changed on the way", turned, 1)


def _largest_noise() -> Tensor:
    return concrete_noise(torch.tensor([2.0**-24, 1 - 2.0**-24], dtype=torch.float32)).abs().max()


def _scale(natural: Tensor) -> float:
    """What multiplies the gradient of the weight, read off the backward."""
    natural = natural.clone().requires_grad_()
    mean = torch.tanh(natural.detach())
    concrete_weight(natural, torch.zeros_like(natural), mean, TEMPERATURE).sum().backward()
    assert natural.grad is not None
    return float(natural.grad)


def _agreement(trial: Trial) -> tuple[float, int]:
    """Share of signs, over all steps, that are those of SGD with decay; and how many differ from the start's."""
    couplings = torch.from_numpy(trial.rng.normal(size=(SIZE, SIZE)) / SIZE).float()
    target = torch.from_numpy(trial.rng.normal(size=SIZE)).float()
    start = START * torch.from_numpy(trial.rng.choice([-1.0, 1.0], size=SIZE)).float()
    generator = torch.Generator().manual_seed(int(trial.rng.integers(2**62)))
    natural, momentum, plain, agreeing = start.clone(), torch.zeros(SIZE), start.clone(), 0.0
    for step in range(1, STEPS + 1):
        natural.requires_grad_()
        uniform = torch.rand(SIZE, generator=generator).clamp(2.0**-24, 1 - 2.0**-24)
        weight = concrete_weight(natural, concrete_noise(uniform), torch.tanh(natural.detach()), TEMPERATURE)
        (gradient,) = torch.autograd.grad(0.5 * (couplings @ weight - target).square().sum(), natural)
        natural, momentum = natural_step(
            natural.detach(), EXAMPLES * gradient, momentum, step=step, rate=RATE, beta=0.0
        )
        signs = torch.where(plain >= 0, 1.0, -1.0)
        plain = plain - RATE * (EXAMPLES * 1e10 * couplings.T @ (couplings @ signs - target) + plain)
        agreeing += float(((natural >= 0) == (plain >= 0)).double().mean()) / STEPS
    return agreeing, int(((plain >= 0) != (start >= 0)).sum())


CLAIMS: tuple[Claim, ...] = (softmax_is_tanh, bayesbinn_in_single_precision)
