"""Problems whose optimum is known because it was planted (claim R5), in floating point and exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.problems.problem import Elliptope
from theory_checks import instances

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Plant:
    """C = S + Diag(y) with S PSD and S V = 0: then V V^T is optimal, with value 1^T y.

    Attributes
    ----------
    problem : Elliptope
        With cost C.
    factor : (N, k) ndarray
        The optimal unit rows V.
    dual : (N,) ndarray
        The optimal y.
    value : float
        1^T y.
    scale : float
        max(|value|, |C|_F), by which errors are divided.
    """

    problem: Elliptope
    factor: Array
    dual: Array
    value: float
    scale: float


def planted(rng: np.random.Generator, size: int, rank: int, *, descent: float = 0.0) -> Plant:
    """Plant a dense problem whose S has rank N - k; a positive ``descent`` spoils it.

    With ``descent``, S gets the eigenvalue -descent on one vector orthogonal to V: V stays critical, but is no
    longer optimal.
    """
    V = instances.unit_rows(rng, size, rank)
    basis = np.linalg.qr(np.column_stack([V, rng.normal(size=(size, size - rank))]))[0][:, rank:]
    eigenvalues = rng.uniform(0.5, 2.0, size=size - rank)
    if descent:
        eigenvalues[0] = -descent
    S = (basis * eigenvalues) @ basis.T
    y = rng.normal(size=size)
    return _plant(0.5 * (S + S.T) + np.diag(y), V, y)


def planted_exactly(rng: np.random.Generator, size: int) -> Plant:
    """Plant a sparse integer problem without any rounding: dyadic rows, integer S and y.

    Rows are +-e_k and (+-1/2)^4.  Each further row is tied to four unit rows, or to one, by an integer vector
    a with a^T V = 0, and S = sum of a a^T.
    """
    V = np.zeros((size, 4))
    ties = np.zeros((size, size))
    V[:4] = np.eye(4)
    for i in range(4, size):
        signs = rng.choice([-1.0, 1.0], size=4)
        if rng.random() < 0.3:
            V[i] = 0.5 * signs
            ties[i, i], ties[i, :4] = 2.0, -signs
        else:
            earlier = rng.integers(i)
            V[i] = signs[0] * V[earlier]
            ties[i, i], ties[i, earlier] = 1.0, -signs[0]
    y = rng.integers(-8, 9, size=size).astype(np.float64)
    return _plant(sp.csr_array(ties.T @ ties + np.diag(y)), V, y)


def _plant(cost: Array | sp.csr_array, V: Array, y: Array) -> Plant:
    entries = cost @ np.eye(V.shape[0])
    value = float(y.sum())
    return Plant(Elliptope(cost), V, y, value, max(abs(value), float(np.linalg.norm(entries))))
