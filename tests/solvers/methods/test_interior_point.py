"""The interior point: planted optima, costs on which sweeps stall, and pairs that are feasible whatever happens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.linalg import LinearOperator

from solvers.exact.shor import exact
from solvers.linalg.step_to_boundary import step_to_boundary
from solvers.low_rank import low_rank
from solvers.methods.interior_point import interior_point
from solvers.problems.gram import Gram
from solvers.problems.problem import Elliptope
from solvers.problems.solution import Status
from solvers.testing import assert_certified


def symmetric(order, rng):
    drawn = rng.standard_normal((order, order))
    return drawn + drawn.T


def planted(order, rank, rng, spread=0.0):
    """A cost with a known optimum: unit rows V, S PSD with S V = 0 and eigenvalues over 10^-spread .. 1, any y."""
    rows = rng.standard_normal((order, rank))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    basis = np.linalg.qr(np.column_stack([rows, rng.standard_normal((order, order - rank))]))[0][:, rank:]
    slack = (basis * 10.0 ** -np.linspace(0.0, spread, order - rank)) @ basis.T
    dual = rng.standard_normal(order)
    return 0.5 * (slack + slack.T) + np.diag(dual), float(dual.sum())


def partition(rng):
    numbers = rng.integers(1, 1000, 24).astype(float)
    cost = np.zeros((25, 25))
    cost[1:, 1:] = np.outer(numbers, numbers)
    cost[0, 1:] = cost[1:, 0] = rng.integers(-999, 1000, 24)
    return cost


def lifted(rng):
    shift = 1e5 * rng.standard_normal(40)
    return symmetric(40, rng) + shift[:, None] + shift


def weak_links(rng):
    cost = symmetric(40, rng)
    cost[:20, 20:] *= 1e-9
    cost[20:, :20] *= 1e-9
    return cost


def hamming(rng):
    words = np.arange(64)
    distance = np.vectorize(lambda word: int(word).bit_count())(words[:, None] ^ words)
    cost = np.zeros((65, 65))
    cost[1:, 1:] = np.isin(distance, (2, 3))
    cost[0, 1:] = cost[1:, 0] = rng.integers(-3, 4, 64)
    return cost


def johnson(rng):
    words = np.array([word for word in range(2**8) if word.bit_count() == 3])
    common = np.vectorize(lambda word: int(word).bit_count())(words[:, None] & words)
    cost = np.zeros((57, 57))
    cost[1:, 1:] = common == 1
    cost[0, 1:] = cost[1:, 0] = rng.integers(-3, 4, 56)
    return cost


def crawling_gram(rng):
    inputs = np.maximum(rng.standard_normal((200, 6)) @ rng.standard_normal((6, 48)) + 1.0, 0.0)
    cost = np.zeros((49, 49))
    cost[1:, 1:] = inputs.T @ inputs
    cost[0, 1:] = cost[1:, 0] = -cost[1:, 1:] @ rng.standard_normal(48)
    return cost


def graded(rng):
    sizes = 10.0 ** rng.uniform(-12.0, 0.0, 30)
    return symmetric(30, rng) * sizes[:, None] * sizes


FAMILIES = [partition, lifted, weak_links, hamming, johnson, crawling_gram, graded]


def assert_feasible(cost, found):
    """Unit rows whose value is the one reported, and multipliers whose slack matrix is PSD but for rounding."""
    assert np.allclose(np.linalg.norm(found.factor, axis=1), 1.0, rtol=1e-13)
    size = np.linalg.norm(cost)
    assert found.value == pytest.approx(
        np.vdot(cost @ found.factor, found.factor), rel=1e-12, abs=1e-14 * size
    )
    slack = cost - np.diag(found.dual)
    smallest = np.linalg.eigvalsh(slack)[0]
    assert found.bound <= found.dual.sum() + len(cost) * min(smallest, 0.0) + 1e-13 * size
    assert found.bound <= found.value + 1e-14 * size


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
@given(seed=st.integers(0, 9))
def test_costs_on_which_sweeps_stall_are_closed(family, seed):
    cost = family(np.random.default_rng(seed))
    size = np.linalg.norm(cost)
    found = interior_point(cost, 1e-8 * size)
    assert_feasible(cost, found)
    assert found.value - found.bound <= 1e-8 * size
    assert found.steps <= 40


@given(order=st.integers(2, 40), seed=st.integers(0, 99), spread=st.sampled_from([0.0, 6.0, 14.0]))
def test_planted_optima_are_found(order, seed, spread):
    rng = np.random.default_rng(seed)
    cost, optimum = planted(order, int(rng.integers(1, order)), rng, spread)
    size = np.linalg.norm(cost)
    found = interior_point(cost, 1e-9 * size)
    assert_feasible(cost, found)
    assert found.bound - 1e-12 * size <= optimum <= found.value + 1e-12 * size
    assert found.value - found.bound <= 1e-9 * size


@given(order=st.integers(1, 30), seed=st.integers(0, 99), exponent=st.integers(-140, 140))
def test_scaling_the_cost_scales_the_pair(order, seed, exponent):
    cost = symmetric(order, np.random.default_rng(seed))
    size = np.linalg.norm(cost)
    unit = interior_point(cost, 1e-8 * size)
    scaled = interior_point(np.ldexp(cost, exponent), np.ldexp(1e-8 * size, exponent))
    assert scaled.value == np.ldexp(unit.value, exponent)
    assert scaled.bound == np.ldexp(unit.bound, exponent)
    assert scaled.factor.shape == unit.factor.shape


def test_agrees_with_a_conic_solver():
    cost = symmetric(12, np.random.default_rng(3))
    assert interior_point(cost, 1e-9).value == pytest.approx(exact(Elliptope(cost)).value, abs=1e-5)


def test_a_diagonal_cost_needs_no_step_and_isolated_rows_are_no_obstacle():
    found = interior_point(np.diag([3.0, -1.0]), 0.0)
    assert (found.value, found.bound, found.steps) == (2.0, 2.0, 0)
    cost = np.zeros((6, 6))
    cost[1, 4] = cost[4, 1] = 2.0
    found = interior_point(cost, 1e-9)
    assert found.value == pytest.approx(-4.0, abs=1e-8)
    assert_feasible(cost, found)


def test_nothing_to_reach_ends_where_rounding_does():
    cost = crawling_gram(np.random.default_rng(0))
    found = interior_point(cost, 0.0)
    assert_feasible(cost, found)
    assert found.value - found.bound <= 1e-10 * np.linalg.norm(cost)


def test_an_expired_clock_leaves_a_valid_pair():
    cost = symmetric(20, np.random.default_rng(1))
    whole = interior_point(cost, 1e-8)
    asked = iter([False, False, True])
    found = interior_point(cost, 1e-8, stop=lambda value, bound: next(asked))
    assert found.steps == 2 < whole.steps
    assert_feasible(cost, found)
    assert found.bound <= whole.bound <= whole.value <= found.value


def test_the_cost_is_not_changed():
    cost = symmetric(10, np.random.default_rng(2))
    kept = cost.copy()
    interior_point(cost, 1e-8)
    assert np.array_equal(cost, kept)


@given(order=st.integers(1, 60), seed=st.integers(0, 99))
def test_steps_reach_the_boundary_and_hardly_beyond(order, seed):
    rng = np.random.default_rng(seed)
    base, direction = symmetric(order, rng), symmetric(order, rng)
    base = base @ base + 0.1 * np.eye(order)
    lower = np.linalg.cholesky(base)
    solved = np.linalg.solve(lower, np.linalg.solve(lower, direction).T)
    smallest = np.linalg.eigvalsh(0.5 * (solved + solved.T))[0]
    length = step_to_boundary(np.asfortranarray(lower), lambda v: direction @ v, rng.standard_normal(order))
    if smallest >= 0.0:
        assert length > 1e6 / np.abs(solved).max()
    else:
        assert 0.7 <= length * -smallest <= 1.02


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
@pytest.mark.parametrize("method", ["auto", "interior-point"])
@given(seed=st.integers(10, 14))
def test_low_rank_certifies_what_sweeps_alone_do_not(family, method, seed):
    problem = Elliptope(family(np.random.default_rng(seed)))
    solution = low_rank(problem, rng=seed, tol=1e-6, method=method)
    assert solution.status is Status.CERTIFIED
    assert_certified(solution)


def test_low_rank_follows_the_central_path_once_sweeps_have_cost_as_much(monkeypatch):
    followed = []

    def counted(cost, allowed, **options):
        followed.append(len(cost))
        return interior_point(cost, allowed, **options)

    monkeypatch.setattr("solvers.burer_monteiro.central_path.interior_point", counted)
    easy = Elliptope(symmetric(40, np.random.default_rng(0)))
    assert low_rank(easy, rng=0, tol=1e-3).status is Status.CERTIFIED
    assert followed == []
    assert low_rank(easy, rng=0, tol=1e-3, method="interior-point").status is Status.CERTIFIED
    assert followed == [40]
    hard = Elliptope(crawling_gram(np.random.default_rng(0)))
    solution = low_rank(hard, rng=0, tol=1e-9)
    assert followed == [40, 49]
    assert solution.status is Status.CERTIFIED
    # hundreds of sweeps, and not the thousands that they would take alone
    assert solution.iterations < 2000


def test_a_gram_operator_and_a_fixed_diagonal_are_followed_too():
    rng = np.random.default_rng(4)
    inputs = np.maximum(rng.standard_normal((60, 3)) @ rng.standard_normal((3, 24)) + 0.5, 0.0)
    operator = low_rank(Elliptope(Gram(inputs)), rng=0, method="interior-point")
    dense = low_rank(Elliptope(inputs.T @ inputs), rng=0, method="interior-point")
    assert operator.status is dense.status is Status.CERTIFIED
    assert operator.value == pytest.approx(dense.value, abs=1e-6 * np.linalg.norm(inputs.T @ inputs))
    scaled = Elliptope(symmetric(20, rng), diagonal=rng.uniform(0.1, 9.0, 20))
    solution = low_rank(scaled, rng=0, method="interior-point", certificate="rigorous")
    assert solution.status is Status.CERTIFIED
    assert_certified(solution)


def test_what_the_interior_point_cannot_do_is_refused():
    problem = Elliptope(np.eye(3))
    with pytest.raises(ValueError, match="method must be one of 'auto', 'interior-point'"):
        low_rank(problem, method="newton")
    with pytest.raises(ValueError, match="device must be None for method='interior-point'"):
        low_rank(problem, method="interior-point", device="cpu")
    operator = LinearOperator((3, 3), matvec=lambda v: v, dtype=np.float64)
    with pytest.raises(ValueError, match="method must be 'auto' for a LinearOperator"):
        low_rank(Elliptope(operator), method="interior-point")


def test_the_step_of_tensors_is_this_one_with_the_dual_alone():
    torch = pytest.importorskip("torch")
    from solvers.methods.interior_point import _Path, _Side
    from solvers.torch_backend.dense.certificate import REDUCTION, newton_step

    rng = np.random.default_rng(0)
    cost = symmetric(12, rng)
    np.fill_diagonal(cost, 0.0)
    path, mu = _Path(cost), 0.3
    inverse = np.linalg.inv(path._slack.matrix)
    path.point = _Side(mu * inverse, np.linalg.cholesky(mu * inverse))
    schur = np.linalg.cholesky(inverse * path.point.matrix)
    turn = path._direction(inverse, schur, mu, None)[1]
    gap = torch.tensor([REDUCTION * len(cost) * mu], dtype=torch.float64)
    stepped, found = newton_step(torch.tensor(cost)[None], torch.tensor(path.dual)[None], gap)
    assert np.allclose(found[0].numpy(), inverse, rtol=1e-10, atol=1e-14)
    taken = stepped[0].numpy() - path.dual
    length = taken @ turn / (turn @ turn)
    assert 0.0 < length <= 1.0
    assert np.allclose(taken, length * turn, rtol=1e-8, atol=1e-12)
