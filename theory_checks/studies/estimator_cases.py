"""Laws and losses over which the estimators are compared: correlation, curvature, and shapes beyond quadratics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from vispa.gaussian.sign_gaussian import SignGaussian

Array = NDArray[np.float64]
Loss = Callable[[Tensor], Tensor]

SIZE = 8
# Share of the latent variance that the weights have in common: the correlation of any two, up to its sign.
CORRELATIONS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
# A_ii over the norm of the rest of its row: invisible to the loss on the cube, visible to its gradient.
CURVATURES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
_EXAMPLES = 32


def posterior(rng: np.random.Generator, correlation: float, n: int = SIZE) -> SignGaussian:
    """Law in the gauge with E[w_i] uniform in (-0.9, 0.9) and one factor shared with random signs."""
    ratio = special.ndtri(0.5 * (1.0 + rng.uniform(-0.9, 0.9, size=n)))
    mean = ratio / np.sqrt(1.0 + ratio**2)
    variance = 1.0 - mean**2
    factor = np.sqrt(correlation * variance) * rng.choice([-1.0, 1.0], size=n)
    return SignGaussian(mean, factor[:, None], (1.0 - correlation) * variance)


def rows_of(law: SignGaussian) -> Tensor:
    """(mean, z, s), without the last column where s = 0: there the published estimator lives."""
    columns = [law.mean, law.factor, np.sqrt(law.residual)]
    return torch.from_numpy(np.column_stack(columns if law.residual.any() else columns[:2]))


def quadratic(curvature: float) -> Callable[[np.random.Generator], Loss]:
    """w^T A w with rows of unit norm off a constant diagonal."""

    def draw(rng: np.random.Generator) -> Loss:
        upper = np.triu(rng.normal(size=(SIZE, SIZE)), 1)
        A = torch.from_numpy((upper + upper.T) / np.sqrt(SIZE - 1) + curvature * np.eye(SIZE))
        return lambda w: ((w @ A) * w).sum(dim=1)

    return draw


def multilinear(rng: np.random.Generator) -> Loss:
    """Any function on the cube, extended inside it by averaging over independent signs."""
    corners = torch.from_numpy(rng.normal(size=2**SIZE))

    def extension(w: Tensor) -> Tensor:
        values = corners.expand(w.shape[0], -1)
        for i in range(SIZE):
            lower, upper = values.reshape(w.shape[0], 2, -1).unbind(dim=1)
            share = 0.5 * (1.0 + w[:, i, None])
            values = lower + share * (upper - lower)
        return values[:, 0]

    return extension


def logistic(steepness: float) -> Callable[[np.random.Generator], Loss]:
    """Cross-entropy of a binary teacher's labels; the larger the steepness, the nearer to a step."""

    def draw(rng: np.random.Generator) -> Loss:
        inputs = torch.from_numpy(rng.normal(size=(_EXAMPLES, SIZE)) / np.sqrt(SIZE))
        teacher = torch.from_numpy(rng.choice([-1.0, 1.0], size=SIZE))
        margins = inputs * torch.sign(inputs @ teacher)[:, None]
        return lambda w: torch.nn.functional.softplus(-steepness * (w @ margins.T)).mean(dim=1)

    return draw


def network(activation: Callable[[Tensor], Tensor]) -> Callable[[np.random.Generator], Loss]:
    """Squared error of two hidden units with four binary weights each, labels from another such network."""

    def draw(rng: np.random.Generator) -> Loss:
        inputs = torch.from_numpy(rng.normal(size=(_EXAMPLES, SIZE // 2)))
        teacher = torch.from_numpy(rng.choice([-1.0, 1.0], size=(1, SIZE)))

        def output(w: Tensor) -> Tensor:
            hidden = activation(w.reshape(-1, 2, SIZE // 2) @ inputs.T)
            return hidden[:, 0] - hidden[:, 1]

        labels = output(teacher)
        return lambda w: (output(w) - labels).square().mean(dim=1)

    return draw


LOSSES: dict[str, Callable[[np.random.Generator], Loss]] = {
    **{f"quadratic, A_ii = {c:g}": quadratic(c) for c in CURVATURES},
    "multilinear, all degrees": multilinear,
    **{f"logistic teacher, steepness {s:g}": logistic(s) for s in (1.0, 4.0, 16.0)},
    "two tanh units": network(torch.tanh),
    "two steep tanh units": network(lambda x: torch.tanh(4.0 * x)),
    "two ReLU units": network(torch.relu),
}
