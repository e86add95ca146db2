"""Families of problems on which solvers trip, with the exact optimum of the relaxation where it is known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.problems.problem import BinaryQuadratic, MaxCut, Problem
from solvers.testing.planted import planted_dense, planted_dyadic

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Posed:
    """A problem, and the exact optimum of its relaxation without the constant; None where nobody knows it."""

    problem: Problem
    optimum: Fraction | None = None


def _symmetric(values: Matrix) -> Matrix:
    return np.triu(values) + np.triu(values, 1).T


def _posed(rng: np.random.Generator, matrix: Matrix, optimum: Fraction | None = None) -> Posed:
    """Dense or sparse, and now and then with a linear term, which leaves the optimum unknown."""
    stored = sp.csr_array(matrix) if rng.random() < 0.5 else matrix
    if rng.random() < 0.6:
        return Posed(BinaryQuadratic(stored), optimum)
    largest = float(np.abs(matrix).max(initial=0.0))
    b = largest * 10.0 ** rng.uniform(-3, 1) * rng.standard_normal(matrix.shape[0])
    if largest < 2.0**-1000:
        # whatever has a half
        b = np.ldexp(np.round(np.ldexp(b, 1073)), -1073)
    return Posed(BinaryQuadratic(stored, b))


def _cauchy(rng: np.random.Generator, n: int) -> Posed:
    """Entries without a variance: a few dwarf all others."""
    return _posed(rng, _symmetric(rng.standard_cauchy((n, n))))


def _graded(rng: np.random.Generator, n: int) -> Posed:
    """Entries spread over 24 decades."""
    scale = 10.0 ** rng.uniform(-6.0, 6.0, n)
    return _posed(rng, _symmetric(rng.standard_normal((n, n))) * np.multiply.outer(scale, scale))


def _circulant(rng: np.random.Generator, n: int) -> Posed:
    """Rows that are shifts of the first: eigenvalues in pairs."""
    half = rng.integers(-9, 10, n // 2 + 1).astype(np.float64)
    distance = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    return _posed(rng, half[np.minimum(distance, n - distance)])


def _regular(rng: np.random.Generator, adjacency: Matrix, smallest: int) -> Posed:
    """A distance-regular graph: the smallest eigenvalue's projector has a constant diagonal, and solves it."""
    order = adjacency.shape[0]
    shuffled = rng.permutation(order)
    signs, weight = rng.choice([-1.0, 1.0], order), float(rng.integers(1, 9))
    matrix = weight * adjacency[np.ix_(shuffled, shuffled)] * np.multiply.outer(signs, signs)
    return _posed(rng, matrix, Fraction(int(weight) * smallest * order))


def _strongly_regular(rng: np.random.Generator, n: int) -> Posed:
    """Lattice graphs m x m and triangular graphs of m points: smallest eigenvalue -2."""
    if rng.random() < 0.5:
        side = max(math.isqrt(n), 2)
        cells = list(itertools.product(range(side), repeat=2))
    else:
        side = max((1 + math.isqrt(1 + 8 * n)) // 2, 4)
        return _regular(rng, _subset_graph(side, 2), -2)
    meets = [[float((a[0] == b[0]) != (a[1] == b[1])) for b in cells] for a in cells]
    return _regular(rng, np.array(meets), -2)


def _hamming(rng: np.random.Generator, n: int) -> Posed:
    """Words of d letters, joined where they differ in one: smallest eigenvalue -d."""
    letters = int(rng.integers(2, 5))
    length = max(int(math.log(max(n, letters)) / math.log(letters)), 1)
    words = np.array(list(itertools.product(range(letters), repeat=length)))
    differ = (words[:, None, :] != words[None, :, :]).sum(axis=2)
    return _regular(rng, (differ == 1).astype(np.float64), -length)


def _johnson(rng: np.random.Generator, n: int) -> Posed:
    """Subsets of k points, joined where they share k - 1: smallest eigenvalue -k."""
    size = int(rng.integers(2, 4))
    points = 2 * size
    while math.comb(points + 1, size) <= n:
        points += 1
    return _regular(rng, _subset_graph(points, size), -size)


def _subset_graph(points: int, size: int) -> Matrix:
    subsets = np.zeros((math.comb(points, size), points))
    for row, chosen in enumerate(itertools.combinations(range(points), size)):
        subsets[row, list(chosen)] = 1.0
    return (subsets @ subsets.T == size - 1).astype(np.float64)


def _weak_links(rng: np.random.Generator, n: int) -> Posed:
    """Blocks that hardly see one another."""
    matrix = _symmetric(rng.standard_normal((n, n)))
    block = rng.integers(0, max(n // 5, 2), n)
    return _posed(rng, np.where(np.equal.outer(block, block), 1.0, 10.0 ** rng.uniform(-9, -2)) * matrix)


def _nearly_flat(rng: np.random.Generator, n: int) -> Posed:
    """Planted, with eigenvalues of the slack matrix from one down to 1e-14: no strict complementarity."""
    rank = int(rng.integers(1, max(n // 3, 2)))
    V = rng.standard_normal((n, rank))
    V /= np.linalg.norm(V, axis=1, keepdims=True)
    basis = np.linalg.qr(np.column_stack([V, rng.standard_normal((n, n - rank))]))[0][:, rank:]
    S = (basis * 10.0 ** rng.uniform(-14.0, 0.0, n - rank)) @ basis.T
    return _posed(rng, _symmetric(S + np.diag(rng.standard_normal(n))))


def _planted(rng: np.random.Generator, n: int) -> Posed:
    """Planted without rounding, or with a linear term."""
    if rng.random() < 0.5:
        planted = planted_dyadic(max(n, 5), rng=rng)
        return Posed(planted.problem, Fraction(planted.value))
    return Posed(planted_dense(n, min(2, n), rng=rng, linear=True).problem)


def _partition(rng: np.random.Generator, n: int) -> Posed:
    """X x^T with whole x: a relaxation of number partitioning, whose optimum has a closed form."""
    x = rng.integers(1, 1000, n).astype(np.float64)
    left = max(2.0 * float(x.max()) - float(x.sum()), 0.0)
    return _posed(rng, np.multiply.outer(x, x), Fraction(left) ** 2)


def _flooded(rng: np.random.Generator, n: int) -> Posed:
    """A + s 11^T: nearly all of the norm is in one direction."""
    return _posed(rng, _symmetric(rng.standard_normal((n, n))) + 10.0 ** rng.uniform(0, 6))


def _denormal(rng: np.random.Generator, n: int) -> Posed:
    """Below the smallest normal number, where halving rounds."""
    whole = rng.integers(-(2**20), 2**20, (n, n)).astype(np.float64)
    return _posed(rng, np.ldexp(_symmetric(whole), int(rng.integers(0, 25)) - 1074))


def _huge(rng: np.random.Generator, n: int) -> Posed:
    """Within a few digits of overflow."""
    return _posed(rng, _symmetric(rng.standard_normal((n, n))) * 10.0 ** rng.uniform(290, 300))


def _graph(rng: np.random.Generator, n: int) -> Posed:
    """MaxCut with weights of both signs, repeated and in a narrow type."""
    half = np.triu(rng.integers(1, 120, (n, n)) * (rng.random((n, n)) < 4.0 / n), 1)
    both = sp.coo_array((half + half.T).astype(np.int8))
    ends = (np.concatenate([both.coords[0]] * 2), np.concatenate([both.coords[1]] * 2))
    return Posed(MaxCut(sp.coo_array((np.concatenate([both.data] * 2), ends), shape=(n, n))))


def _regression(rng: np.random.Generator, n: int) -> Posed:
    """|X w - t|^2 with |t| from far below |X| to far above it."""
    X = rng.standard_normal((int(rng.integers(1, n + 1)), n))
    return Posed(
        BinaryQuadratic.least_squares(X, 10.0 ** rng.uniform(-6, 6) * rng.standard_normal(X.shape[0]))
    )


FAMILIES: dict[str, Callable[[np.random.Generator, int], Posed]] = {
    "cauchy": _cauchy,
    "graded": _graded,
    "circulant": _circulant,
    "strongly regular": _strongly_regular,
    "hamming": _hamming,
    "johnson": _johnson,
    "weak links": _weak_links,
    "nearly flat": _nearly_flat,
    "planted": _planted,
    "partition": _partition,
    "flooded": _flooded,
    "denormal": _denormal,
    "huge": _huge,
    "graph": _graph,
    "regression": _regression,
}


def draw(family: str, seed: int, index: int) -> Posed:
    """The problem of a family with this seed and number: most are small, one in twenty has 120 to 400 rows.

    Examples
    --------
    >>> draw("hamming", 0, 1).problem.n == draw("hamming", 0, 1).problem.n
    True
    """
    rng = np.random.default_rng([seed, index, *family.encode()])
    lowest, highest = rng.choice([[4, 30], [30, 120], [120, 400]], p=[0.65, 0.30, 0.05])
    return FAMILIES[family](rng, int(rng.integers(lowest, highest)))
