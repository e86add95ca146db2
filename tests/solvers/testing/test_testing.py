"""The public test helpers: planted problems are what they claim, and the judge convicts and acquits rightly."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings

from solvers import BinaryQuadratic, MaxCut, Solution, Status, exact
from solvers.problems.binary_form import dense_matrix
from solvers.testing import (
    FAMILIES,
    REPRESENTATIONS,
    Planted,
    assert_certified,
    degenerate_matrix,
    degenerate_problems,
    in_representation,
    planted_dense,
    planted_dyadic,
    planted_problems,
    planted_sparse,
)


def cost_of(planted: Planted) -> np.ndarray:
    return dense_matrix("cost", planted.problem.relaxation().cost, limit=100)


@settings(max_examples=60)
@given(planted_problems())
def test_planted_pairs_are_optimal(planted: Planted) -> None:
    cost = cost_of(planted)
    slack = cost - np.diag(planted.dual)
    scale = np.linalg.norm(cost)
    np.testing.assert_allclose(np.linalg.norm(planted.factor, axis=1), 1.0, atol=1e-14)
    assert np.linalg.eigvalsh(slack)[0] >= -1e-13 * scale
    assert np.linalg.norm(slack @ planted.factor) <= 1e-12 * scale
    assert planted.dual.sum() == pytest.approx(planted.value, abs=1e-12 * scale)


@settings(max_examples=40)
@given(planted_problems(exact=True))
def test_dyadic_problems_are_planted_without_rounding(planted: Planted) -> None:
    cost = cost_of(planted)
    np.testing.assert_array_equal(cost * 2, np.rint(cost * 2))
    np.testing.assert_array_equal((cost - np.diag(planted.dual)) @ planted.factor, 0.0)
    np.testing.assert_array_equal((planted.factor**2).sum(axis=1), 1.0)
    assert np.sum((cost @ planted.factor) * planted.factor) == planted.value


@pytest.mark.parametrize("plant", [planted_dense, planted_sparse])
def test_planted_ranks_and_linear_terms(plant) -> None:
    planted = plant(12, 3, rng=0, linear=True)
    assert planted.factor.shape == (13, 3)
    assert np.linalg.matrix_rank(planted.factor) == 3
    assert planted.problem.has_linear_term
    assert planted.problem.n == 12


@pytest.mark.parametrize("linear", [False, True])
def test_large_sparse_plants_stay_sparse(linear: bool) -> None:
    for planted in (
        planted_sparse(2000, 4, rng=1, linear=linear),
        planted_dyadic(2000, rng=1, linear=linear),
    ):
        cost = planted.problem.relaxation().cost
        assert sp.issparse(cost)
        assert cost.nnz < 100 * 2000
        residual = cost @ planted.factor - planted.dual[:, None] * planted.factor
        assert np.abs(residual).max() <= 1e-12


def test_seeds_decide() -> None:
    for plant in (planted_dense, planted_sparse):
        np.testing.assert_array_equal(plant(9, 2, rng=5).dual, plant(9, 2, rng=5).dual)
        assert not np.array_equal(plant(9, 2, rng=5).dual, plant(9, 2, rng=6).dual)


@pytest.mark.parametrize("family", FAMILIES)
def test_families_are_symmetric_and_what_they_say(family: str) -> None:
    matrix = degenerate_matrix(family, 9, 0)
    np.testing.assert_array_equal(matrix, matrix.T)
    eigenvalues = np.linalg.eigvalsh(matrix)
    distinct = 1 + np.sum(np.diff(eigenvalues) > 1e-9)
    components = sp.csgraph.connected_components(sp.csr_array(matrix))[0]
    properties = {
        "rank_one": np.linalg.matrix_rank(matrix) == 1,
        "zero": not matrix.any(),
        "diagonal": not (matrix - np.diag(np.diag(matrix))).any(),
        "repeated_eigenvalue": distinct == 2,
        "disconnected": components >= 2,
        "integer": np.array_equal(matrix, np.rint(matrix)),
    }
    assert properties.get(family, True)


def test_strategies_cover_families_and_representations() -> None:
    seen: set[tuple[str, bool]] = set()

    @settings(max_examples=120, database=None)
    @given(degenerate_problems(max_n=4))
    def collect(problem: BinaryQuadratic) -> None:
        kind = (
            "dense"
            if isinstance(problem.A, np.ndarray)
            else "sparse"
            if sp.issparse(problem.A)
            else "operator"
        )
        seen.add((kind, problem.has_linear_term))

    collect()
    assert seen == {(kind, linear) for kind in REPRESENTATIONS for linear in (False, True)}


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="family must be one of 'generic'"):
        degenerate_matrix("odd", 3, 0)
    with pytest.raises(ValueError, match="representation must be one of 'dense'"):
        in_representation(np.eye(2), "tensor")
    with pytest.raises(ValueError, match="rank must be at least 1 and at most 4; found 5"):
        planted_dense(5, 5, rng=0)
    with pytest.raises(ValueError, match="n must be at least 4"):
        planted_dyadic(3, rng=0)


@pytest.fixture
def solution() -> Solution:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((8, 8))
    return exact(BinaryQuadratic(A + A.T, rng.standard_normal(8), constant=3.0))


def test_an_honest_solution_passes(solution: Solution) -> None:
    assert_certified(solution)


FORGERIES = {
    "infeasible": (lambda s: {"factor": 1.001 * s.factor}, "norms off by up to 0.001"),
    "wrong value": (lambda s: {"value": s.value - 1e-3}, "is not the factor's"),
    "bound above the dual's": (
        lambda s: {"dual": s.dual - 0.01},
        "recomputed relative gap|exceeds what the dual",
    ),
    "bound above the value": (lambda s: {"lower_bound": s.value + 1.0}, "lies above value"),
    "wrong gap": (lambda s: {"gap": 0.5}, "is not that of value and bound"),
    "status": (lambda s: {"status": Status.TIME_LIMIT}, "status is TIME_LIMIT"),
    "no certificate": (lambda s: {"certificate": "none"}, "certificate is 'none'"),
    "bad factor": (lambda s: {"factor": s.factor[1:]}, r"factor must have shape \(9, k\)"),
    "bad dual": (lambda s: {"dual": s.dual[1:]}, r"dual must have shape \(9,\)"),
    "nan": (lambda s: {"dual": np.full(9, np.nan)}, "must be finite"),
    "another point": (lambda s: {"factor": np.ones((9, 1))}, "recomputed relative gap"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forgeries_are_convicted(solution: Solution, forgery: str) -> None:
    change, message = FORGERIES[forgery]
    rotated = np.random.default_rng(1).standard_normal(9)
    changes = change(solution)
    if forgery == "bound above the dual's":
        changes = {"dual": solution.dual + 0.01 * rotated}
    with pytest.raises(AssertionError, match=message):
        assert_certified(replace(solution, **changes))


def test_forged_triangle_multipliers_are_convicted() -> None:
    ring = np.roll(np.eye(5), 1, axis=1)
    cut = exact(MaxCut(ring + ring.T), triangle_inequalities=True)
    assert_certified(cut)
    with pytest.raises(AssertionError, match="multiplier is negative"):
        assert_certified(replace(cut, multipliers=cut.multipliers - 1.0))
    with pytest.raises(AssertionError, match="exceeds what the dual proves"):
        assert_certified(replace(cut, multipliers=np.zeros_like(cut.multipliers)))
