"""P1-P5: what the published VISPA layer computes, with the layers of `vispa.nn` as the subject."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import vispa
import vispa.nn
from theory_checks.claim import Claim, Measurement, Trial, at_least, at_most, claim
from theory_checks.monte_carlo import ERROR_PROBABILITY
from vispa.estimators import kernels as ste
from vispa.estimators import registry as estimators
from vispa.estimators.losses import CallableLoss
from vispa.gaussian.sign_gaussian import SignGaussian
from vispa.nn import binary_layers

Array = NDArray[np.float64]

INPUTS, OUTPUTS, RANK, SCALE, BATCH = 7, 5, 3, 100.0, 6


class Layer(NamedTuple):
    """A binarized linear layer with its parameters, the data it sees and the seed of its noise."""

    model: nn.Module
    mean: Tensor
    factor: Tensor
    alpha: Tensor
    inputs: Tensor
    targets: Tensor
    seed: int

    def noise(self) -> Tensor:
        """Noise r of the next forward: the first normals of torch's default generator, over sqrt(S)."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return torch.randn(RANK, dtype=torch.float64) / math.sqrt(SCALE)

    def backward(self) -> Tensor:
        """One forward in training and the backward of half the squared error; returns the output."""
        self.model.zero_grad()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            output: Tensor = self.model(self.inputs)
        (0.5 * (output - self.targets).square().sum()).backward()
        return output.detach()

    def gradient_at_signs(self, signs: Tensor) -> Tensor:
        """G = dL/dw at ``signs`` (OUTPUTS, INPUTS), by hand."""
        alpha = self.alpha.detach()
        residual = alpha * (self.inputs @ signs.T) - self.targets
        return alpha[:, None] * (residual.T @ self.inputs)

    def latent_rows(self) -> Array:
        """Rows (M, Z / sqrt(S)) of all weights, (OUTPUTS * INPUTS, K + 1)."""
        factor = self.factor.detach().transpose(1, 2).reshape(-1, RANK) / math.sqrt(SCALE)
        return torch.cat([self.mean.detach().reshape(-1, 1), factor], dim=1).numpy()


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        raise RuntimeError("the layer gave a parameter no gradient")
    return parameter.grad.detach().clone()


def _layer(rng: np.random.Generator, projection: str) -> Layer:
    """Random parameters: means and factors of like size, so that the noise moves many signs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        model = nn.Linear(INPUTS, OUTPUTS, bias=False, dtype=torch.float64)
        vispa.binarize(model, rank=RANK, scale=SCALE, projection=projection, keep=())
    (found,) = binary_layers(model)
    parameters = dict(found.weight.named_parameters())
    layer = Layer(
        model.train(), found.mean, parameters["factor"], parameters["alpha"],
        torch.from_numpy(rng.normal(size=(BATCH, INPUTS))), torch.from_numpy(rng.normal(size=(BATCH, OUTPUTS))),
        int(rng.integers(2**31)),
    )  # fmt: skip
    with torch.no_grad():
        layer.mean.copy_(torch.from_numpy(rng.normal(size=(OUTPUTS, INPUTS))))
        layer.factor.copy_(torch.from_numpy(math.sqrt(SCALE) * rng.normal(size=(OUTPUTS, RANK, INPUTS))))
        layer.alpha.copy_(torch.from_numpy(rng.uniform(0.2, 1.0, size=OUTPUTS)))
    return layer


@claim(
    "P1",
    title="dividing by the rows' norms in the forward changes nothing",
    statement="The published forward divides M and Z by sqrt(M^2 + sum_k Z_k^2/S). That is a no-op on w = sgn(M + "
    "r Z), on the output and on every gradient, since the backward is the identity through the sign; the "
    "stored M and Z are never projected.",
    source="Published code of Orecchia et al. (NeurIPS 2024); sgn(c x) = sgn(x).",
    computed="Linear layers in float64: output and gradients before and after the division of M and Z by these "
    "norms, and by random positive numbers, at the same r; `project` of a published layer.",
    falsified_by="A division that changes an output, a gradient, or, by itself, the stored parameters.",
)
def division(trial: Trial) -> Iterator[Measurement]:
    """Divide the stored rows and run the layer again."""
    largest, moved, flipped = 0.0, 0.0, 0
    for _ in range(trial.count(5)):
        layer = _layer(trial.rng, "published")
        before = [layer.backward(), *map(_gradient, (layer.mean, layer.factor, layer.alpha))]
        stored = [layer.mean.detach().clone(), layer.factor.detach().clone()]
        vispa.nn.project(layer.model)
        kept = [layer.mean.detach() - stored[0], layer.factor.detach() - stored[1]]
        moved = max(moved, *(float(change.abs().max()) for change in kept))
        norms = torch.from_numpy(np.linalg.norm(layer.latent_rows(), axis=1)).reshape(OUTPUTS, INPUTS)
        flipped += int((torch.sign(stored[0]) != _signs(layer)).sum())
        for divisor in (norms, torch.from_numpy(10.0 ** trial.rng.uniform(-2, 2, size=(OUTPUTS, INPUTS)))):
            with torch.no_grad():
                layer.mean.div_(divisor)
                layer.factor.div_(divisor[:, None])
            after = [layer.backward(), *map(_gradient, (layer.mean, layer.factor, layer.alpha))]
            changes = [float((a - b).abs().max()) for a, b in zip(after, before, strict=True)]
            largest = max(largest, *changes)
    yield at_most("largest change of an output or gradient", largest, 1e-13)
    yield at_most("published projection: largest change of the stored M and Z", moved, 0.0)
    yield at_least("signs that the noise moved away from sgn(M)", flipped, 1)


def _signs(layer: Layer) -> Tensor:
    latent = layer.mean.detach() + torch.einsum("k,oki->oi", layer.noise(), layer.factor.detach())
    return torch.where(latent >= 0, 1.0, -1.0).to(torch.float64)


@claim(
    "P2",
    title="the layer's gradients are the low-rank estimator",
    statement="One r ~ N(0, I_K/S) a forward, w = sgn(M + r Z), output = alpha * (inputs w^T). With G = dL/dw: "
    "grad_M = G and grad_Z = sqrt(S) r^T G. In the coordinates Z' = Z/sqrt(S), g = sqrt(S) r this is the "
    "estimator grad_mu = grad L(w), grad_Z' = grad L(w) g^T.",
    source="Published code and Algorithm 1 of Orecchia et al. (NeurIPS 2024).",
    computed="Output, G and grad_alpha by hand at the same r; the gradients of `estimators.straight_through` for "
    "the same loss, rows (M, Z') and draw g.",
    falsified_by="An output or gradient of the layer that differs from the formula or from the estimator.",
)
def gradients(trial: Trial) -> Iterator[Measurement]:
    """Compare the layer with the formulas, and with the estimator over the cube."""
    worst = dict.fromkeys(("output", "grad_M", "grad_Z", "grad_alpha", "estimator"), 0.0)
    for _ in range(trial.count(5)):
        layer = _layer(trial.rng, "published")
        output, signs, noise = layer.backward(), _signs(layer), layer.noise()
        G, alpha = layer.gradient_at_signs(signs), layer.alpha.detach()
        products = layer.inputs @ signs.T
        draw = estimators.Draw(math.sqrt(SCALE) * noise[None, :], torch.zeros((1, signs.numel())).double())
        estimate = estimators.straight_through(_loss(layer), torch.from_numpy(layer.latent_rows()), draw)
        mean, factor = _gradient(layer.mean), _gradient(layer.factor)
        flat = torch.cat([mean.reshape(-1, 1), factor.transpose(1, 2).reshape(-1, RANK)], dim=1)
        pairs = {
            "output": (output, alpha * products),
            "grad_M": (mean, G),
            "grad_Z": (factor, math.sqrt(SCALE) * noise[:, None] * G[:, None, :]),
            "grad_alpha": (_gradient(layer.alpha), ((output - layer.targets) * products).sum(dim=0)),
            "estimator": (flat, estimate.gradient),
        }
        for name, (found, expected) in pairs.items():
            worst[name] = max(worst[name], float((found - expected).abs().max() / expected.abs().max()))
    for name, error in worst.items():
        against = "estimators.straight_through" if name == "estimator" else f"formula of {name}"
        yield at_most(f"largest relative error against the {against}", error, 1e-12)


def _loss(layer: Layer) -> CallableLoss:
    """L over all weights of the layer as one point of the cube."""
    alpha = layer.alpha.detach()

    def function(points: Tensor) -> Tensor:
        outputs = alpha * torch.einsum("bi,poi->pbo", layer.inputs, points.reshape(-1, OUTPUTS, INPUTS))
        return 0.5 * (outputs - layer.targets).square().sum(dim=(1, 2))

    return CallableLoss(function)


@claim(
    "P3",
    title="S is a variance at the start and a preconditioner ever after",
    statement="r has variance 1/S, so Z/sqrt(S) is the factor of the covariance; a gradient step of length lr on Z "
    "is one of length lr/sqrt(S) on Z/sqrt(S), while that on M is lr.",
    source="Substitute Z = sqrt(S) Z' in section 6. Derived.",
    computed="One SGD step of an attached optimizer against the estimator's gradient in the coordinates Z'; the "
    "mean of S r^2 over forwards, r read off grad_Z / grad_M (Laurent and Massart's bound for chi-square).",
    falsified_by="A step of another length, or a mean square of r outside its radius.",
)
def preconditioner(trial: Trial) -> Iterator[Measurement]:
    """Take a step, and measure the noise."""
    layer, rate = _layer(trial.rng, "published"), 0.3
    optimizer = vispa.attach(torch.optim.SGD([layer.mean], lr=rate), layer.model)
    layer.backward()
    before = layer.latent_rows()
    draw = estimators.Draw(
        math.sqrt(SCALE) * layer.noise()[None, :], torch.zeros((1, before.shape[0])).double()
    )
    gradient = estimators.straight_through(_loss(layer), torch.from_numpy(before), draw).gradient.numpy()
    optimizer.step()
    step = before - layer.latent_rows()
    yield at_most("|step on M - lr G|, relative", _relative(step[:, 0], rate * gradient[:, 0]), 1e-12)
    expected = rate / math.sqrt(SCALE) * gradient[:, 1:]
    yield at_most("|step on Z/sqrt(S) - lr/sqrt(S) G g^T|, relative", _relative(step[:, 1:], expected), 1e-12)

    draws, total = trial.count(400), 0.0
    for seed in trial.rng.integers(2**31, size=draws).tolist():
        fresh = layer._replace(seed=seed)
        fresh.backward()
        mean, factor = _gradient(layer.mean)[0, 0], _gradient(layer.factor)[0, :, 0]
        total += float((factor / mean).square().sum())  # sqrt(S) r, squared
    degrees, spent = draws * RANK, math.log(2.0 / ERROR_PROBABILITY)
    radius = 2.0 * math.sqrt(spent / degrees) + 2.0 * spent / degrees
    found = abs(total / degrees - 1.0)
    yield at_most("|mean of S r^2 - 1|", found, radius, error_probability=ERROR_PROBABILITY)


def _relative(found: Array, expected: Array) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@claim(
    "P4",
    title="the paper's projection is the gauge, in the coordinates Z/sqrt(S)",
    statement="After every step Algorithm 1 divides the rows (M, Z/sqrt(S)) by their norms: M^2 + sum_k Z_k^2/S "
    "= 1. It changes no sign and no gradient at this point, only the length of later steps.",
    source="Orecchia et al. (NeurIPS 2024), Algorithm 1; claim G1.",
    computed="A step of an attached optimizer with projection 'paper' and with 'published' from the same point: "
    "the first against the second after `SignGaussian.projected`.",
    falsified_by="A row that is not of unit length, or not where the projection of the plain step is.",
)
def projection(trial: Trial) -> Iterator[Measurement]:
    """Take the same step with both projections."""
    length, distance, apart = 0.0, 0.0, math.inf
    for _ in range(trial.count(5)):
        paper, published = (_layer(trial.rng, name) for name in ("paper", "published"))
        published = published._replace(inputs=paper.inputs, targets=paper.targets, seed=paper.seed)
        with torch.no_grad():
            for mine, theirs in zip(published[1:4], paper[1:4], strict=True):
                mine.copy_(theirs)
        for layer in (paper, published):
            optimizer = vispa.attach(torch.optim.SGD([layer.mean], lr=0.3), layer.model)
            layer.backward()
            optimizer.step()
        rows, plain = paper.latent_rows(), published.latent_rows()
        unit = SignGaussian(plain[:, 0], plain[:, 1:]).projected()
        length = max(length, float(np.abs((rows**2).sum(axis=1) - 1.0).max()))
        distance = max(distance, float(np.abs(rows - np.column_stack([unit.mean, unit.factor])).max()))
        apart = min(apart, float(np.abs(rows - plain).max()))
    yield at_most("largest |M^2 + sum Z^2/S - 1| after a step", length, 1e-13)
    yield at_most("largest distance from the projected plain step", distance, 1e-13)
    yield at_least("how far both projections are apart", apart, 0.1)


@claim(
    "P5",
    title="the layer's binary activation has the Bi-Real kernel, exact for triangular noise",
    statement="With binary activations the input is sgn(x), sgn(0) = +1, its gradient scaled by max(2 - |2x|, 0): "
    "twice the density of triangular noise on [-1, 1].",
    source="Liu et al., Bi-Real Net (2018); claim S3.",
    computed="`SignActivation` forward and backward at random points, at 0, -0 and +-1, against sgn and twice the "
    "density of `noise_of('bi-real')`.",
    falsified_by="A point with another sign or another slope.",
)
def activation(trial: Trial) -> Iterator[Measurement]:
    """Differentiate the activation at many points."""
    drawn = trial.rng.normal(scale=1.0, size=trial.count(2000))
    inputs = torch.from_numpy(np.concatenate([drawn, [0.0, -0.0, 1.0, -1.0, 0.5, 30.0]])).requires_grad_()
    outputs = vispa.SignActivation()(inputs)
    outputs.sum().backward()
    slopes = 2.0 * ste.noise_of("bi-real").density(inputs.detach())
    signs = torch.where(inputs.detach() >= 0, 1.0, -1.0)
    yield at_most("outputs that are not sgn(x)", int((outputs.detach() != signs).sum()), 0)
    gradient = inputs.grad if inputs.grad is not None else torch.full_like(slopes, math.nan)
    yield at_most("largest |slope - 2 f(x)|", float((gradient - slopes).abs().max()), 1e-15)


CLAIMS: tuple[Claim, ...] = (division, gradients, preconditioner, projection, activation)
