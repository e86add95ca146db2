"""For tests of code that solves or uses these relaxations: problems to draw, and a check of what comes back.

The strategies need `hypothesis` (the extra ``testing``); everything else works without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import aslinearoperator

from solvers import checks
from solvers.problems.problem import BinaryQuadratic
from solvers.testing.assert_certified import assert_certified
from solvers.testing.planted import Planted, planted_dense, planted_dyadic, planted_sparse

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = [
    "FAMILIES",
    "REPRESENTATIONS",
    "Planted",
    "assert_certified",
    "degenerate_matrix",
    "degenerate_problems",
    "in_representation",
    "planted_dense",
    "planted_dyadic",
    "planted_problems",
    "planted_sparse",
]

FAMILIES = ("generic", "rank_one", "zero", "diagonal", "repeated_eigenvalue", "disconnected", "integer")
REPRESENTATIONS = ("dense", "sparse", "operator")
_EXPONENTS = (-8, -3, 0, 4, 8)


def degenerate_matrix(family: str, n: int, rng: np.random.Generator | int | None) -> NDArray[np.float64]:
    """Return a symmetric (n, n) matrix of a family on which solvers tend to trip.

    Parameters
    ----------
    family : {"generic", "rank_one", "zero", "diagonal", "repeated_eigenvalue", "disconnected", "integer"}
        "repeated_eigenvalue" has two eigenvalues, "disconnected" at least two components where n allows, one
        of them a single index; "integer" has many ties.
    n : int
        At least 1.
    rng : numpy Generator or seed

    Examples
    --------
    >>> int(np.linalg.matrix_rank(degenerate_matrix("rank_one", 5, 0)))
    1
    """
    n = checks.integer("n", n, minimum=1)
    generator = checks.generator("rng", rng)
    square = generator.standard_normal((n, n))
    if family == "generic":
        return square + square.T
    if family == "rank_one":
        return np.outer(square[0], square[0]) * (1.0 if generator.integers(2) else -1.0)
    if family == "zero":
        return np.zeros((n, n))
    if family == "diagonal":
        return np.diag(square[0])
    if family == "repeated_eigenvalue":
        basis = np.linalg.qr(square)[0][:, : (n + 1) // 2]
        projector = 2.0 * basis @ basis.T - np.eye(n)
        return 0.5 * (projector + projector.T)
    if family == "disconnected":
        part = generator.integers(1, 3, size=n)
        part[0] = 0
        return np.where(part[:, None] == part[None, :], square + square.T, 0.0)
    if family == "integer":
        return np.rint(square) + np.rint(square).T
    raise ValueError(f"family must be one of {', '.join(map(repr, FAMILIES))}; found {family!r}")


def in_representation(matrix: Any, representation: str) -> Any:
    """Return the matrix as a dense array, a CSR array or a LinearOperator.

    Examples
    --------
    >>> in_representation(np.eye(2), "operator").shape
    (2, 2)
    """
    checks.choice("representation", representation, REPRESENTATIONS)
    dense = matrix.toarray() if sp.issparse(matrix) else np.asarray(matrix)
    if representation == "dense":
        return dense
    if representation == "sparse":
        return sp.csr_array(dense)
    return aslinearoperator(dense)


def degenerate_problems(
    *,
    min_n: int = 1,
    max_n: int = 20,
    families: tuple[str, ...] = FAMILIES,
    representations: tuple[str, ...] = REPRESENTATIONS,
    exponents: tuple[int, ...] = _EXPONENTS,
) -> SearchStrategy[BinaryQuadratic]:
    """Strategy of binary quadratic problems: every family, with and without b, scaled by powers of ten.

    Parameters
    ----------
    min_n, max_n : int, optional
        Range of the number of signs.
    families, representations : tuple of str, optional
        Those to draw from.
    exponents : tuple of int, optional
        Powers of ten that multiply A and b.

    Examples
    --------
    >>> from hypothesis import given
    >>> @given(degenerate_problems(max_n=3))
    ... def test(problem):
    ...     assert problem.n <= 3
    >>> test()
    """
    strategies = _strategies()

    @strategies.composite
    def draw_problem(draw: Any) -> BinaryQuadratic:
        n = draw(strategies.integers(min_n, max_n))
        family = draw(strategies.sampled_from(families))
        scale = 10.0 ** draw(strategies.sampled_from(exponents))
        generator = np.random.default_rng(draw(strategies.integers(0, 2**32 - 1)))
        matrix = scale * degenerate_matrix(family, n, generator)
        b = None
        if draw(strategies.booleans()):
            b = scale * generator.standard_normal(n)
            b = np.rint(b / scale) * scale if family == "integer" else b
        return BinaryQuadratic(in_representation(matrix, draw(strategies.sampled_from(representations))), b)

    return draw_problem()


def planted_problems(
    *, min_n: int = 4, max_n: int = 20, exact: bool = False, exponents: tuple[int, ...] = _EXPONENTS
) -> SearchStrategy[Planted]:
    """Strategy of planted problems, dense and sparse, with and without a linear term.

    Parameters
    ----------
    min_n, max_n : int, optional
        Range of the number of signs; at least 4.
    exact : bool, optional
        Draw only problems planted without rounding (dyadic factor, integer cost, not scaled).
    exponents : tuple of int, optional
        Powers of ten that multiply the cost.

    Examples
    --------
    >>> from hypothesis import given
    >>> @given(planted_problems(max_n=5, exact=True))
    ... def test(planted):
    ...     assert planted.value == round(planted.value)
    >>> test()
    """
    strategies = _strategies()

    @strategies.composite
    def draw_planted(draw: Any) -> Planted:
        n = draw(strategies.integers(min_n, max_n))
        seed = draw(strategies.integers(0, 2**32 - 1))
        linear = draw(strategies.booleans())
        if exact:
            return planted_dyadic(n, rng=seed, linear=linear)
        plant = draw(strategies.sampled_from([planted_dense, planted_sparse]))
        rank = draw(strategies.integers(1, min(4, n - 1)))
        scale = 10.0 ** draw(strategies.sampled_from(exponents))
        return plant(n, rank, rng=seed, linear=linear, scale=scale)

    return draw_planted()


def _strategies() -> Any:
    try:
        from hypothesis import strategies
    except ImportError as error:
        raise ImportError(
            "the strategies of solvers.testing need hypothesis: pip install 'vispa-sdp[testing]'"
        ) from error
    return strategies
