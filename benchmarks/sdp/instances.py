"""Graphs to measure on: from files, or generated here so that the benchmark runs anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers import Elliptope, MaxCut, read_problem


@dataclass(frozen=True, eq=False)
class Instance:
    """A unit-diagonal SDP with a sparse cost, min <C, Y>, and the Frobenius norm that scales its gap."""

    name: str
    cost: sp.csr_array

    @property
    def order(self) -> int:
        """N, the order of Y."""
        return int(self.cost.shape[0])

    @property
    def edges(self) -> int:
        """Number of non-zero pairs."""
        return int((self.cost.nnz - np.count_nonzero(self.cost.diagonal())) // 2)

    @property
    def frobenius(self) -> float:
        """Frobenius norm of C."""
        return float(np.linalg.norm(self.cost.data))

    @property
    def problem(self) -> Elliptope:
        """What the solvers are given."""
        return Elliptope(self.cost, maximised=True)


def from_file(path: Path) -> Instance:
    """Read a rudy or SDPA file."""
    return Instance(path.name.removesuffix(".dat-s"), sp.csr_array(read_problem(path).relaxation().cost))


def generated(scale: int) -> list[Instance]:
    """A sparse and a dense random graph and a toroidal grid with signs, of about ``scale`` vertices each."""
    generator = np.random.default_rng(0)
    side = max(round(scale**0.5), 3)
    torus = _torus(side, generator)
    return [
        _instance(f"sparse-{scale}", _random_graph(scale, 5.0 / scale, generator)),
        _instance(f"dense-{scale}", _random_graph(scale, 0.2, generator)),
        _instance(f"torus-{side * side}", torus),
    ]


def write_rudy(cost: sp.csr_array, path: Path) -> float:
    """Write the graph with edge weights 4 C_ij; return what its MaxCut objective must be raised by.

    With w = 4 C off the diagonal, <C, Y> = sum_{i<j} w_ij (Y_ij - 1) / 2 + sum_{i<j} w_ij / 2 + trace C.
    """
    upper = sp.coo_array(sp.triu(cost, k=1))
    weights = 4.0 * upper.data
    rows, columns = upper.coords[0] + 1, upper.coords[1] + 1
    edges = zip(rows.tolist(), columns.tolist(), weights.tolist(), strict=True)
    lines = [f"{i} {j} {weight:.17g}\n" for i, j, weight in edges]
    path.write_text(f"{cost.shape[0]} {len(lines)}\n" + "".join(lines))
    return float(weights.sum() / 2 + cost.diagonal().sum())


def _instance(name: str, weights: sp.csr_array) -> Instance:
    return Instance(name, sp.csr_array(MaxCut(weights).relaxation().cost))


def _random_graph(order: int, density: float, generator: np.random.Generator) -> sp.csr_array:
    first, second = np.triu_indices(order, k=1)
    chosen = generator.choice(first.shape[0], size=round(density * first.shape[0]), replace=False)
    return _symmetric(first[chosen], second[chosen], np.ones(chosen.shape[0]), order)


def _torus(side: int, generator: np.random.Generator) -> sp.csr_array:
    cells = np.arange(side * side).reshape(side, side)
    first = np.concatenate([cells.ravel(), cells.ravel()])
    second = np.concatenate([np.roll(cells, 1, axis=0).ravel(), np.roll(cells, 1, axis=1).ravel()])
    return _symmetric(first, second, generator.choice([-1.0, 1.0], size=first.shape[0]), side * side)


def _symmetric(
    first: NDArray[np.intp], second: NDArray[np.intp], weights: NDArray[np.float64], order: int
) -> sp.csr_array:
    half = sp.coo_array((weights, (first, second)), shape=(order, order)).tocsr()
    return sp.csr_array(half + half.T)
