"""Random problems for the relaxation study: quadratics small enough to enumerate, and a tiny binary network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize
from torch import Tensor

from solvers.certificates import dual_bound as certificate
from solvers.linalg import sphere
from solvers.problems.problem import BinaryQuadratic, Elliptope, MaxCut
from theory_checks import instances

Array = NDArray[np.float64]

SIZE = 20
HIDDEN, INPUTS, EXAMPLES = 3, 4, 24
NETWORK_SIZE = HIDDEN * (INPUTS + 1)


def spin_glass(rng: np.random.Generator) -> BinaryQuadratic:
    """Sherrington-Kirkpatrick: Gaussian couplings between all pairs."""
    couplings = instances.symmetric(rng, SIZE)
    return BinaryQuadratic(couplings - np.diag(np.diag(couplings)))


def maxcut(rng: np.random.Generator) -> MaxCut:
    """Half of all edges, weights in (1/2, 3/2)."""
    return instances.graph(rng, SIZE)


def binary_teacher(rng: np.random.Generator) -> BinaryQuadratic:
    """Least squares |X w - y|^2 with as many examples as weights, y = X w* + noise of the same size."""
    inputs = rng.normal(size=(SIZE, SIZE)) / np.sqrt(SIZE)
    labels = inputs @ rng.choice([-1.0, 1.0], size=SIZE) + rng.normal(size=SIZE)
    return BinaryQuadratic(inputs.T @ inputs, -2.0 * inputs.T @ labels, constant=float(labels @ labels))


FAMILIES: dict[str, Callable[[np.random.Generator], BinaryQuadratic | MaxCut]] = {
    "spin glass": spin_glass,
    "MaxCut": maxcut,
    "binary teacher": binary_teacher,
}


def network_loss(rng: np.random.Generator) -> Callable[[Tensor], Tensor]:
    """Squared error of tanh units with binary weights in both layers; labels from such a network, with noise."""
    inputs = torch.from_numpy(rng.normal(size=(EXAMPLES, INPUTS)))
    noise = torch.from_numpy(rng.normal(size=EXAMPLES))
    teacher = torch.from_numpy(rng.choice([-1.0, 1.0], size=(1, NETWORK_SIZE)))

    def outputs(w: Tensor) -> Tensor:
        first = w[:, : HIDDEN * INPUTS].reshape(-1, HIDDEN, INPUTS)
        return (w[:, HIDDEN * INPUTS :, None] * torch.tanh(first @ inputs.T)).sum(dim=1)

    labels = outputs(teacher)[0] + noise
    return lambda w: (outputs(w) - labels).square().mean(dim=1)


def quadratic_part(losses: Array, points: Array) -> tuple[BinaryQuadratic, float]:
    """Best quadratic approximation over the cube, and the share of the variance of L that it explains.

    The Fourier coefficients of degree at most two; parities are orthonormal under the uniform law.
    """
    count = points.shape[0]
    first = losses @ points / count
    second = points.T @ (losses[:, None] * points) / count
    np.fill_diagonal(second, 0.0)
    problem = BinaryQuadratic(0.5 * second, first, constant=float(losses.mean()))
    explained = float((first**2).sum() + 0.5 * (second**2).sum())
    return problem, explained / float(losses.var())


def descend(problem: Elliptope, width: int, rng: np.random.Generator) -> Array:
    """Unit rows of the given width where conjugate gradients end, from a random start; nothing escapes."""
    cost = np.asarray(problem.cost @ np.eye(problem.size))

    def objective(flat: Array) -> tuple[float, Array]:
        rows = flat.reshape(problem.size, width)
        V = sphere.normalise(rows)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        gradient = 2.0 * sphere.tangent(V, cost @ V) / lengths
        return float(certificate.dual_vector(cost, V).sum()), gradient.ravel()

    start = sphere.random_rows(problem.size, width, rng).ravel()
    end = optimize.minimize(
        objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "gtol": 1e-8}
    )
    return np.asarray(sphere.normalise(end.x.reshape(problem.size, width)))
