"""GPTQ at one bit, and its wider form: fix one sign after another, and let the columns that follow make up."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray

from vispa.quantization.layer_problem import LayerProblem, Matrix

# Of the mean diagonal entry of A, added to all of them: the published setting, and one that trusts A further.
PUBLISHED_DAMPING = 1e-2
LIGHT_DAMPING = 1e-4


class Triangle(NamedTuple):
    """What the order of columns and the damping make of a layer, ready for the search at any scales.

    Attributes
    ----------
    order : (n,) ndarray
        Columns from the largest A_ii to the smallest ("act-order").
    upper : (n, n) ndarray
        The upper Cholesky factor of (A + d I)^-1 in this order.
    targets : (J, n) ndarray
        (A + d I)^-1 (a + d w) in this order: what the signs are to come near.
    """

    order: NDArray[np.intp]
    upper: Matrix
    targets: Matrix


def triangle(problem: LayerProblem, damping: float) -> Triangle:
    """The layer's triangle, damped by this share of A's mean diagonal entry, further where A needs more."""
    diagonal = np.diagonal(problem.gram)
    order = np.argsort(-diagonal, kind="stable")
    gram = problem.gram[np.ix_(order, order)]
    added = damping * float(diagonal.mean()) or 1.0
    while True:
        damped = gram + added * np.eye(len(gram))
        try:
            lower = la.cholesky(damped, lower=True)
            inverse = la.cho_solve((lower, True), np.eye(len(gram)))
            upper = la.cholesky(0.5 * (inverse + inverse.T), lower=False)
            break
        except la.LinAlgError:
            added *= 10.0
    right = (problem.linear + added * problem.weights)[:, order]
    targets = la.cho_solve((lower, True), right.T).T
    return Triangle(order, np.ascontiguousarray(upper), np.ascontiguousarray(targets))


def gptq_signs(shape: Triangle, scales: Matrix, *, width: int = 1) -> Matrix:
    """Signs (J, n) at the scales (J, n) of every column, in the columns' own order; O(J n^2 width)."""
    from vispa.quantization.kernels.beam import beam_search

    signs = np.empty_like(shape.targets)
    signs[:, shape.order] = beam_search(
        shape.upper, shape.targets, np.ascontiguousarray(scales[:, shape.order]), width
    )
    return signs
