"""Riemannian conjugate gradient: the method for costs that are only applied, never seen.

Polak-Ribiere directions on the product of spheres; each step is exact for the second-order model along the
direction, from one Hessian product, and is halved until the objective decreases.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solvers.linalg.sphere import Factor, retract, row_products, tangent
from solvers.methods.base import Advance
from solvers.problems.problem import Cost

# A step is accepted when the value rises by no more than its own rounding.
ROUNDING = 1e-14
MAX_HALVINGS = 30


class ConjugateGradient:
    """Conjugate gradient on unit rows; two products with the cost an iteration.

    Parameters
    ----------
    cost : (n, n) LinearOperator, ndarray or sparse array
        Symmetric.
    """

    def __init__(self, cost: Cost) -> None:
        self._cost = cost
        self.restart()

    def restart(self) -> None:
        """Forget the previous direction, as after an escape."""
        self.iterations = 0
        self._direction: Factor | None = None
        self._previous_gradient: Factor | None = None

    def advance(self, factor: Factor, count: int) -> Advance:
        """Run ``count`` iterations, or fewer where nothing decreases any more."""
        image = self._apply(factor)
        decrease = total = 0.0
        for _ in range(count):
            factor, image, decrease = self._step(factor, image)
            self.iterations += 1
            total += decrease
            if decrease == 0.0:
                break
        return Advance(factor, decrease, total)

    def _apply(self, factor: Factor) -> Factor:
        return np.asarray(self._cost @ factor, dtype=np.float64)

    def _step(self, factor: Factor, image: Factor) -> tuple[Factor, Factor, float]:
        dual = row_products(image, factor)
        gradient = image - dual[:, None] * factor
        direction = self._conjugate(factor, gradient)
        slope = float(np.vdot(gradient, direction))
        if slope == 0.0:
            return factor, image, 0.0
        curvature = float(np.vdot(direction, self._apply(direction) - dual[:, None] * direction))
        length = np.sqrt(float(np.vdot(direction, direction)))
        # negative curvature: go as far as a typical row can usefully turn
        step = -slope / curvature if curvature > 0 else 0.5 * np.sqrt(factor.shape[0]) / length
        value = float(dual.sum())
        for _ in range(MAX_HALVINGS):
            trial = retract(factor, step * direction)
            trial_image = self._apply(trial)
            trial_value = float(np.vdot(trial, trial_image))
            if trial_value <= value + 1e-4 * step * slope + ROUNDING * abs(value):
                self._direction = tangent(trial, direction)
                self._previous_gradient = tangent(trial, gradient)
                return trial, trial_image, max(value - trial_value, 0.0)
            step *= 0.5
        self._direction = None
        return factor, image, 0.0

    def _conjugate(self, factor: Factor, gradient: Factor) -> NDArray[np.float64]:
        if self._direction is None or self._previous_gradient is None:
            return -gradient
        previous = self._previous_gradient
        denominator = float(np.vdot(previous, previous))
        if denominator == 0.0:
            return -gradient
        weight = max(0.0, float(np.vdot(gradient, gradient - previous)) / denominator)
        direction = weight * self._direction - gradient
        return direction if float(np.vdot(direction, gradient)) < 0 else -gradient
