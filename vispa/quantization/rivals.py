"""The other ways to make a layer binary after training, from their formulas: what a search has to beat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vispa.quantization.gptq import PUBLISHED_DAMPING, gptq_signs, triangle
from vispa.quantization.layer_problem import LayerProblem
from vispa.quantization.scales import Fitted, fit_scales, mean_scales, spread

Rival = Callable[[LayerProblem, NDArray[np.int64]], Fitted]


def sgn(problem: LayerProblem, borders: NDArray[np.int64]) -> Fitted:
    """Signs of sgn(w) with the scales that are best for them."""
    return fit_scales(problem, mean_scales(problem, borders).signs, borders)


def gptq(problem: LayerProblem, borders: NDArray[np.int64]) -> Fitted:
    """Signs of GPTQ at the mean of |w| (Frantar et al. 2023), with the scales that are best for them."""
    columns = spread(mean_scales(problem, borders).scales, borders)
    return fit_scales(problem, gptq_signs(triangle(problem, PUBLISHED_DAMPING), columns), borders)


def gptq_descent(problem: LayerProblem, borders: NDArray[np.int64]) -> Fitted:
    """Signs of GPTQ after single flips on the joint error, until none gains."""
    from vispa.quantization.kernels.joint_flips import improve, improve_groups

    signs = gptq(problem, borders).signs
    seeds = np.zeros(len(signs), dtype=np.int64)
    if len(borders) == 2:
        improve(problem.gram, problem.linear, signs, 0, 0, seeds)
    else:
        improve_groups(problem.gram, problem.linear, signs, borders, 0, 0, 1, seeds)
    return fit_scales(problem, signs, borders)


RIVALS: dict[str, Rival] = {
    "sgn-mean": mean_scales,
    "sgn": sgn,
    "gptq": gptq,
    "gptq-descent": gptq_descent,
}
