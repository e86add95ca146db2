"""Random instances that claims are tried on: all from the generator they are given, none special."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.problems.problem import BinaryQuadratic, Elliptope, MaxCut
from solvers.problems.solution import Solution, Status
from vispa.gaussian.sign_gaussian import SignGaussian

Array = NDArray[np.float64]


def symmetric(rng: np.random.Generator, n: int) -> Array:
    """Draw a dense symmetric matrix with standard normal entries: a spin glass, with a diagonal."""
    matrix = rng.normal(size=(n, n))
    return 0.5 * (matrix + matrix.T)


def quadratic(rng: np.random.Generator, n: int, *, linear: bool = True) -> BinaryQuadratic:
    """Draw a dense quadratic, with a linear term unless told otherwise, and a constant."""
    return BinaryQuadratic(symmetric(rng, n), rng.normal(size=n) if linear else None, constant=rng.normal())


def sparse_quadratic(rng: np.random.Generator, n: int) -> BinaryQuadratic:
    """Draw a quadratic with a linear term whose matrix is sparse, about three entries a row."""
    upper = sp.random_array((n, n), density=3.0 / n, rng=rng, data_sampler=rng.standard_normal)
    return BinaryQuadratic(sp.csr_array(upper + upper.T), rng.normal(size=n))


def graph(rng: np.random.Generator, n: int, *, density: float = 0.5) -> MaxCut:
    """Draw an Erdős-Rényi graph with positive weights."""
    upper = np.triu(rng.uniform(0.5, 1.5, size=(n, n)) * (rng.random((n, n)) < density), 1)
    return MaxCut(upper + upper.T)


def bipartite_graph(rng: np.random.Generator, n: int) -> MaxCut:
    """Draw a complete bipartite graph: its largest cut, and its relaxation, take every edge."""
    side = n // 2
    across = rng.uniform(0.5, 1.5, size=(side, n - side))
    return MaxCut(np.block([[np.zeros((side, side)), across], [across.T, np.zeros((n - side, n - side))]]))


def unit_rows(rng: np.random.Generator, count: int, width: int) -> Array:
    """Draw rows uniformly from the unit sphere."""
    rows = rng.normal(size=(count, width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def correlation_matrix(rng: np.random.Generator, size: int, rank: int) -> Array:
    """Draw a PSD matrix with unit diagonal, of the given rank."""
    rows = unit_rows(rng, size, rank)
    matrix = rows @ rows.T
    np.fill_diagonal(matrix, 1.0)
    return matrix


def posterior(rng: np.random.Generator, n: int, rank: int, *, noise: float = 1.0) -> SignGaussian:
    """Draw a sign-Gaussian outside the gauge; ``noise`` scales the residual, 0 for none."""
    return SignGaussian(rng.normal(size=n), rng.normal(size=(n, rank)), noise * rng.uniform(0.2, 1.5, size=n))


def elliptope_point(V: Array, *, homogenised: bool) -> Solution:
    """Wrap unit rows as what a solver would return, for a cost of zero."""
    size = V.shape[0]
    return solution_at(Elliptope(np.zeros((size, size)), homogenised=homogenised), V)


def solution_at(problem: Elliptope, V: Array) -> Solution:
    """Wrap unit rows as a solution of the problem that nobody has certified."""
    value = float(np.vdot(V, np.asarray(problem.cost @ V)))
    return Solution(
        problem=problem,
        factor=V,
        value=value,
        lower_bound=-np.inf,
        gap=np.inf,
        dual=np.zeros(problem.size),
        certificate="none",
        status=Status.NOT_CERTIFIED,
        iterations=0,
        seconds=0.0,
    )
