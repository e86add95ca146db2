"""Riemannian trust region: the second-order method for problems on which sweeps crawl.

Where strict complementarity fails the objective is flat to fourth order along some directions, and first-order
methods converge like a power of the iteration count; Newton steps still gain a constant factor each.  The model
is minimised by conjugate gradient, truncated at the boundary or at negative curvature (Absil, Baker and Gallivan
2007), preconditioned by the diagonal of C - Diag(y).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solvers.linalg.matvec import Matvec
from solvers.linalg.sphere import Factor, retract, row_products, tangent
from solvers.methods.base import Advance

ACCEPTED = 0.1
GOOD = 0.75
MAX_INNER = 500
# Below this share of the value, the ratio of actual to predicted decrease is rounding noise.
ROUNDING = 1e-13


class TrustRegion:
    """Outer iterations on unit rows; up to 500 products with the cost in each.

    Parameters
    ----------
    matvec : Matvec
        Of the symmetric cost.
    """

    def __init__(self, matvec: Matvec) -> None:
        self._cost = matvec
        self.restart()

    def restart(self) -> None:
        """Forget the radius, as after an escape."""
        self.iterations = 0
        self._radius: float | None = None

    def advance(self, factor: Factor, count: int) -> Advance:
        """Run one outer iteration, whatever the count; `iterations` grows by its products."""
        image = np.asarray(self._cost @ factor, dtype=np.float64)
        dual = row_products(image, factor)
        gradient = image - dual[:, None] * factor
        self.iterations += 1
        if np.linalg.norm(gradient) <= np.finfo(np.float64).eps * np.linalg.norm(image):
            return Advance(factor, 0.0, 0.0)
        if self._radius is None:
            self._radius = 0.5 * np.sqrt(factor.shape[0])
        step, predicted, at_boundary = self._model_step(factor, dual, gradient)
        trial = retract(factor, step)
        value = float(dual.sum())
        trial_image = np.asarray(self._cost @ trial)
        trial_value = float(np.vdot(trial, trial_image))
        decrease = value - trial_value
        noise = ROUNDING * abs(value)
        ratio = (decrease + noise) / (predicted + noise)
        if ratio < 0.25:
            self._radius *= 0.25
        elif ratio > GOOD and at_boundary:
            self._radius = min(2.0 * self._radius, 2.0 * np.sqrt(factor.shape[0]))
        # where values are equal to rounding, only a smaller gradient tells the better point
        worse = abs(decrease) <= noise and np.linalg.norm(tangent(trial, trial_image)) > np.linalg.norm(
            gradient
        )
        if ratio < ACCEPTED or worse:
            return Advance(factor, 0.0, 0.0)
        return Advance(trial, max(decrease, 0.0), max(decrease, 0.0))

    def _model_step(
        self, factor: Factor, dual: NDArray[np.float64], gradient: Factor
    ) -> tuple[Factor, float, bool]:
        """Minimise 2 <G, D> + <D, S D> over tangent D within the radius; return D, the decrease, and where."""
        assert self._radius is not None
        scaling = np.maximum(-dual, 1e-3 * float(np.abs(dual).max(initial=0.0)) + np.finfo(float).tiny)
        weights = scaling / scaling.mean()
        step = np.zeros_like(factor)
        residual = gradient
        conditioned = residual / weights[:, None]
        direction = -conditioned
        product = float(np.vdot(residual, conditioned))
        # superlinear convergence, in terms that do not change with the scale of the cost
        relative = np.sqrt(product / factor.shape[0]) / float(scaling.mean())
        target = np.sqrt(product) * min(0.1, np.sqrt(relative))
        for _ in range(MAX_INNER):
            if product == 0.0:
                break
            self.iterations += 1
            curved = np.asarray(self._cost @ direction) - dual[:, None] * direction
            curved = tangent(factor, curved)
            curvature = float(np.vdot(direction, curved))
            length = product / curvature if curvature > 0 else np.inf
            if curvature <= 0 or self._norm(step + length * direction, weights) >= self._radius:
                step = step + self._to_boundary(step, direction, weights) * direction
                return step, self._decrease(factor, dual, gradient, step), True
            step = step + length * direction
            residual = residual + length * curved
            conditioned = residual / weights[:, None]
            previous, product = product, float(np.vdot(residual, conditioned))
            if np.sqrt(product) <= target:
                break
            direction = tangent(factor, product / previous * direction - conditioned)
        return step, self._decrease(factor, dual, gradient, step), False

    def _decrease(self, factor: Factor, dual: NDArray[np.float64], gradient: Factor, step: Factor) -> float:
        curved = np.asarray(self._cost @ step) - dual[:, None] * step
        return -2.0 * float(np.vdot(gradient, step)) - float(np.vdot(step, curved))

    def _to_boundary(self, step: Factor, direction: Factor, weights: NDArray[np.float64]) -> float:
        assert self._radius is not None
        weighted = weights[:, None] * direction
        quadratic = float(np.vdot(direction, weighted))
        linear = float(np.vdot(step, weighted))
        constant = self._norm(step, weights) ** 2 - self._radius**2
        return float((-linear + np.sqrt(max(linear**2 - quadratic * constant, 0.0))) / quadratic)

    @staticmethod
    def _norm(step: Factor, weights: NDArray[np.float64]) -> float:
        return float(np.sqrt(np.einsum("ij,ij,i->", step, step, weights)))
