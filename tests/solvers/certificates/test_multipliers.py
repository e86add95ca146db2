"""Corrected multipliers: what they remove, what they cost, and what their certificate is worth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import connected_graph

import solvers.certificates.multipliers
from solvers import MaxCut, low_rank
from solvers.certificates.multipliers import AXIS, RESIDUAL, FactorRange, least_shift
from solvers.linalg.matvec import Matvec
from solvers.linalg.sphere import random_rows
from solvers.methods.over_relaxation import OverRelaxation


def nearly_solved(order, degree, seed=0):
    """Matvec, factor, multipliers and gradient of a MaxCut relaxation whose value is right to about 1e-7."""
    products = Matvec(0.25 * connected_graph(order, degree, seed))
    factor = products.arrange(random_rows(order, 16, np.random.default_rng(seed)))
    sweeps = OverRelaxation(products)
    while 0.5 * sweeps.advance(factor, 10).last_decrease * sweeps.iterations > 1e-7 * order:
        assert sweeps.iterations < 1000
    return products, factor


@settings(max_examples=40)
@given(
    rows=st.integers(20, 60),
    rank=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
    formed=st.booleans(),
)
def test_least_shift_solves_its_equations_with_least_norm(rows, rank, seed, formed):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((rows, rank)))[0]
    target = rng.standard_normal((rank, rank))
    target = target + target.T
    original = target.copy()
    # of large factors single precision sees enough
    share, accuracy = (1e-10, 1e-8) if formed else (1e-4, 1e-3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solvers.certificates.multipliers, "FORMED", 2_000_000 if formed else 0)
        shift = least_shift(basis, target, share, 200)
    np.testing.assert_array_equal(target, original)
    size = np.linalg.norm(target)
    np.testing.assert_allclose(basis.T @ (shift[:, None] * basis), target, atol=accuracy * size)
    # the least of all solutions, from the equations written out
    left, right = np.triu_indices(rank)
    equations = basis[:, left].T * basis[:, right].T
    least = np.linalg.lstsq(equations, target[left, right])[0]
    np.testing.assert_allclose(shift, least, atol=100 * accuracy * np.linalg.norm(least))


@pytest.mark.parametrize("seed", range(5))
def test_the_slack_matrix_is_less_negative_by_far(seed):
    products, factor = nearly_solved(150, 6, seed)
    cost = products @ np.eye(150)
    here = FactorRange(products, factor)
    plain, corrected = here.plain(), here.corrected()
    before = np.linalg.eigvalsh(cost - np.diag(plain.dual))[0]
    after = np.linalg.eigvalsh(cost - np.diag(corrected.dual))[0]
    assert before < 0
    # the whole gap, with what the shift itself costs
    value = plain.dual.sum()
    gap = value - corrected.dual.sum() - 150 * min(after, 0.0)
    assert -1e-12 * abs(value) < gap < -0.5 * 150 * before


def test_nothing_is_left_of_the_slack_matrix_on_the_range():
    products, factor = nearly_solved(200, 5)
    here = FactorRange(products, factor)
    corrected = here.corrected()
    left, singular, _ = np.linalg.svd(factor, full_matrices=False)
    basis = left[:, singular > AXIS * singular[0]]

    def inside(multipliers):
        return np.linalg.norm(basis.T @ (products @ basis - multipliers[:, None] * basis))

    assert inside(corrected.dual) <= 1.01 * RESIDUAL * inside(here.dual)


@pytest.mark.parametrize("kind", ["plain", "corrected"])
def test_the_curvature_is_the_rayleigh_quotient_of_its_vector(kind):
    products, factor = nearly_solved(120, 5)
    here = FactorRange(products, factor)
    found = here.plain() if kind == "plain" else here.corrected()
    image = products @ found.vector[:, None] - (found.dual * found.vector)[:, None]
    assert np.linalg.norm(found.vector) == pytest.approx(1.0, abs=1e-9)
    assert float(found.vector @ image[:, 0]) == pytest.approx(found.curvature, abs=1e-12)
    smallest = np.linalg.eigvalsh(products @ np.eye(120) - np.diag(found.dual))[0]
    assert found.curvature >= smallest - 1e-12


@settings(max_examples=25)
@given(
    order=st.integers(65, 320),
    degree=st.integers(2, 12),
    seed=st.integers(0, 2**32 - 1),
    tol=st.sampled_from([1e-4, 1e-6, 1e-7]),
)
def test_no_certificate_claims_more_than_dense_eigenvalues_grant(order, degree, seed, tol):
    solution = low_rank(MaxCut(connected_graph(order, degree, seed)), tol=tol, rng=seed)
    cost = solution.problem.relaxation().cost.toarray()
    smallest = np.linalg.eigvalsh(cost - np.diag(solution.dual))[0]
    bound = solution.dual.sum() + order * min(smallest, 0.0)
    scale = max(abs(solution.value), np.linalg.norm(cost))
    assert solution.certified
    assert solution.lower_bound <= solution.value + 1e-12 * scale
    assert (solution.value - bound) / scale <= 1.01 * tol
