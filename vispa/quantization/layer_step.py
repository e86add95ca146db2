"""One layer of a network made binary: its moments turned to problems, solved group by group, and written back."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vispa.nn.conversion.layer_kinds import Site
from vispa.quantization.fit_layer import Options, fit_layer
from vispa.quantization.layer_inputs import Moments
from vispa.quantization.layer_problem import LayerProblem, Matrix
from vispa.quantization.network_report import LayerLoss
from vispa.quantization.result import SCALE_BITS, BinaryLayer
from vispa.quantization.rivals import RIVALS
from vispa.quantization.scales import group_borders
from vispa.quantization.search import STARTS

METHODS = ("vispa", *RIVALS)


class Step(NamedTuple):
    """A layer's new weight and bias, and what they lose."""

    weight: Tensor
    bias: Tensor | None
    loss: LayerLoss


def binary_step(
    site: Site, moments: Moments, method: str, options: Options, damping: float, rng: np.random.Generator
) -> Step:
    """The signs and scales that bring a layer's outputs nearest to the float network's, and their bias.

    The layer is fed X in the binary and Y in the float network: min |X v - Y w|^2, about the means where a bias can
    make up for these.  ``damping`` times the mean square of an input is added to A, and draws v towards w: what few
    samples do not tell is left to the weights.
    """
    began = time.perf_counter()
    layout = site.layout("weight")
    weight = site.module.weight
    assert isinstance(weight, Tensor)
    rows = layout.rows(weight.detach()).flatten(1).double().cpu().numpy()
    has_bias = site.bias is not None
    centred = moments.centred() if has_bias else (moments.binary, moments.crossed, moments.real)
    parts = [part.cpu().numpy() for part in centred]
    blocks = np.split(rows, len(parts[0]))
    fitted, lost, energy = [], 0.0, 0.0
    for block, gram, crossed, real in zip(blocks, *parts, strict=True):
        plain = _problem(block, gram, crossed, real, 0.0)
        layer = _fit(_problem(block, gram, crossed, real, damping), method, options, rng)
        fitted.append(layer)
        lost, energy = lost + float(plain.error(layer.weight).sum()), energy + float(plain.energy.sum())
    binary = np.concatenate([layer.weight for layer in fitted])
    shaped = torch.from_numpy(binary).to(weight).reshape(layout.rows(weight.detach()).shape)
    loss = _loss(site.name, fitted, lost / energy if energy > 0.0 else 0.0, time.perf_counter() - began)
    return Step(layout.weight(shaped), _bias(site, moments, rows, binary) if has_bias else None, loss)


def _problem(weights: Matrix, gram: Matrix, crossed: Matrix, real: Matrix, damping: float) -> LayerProblem:
    """The layer's rows, damped by this share of A's mean diagonal entry."""
    gram = 0.5 * (gram + gram.T)
    added = damping * float(np.diagonal(gram).mean())
    energy = np.einsum("ij,ij->i", weights @ real, weights) + added * np.einsum("ij,ij->i", weights, weights)
    return LayerProblem(
        weights,
        gram + added * np.eye(len(gram)),
        weights @ crossed.T + added * weights,
        np.maximum(energy, 0.0),
    )


def _fit(problem: LayerProblem, method: str, options: Options, rng: np.random.Generator) -> BinaryLayer:
    if method == "vispa":
        layer = fit_layer(problem, options, None, rng)
        if not layer.finished:
            # neither a limit nor a callback is given: what ended the search was an interrupt
            raise KeyboardInterrupt
        return layer
    began = time.perf_counter()
    found = RIVALS[method](problem, group_borders(problem.weights.shape[1], options.group))
    return BinaryLayer(
        signs=found.signs.astype(np.int8),
        scales=found.scales,
        error=found.error,
        energy=problem.energy,
        start=(),
        scale_bound=None,
        joint_bound=None,
        group=options.group,
        seconds=time.perf_counter() - began,
        finished=True,
    )


def _bias(site: Site, moments: Moments, rows: Matrix, binary: Matrix) -> Tensor:
    """The bias with which the layer's mean outputs are the float network's."""
    assert site.bias is not None
    bias = getattr(site.module, site.bias).detach()

    def outputs(weights: Matrix, sums: Tensor) -> NDArray[np.float64]:
        means = (sums / moments.samples).cpu().numpy()
        return np.einsum("gjn,gn->gj", weights.reshape(len(means), -1, weights.shape[1]), means).reshape(-1)

    moved = outputs(rows, moments.real_sum) - outputs(binary, moments.binary_sum)
    return bias + torch.from_numpy(moved).to(bias)


def _loss(name: str, fitted: list[BinaryLayer], relative: float, seconds: float) -> LayerLoss:
    def bound(found: list[NDArray[np.float64] | None]) -> float | None:
        known = [each for each in found if each is not None]
        total = sum(float(layer.energy.sum()) for layer in fitted)
        return sum(float(each.sum()) for each in known) / total if known and total > 0.0 else None

    return LayerLoss(
        name=name,
        rows=sum(len(layer.signs) for layer in fitted),
        columns=fitted[0].signs.shape[1],
        relative_error=relative,
        fitted_error=sum(float(layer.error.sum()) for layer in fitted)
        / (sum(float(layer.energy.sum()) for layer in fitted) or 1.0),
        scale_bound=bound([layer.scale_bound for layer in fitted]),
        joint_bound=bound([layer.joint_bound for layer in fitted]),
        bits=sum(layer.signs.size + SCALE_BITS * layer.scales.size for layer in fitted),
        starts={
            start: count for start in STARTS if (count := sum(layer.start.count(start) for layer in fitted))
        },
        seconds=seconds,
    )
