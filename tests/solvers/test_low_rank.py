"""The low-rank solver against planted optima, the exact SDP and dense eigenvalues."""

import numpy as np
import pytest
import scipy.linalg as la
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from solvers import BinaryQuadratic, Elliptope, MaxCut, Status, low_rank
from solvers.certificates.dual_bound import dense_cost, dual_bound, dual_vector
from solvers.certificates.rigorous import rigorous_bound


def independent_gap(solution):
    """Value and bound recomputed by dense linear algebra."""
    cost = dense_cost(solution.problem.relaxation().cost)
    value = float(np.sum(cost * solution.gram()))
    smallest = la.eigvalsh(cost - np.diag(solution.dual))[0]
    bound = solution.dual.sum() + cost.shape[0] * min(smallest, 0.0)
    return (value - bound) / max(abs(value), np.linalg.norm(cost))


def gaussian(n, seed):
    matrix = np.random.default_rng(seed).standard_normal((n, n))
    return matrix + matrix.T


@pytest.mark.parametrize(
    "form", [np.array, sp.csr_array, aslinearoperator], ids=["dense", "sparse", "operator"]
)
@pytest.mark.parametrize("linear", [False, True], ids=["pure", "linear"])
@pytest.mark.parametrize("n", [1, 2, 7, 40, 220])
def test_certified_in_every_form(n, linear, form):
    b = np.random.default_rng(n).standard_normal(n) if linear else None
    solution = low_rank(BinaryQuadratic(form(gaussian(n, n)), b), rng=0)
    assert solution.certified
    assert np.allclose(np.linalg.norm(solution.factor, axis=1), 1.0, atol=1e-12)
    assert independent_gap(solution) <= 1.1e-6


def test_same_seed_same_result():
    first, second = (low_rank(Elliptope(gaussian(60, 1)), rng=7) for _ in range(2))
    assert np.array_equal(first.factor, second.factor)
    assert first.lower_bound == second.lower_bound


def test_the_caller_keeps_his_arrays():
    matrix, b = gaussian(30, 2), np.ones(30)
    before = matrix.copy(), b.copy()
    low_rank(BinaryQuadratic(matrix, b), rng=0)
    assert np.array_equal(matrix, before[0])
    assert np.array_equal(b, before[1])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_escapes_from_a_rank_that_is_too_low(rank):
    """At rank one every sign vector is critical: only escapes can reach the optimum."""
    cost = gaussian(50, 3)
    wide = low_rank(Elliptope(cost), rng=0)
    narrow = low_rank(Elliptope(cost), rank=rank, rng=0)
    assert narrow.certified
    assert narrow.rank > rank
    assert narrow.value == pytest.approx(wide.value, rel=2e-6)


def test_components_are_solved_apart_and_add_up():
    blocks = [gaussian(n, n) for n in (70, 3, 90, 2)]
    whole = sp.block_diag([*blocks, sp.csr_array((5, 5))], format="csr")
    permutation = np.random.default_rng(0).permutation(whole.shape[0])
    solution = low_rank(Elliptope(whole[permutation][:, permutation]), rng=0)
    assert solution.certified
    expected = sum(low_rank(Elliptope(block), tol=1e-8, rng=0).value for block in blocks)
    assert solution.value == pytest.approx(expected, rel=2e-6)
    assert independent_gap(solution) <= 1.1e-6


@pytest.mark.parametrize("cost", [np.zeros((4, 4)), np.diag([1.0, -2.0, 3.0])], ids=["zero", "diagonal"])
def test_nothing_to_optimise(cost):
    solution = low_rank(Elliptope(cost, constant=2.0), rng=0)
    assert solution.certified
    assert solution.gap == 0.0
    assert solution.value == solution.lower_bound == pytest.approx(np.trace(cost) + 2.0)


def test_gap_does_not_change_with_the_scale_of_the_cost():
    cost = gaussian(40, 5)
    gaps = [low_rank(Elliptope(scale * cost), rng=0).gap for scale in (2.0**-27, 1.0, 2.0**27)]
    assert gaps[0] == pytest.approx(gaps[1], rel=1e-6)
    assert gaps[2] == pytest.approx(gaps[1], rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_badly_scaled_least_squares(seed):
    """Regression: columns of very different size (condition number 10^6) once left sweeps crawling for ever."""
    rng = np.random.default_rng(seed)
    columns = rng.standard_normal((300, 60)) * np.logspace(-3, 0, 60)
    target = rng.standard_normal(300)
    problem = BinaryQuadratic(columns.T @ columns, -2 * columns.T @ target, target @ target)
    solution = low_rank(problem, rng=seed, max_iterations=20_000)
    assert solution.certified
    assert independent_gap(solution) <= 1.1e-6


@pytest.mark.parametrize("certificate", ["estimate", "rigorous"])
@pytest.mark.parametrize("exponent", [-1060, -530, 500, 1000])
def test_extreme_scales_change_nothing_but_the_exponent(exponent, certificate):
    """Regression: at 1e-160 rows were not unit and the gap said zero; at 1e155 the eigenvalues overflowed."""
    cost = np.rint(8 * gaussian(12, 3))
    seen = []
    plain = low_rank(Elliptope(cost), certificate=certificate, rng=0)
    scaled = low_rank(
        Elliptope(np.ldexp(cost, exponent)), certificate=certificate, rng=0, callback=seen.append
    )
    assert scaled.certified
    assert scaled.gap == plain.gap
    assert scaled.value == np.ldexp(plain.value, exponent)
    assert scaled.lower_bound <= scaled.value
    assert scaled.lower_bound == pytest.approx(np.ldexp(plain.lower_bound, exponent), rel=1e-12)
    assert seen[0].value == pytest.approx(np.ldexp(plain.history[0].value, exponent), rel=1e-12)


def test_warm_start_needs_fewer_iterations():
    cost = sp.random_array((300, 300), density=0.03, rng=np.random.default_rng(0))
    problem = Elliptope(cost + cost.T)
    cold = low_rank(problem, rng=0)
    warm = low_rank(problem, start=cold.factor, rng=0)
    assert warm.certified
    assert warm.iterations < cold.iterations


class TestHonestEnds:
    problem = Elliptope(gaussian(300, 6))

    def test_iteration_limit(self):
        solution = low_rank(self.problem, max_iterations=3, rng=0)
        assert solution.status is Status.ITERATION_LIMIT
        assert solution.iterations == 3
        self.check_bound(solution)

    def test_time_limit(self):
        solution = low_rank(self.problem, max_seconds=1e-9, rng=0)
        assert solution.status is Status.TIME_LIMIT
        self.check_bound(solution)

    @pytest.mark.parametrize("error", [StopIteration, KeyboardInterrupt])
    def test_interrupted(self, error):
        seen = []

        def callback(moment):
            seen.append(moment)
            if len(seen) == 2:
                raise error

        solution = low_rank(self.problem, callback=callback, rng=0)
        assert solution.status is Status.INTERRUPTED
        assert len(solution.history) == 2
        assert solution.value == pytest.approx(seen[-1].value)
        self.check_bound(solution)

    def check_bound(self, solution):
        optimum = low_rank(self.problem, rng=0)
        assert not solution.certified
        assert solution.lower_bound <= optimum.value
        assert solution.value >= optimum.lower_bound
        assert solution.gap > 1e-6

    def test_unreachable_tolerance_is_said(self):
        solution = low_rank(Elliptope(gaussian(30, 0)), tol=1e-18, rng=0)
        assert solution.status is Status.STALLED
        assert "tol" in solution.message


class TestRigorous:
    def test_bound_is_below_the_optimum_and_still_certifies(self):
        problem = Elliptope(gaussian(120, 8))
        solution = low_rank(problem, certificate="rigorous", rng=0)
        assert solution.certified
        assert solution.certificate == "rigorous"
        assert solution.lower_bound < low_rank(problem, tol=1e-9, rng=1).value

    def test_an_operator_is_refused(self):
        with pytest.raises(TypeError, match="rigorous certificate needs the entries"):
            low_rank(Elliptope(aslinearoperator(gaussian(5, 0))), certificate="rigorous")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"rank": 0}, ValueError, "rank must be at least 1"),
        ({"rank": 9}, ValueError, "rank must be at least 1 and at most 5"),
        ({"rank": 2.0}, TypeError, "rank must be an integer"),
        ({"tol": 0.0}, ValueError, "tol must be positive"),
        ({"tol": float("nan")}, ValueError, "tol must be finite"),
        ({"tol": "small"}, TypeError, "tol must be a real number"),
        ({"start": np.zeros((5, 2))}, ValueError, "rows must not be zero"),
        ({"start": np.ones((4, 2))}, ValueError, r"start must have shape \(5, k\)"),
        ({"start": np.ones((5, 2)), "rank": 2}, ValueError, "not both"),
        ({"start": np.full((5, 2), np.inf)}, ValueError, "start must be finite"),
        ({"certificate": "yes"}, ValueError, "certificate must be one of"),
        ({"max_iterations": 0}, ValueError, "max_iterations must be at least 1"),
        ({"max_seconds": -1}, ValueError, "max_seconds must be positive"),
        ({"callback": 3}, TypeError, "callback must be"),
        ({"rng": "seven"}, (TypeError, ValueError), "rng must be"),
    ],
)
def test_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        low_rank(Elliptope(gaussian(5, 0)), **arguments)


def test_a_bare_matrix_is_refused_with_the_remedy():
    with pytest.raises(TypeError, match=r"Wrap a matrix C as Elliptope\(C\)"):
        low_rank(gaussian(5, 0))


FILES = ["mcp100", "mcp124-1", "mcp250-1", "mcp250-2", "mcp500-1", "mcp500-2", "maxG11", "maxG51"]
GRAPHS = ["G1", "G11", "G14", "G22", "G43", "G51"]


@pytest.mark.parametrize("name", FILES + GRAPHS)
def test_real_files_agree_with_their_certified_optima(shared_data, name):
    import json

    from solvers import read_problem

    folder, suffix = ("gset", "") if name in GRAPHS else ("sdplib", ".dat-s")
    problem = read_problem(shared_data / folder / (name + suffix))
    optimum = json.loads((shared_data / "optima.json").read_text())[name]["value"]
    solution = low_rank(problem, rng=0)
    report = solution.report()
    assert solution.certified
    assert report["gap"] <= 1e-6
    assert report["value"] == pytest.approx(optimum, rel=1.1e-6)
    assert report["upper_bound"] >= optimum * (1 - 1e-9)


def test_negative_weights():
    """The best cut takes vertex 0 alone: -1 + 2; the relaxation is tight there."""
    weights = np.array([[0.0, -1.0, 2.0], [-1.0, 0.0, -3.0], [2.0, -3.0, 0.0]])
    report = low_rank(MaxCut(weights), rng=0).report()
    assert report["value"] == pytest.approx(1.0, abs=2e-6)
    assert report["upper_bound"] >= 1.0 - 1e-9


@pytest.mark.parametrize(
    ("product", "words"),
    [
        (lambda x: np.full_like(x, np.nan), "cost must be finite"),
        (lambda x: np.cumsum(x, axis=0), "cost must be symmetric"),
    ],
    ids=["nan", "asymmetric"],
)
def test_an_operator_that_cannot_be_a_cost_is_refused(product, words):
    operator = LinearOperator((30, 30), matvec=product, matmat=product, dtype=np.float64)
    with pytest.raises(ValueError, match=words):
        low_rank(Elliptope(operator), rng=0)


class TestPublicBounds:
    """Bad input at the doors of dual_vector, dual_bound and rigorous_bound."""

    @pytest.mark.parametrize("bound", [dual_bound, rigorous_bound])
    @pytest.mark.parametrize(
        ("cost", "dual", "words"),
        [
            (np.eye(2), [np.nan, 0.0], "dual must be finite"),
            (np.eye(2), [0.0, 0.0, 0.0], "dual must have length 2"),
            ([[0.0, np.nan], [np.nan, 0.0]], [0.0, 0.0], "cost must be finite"),
            ([[0.0, 1.0], [0.0, 0.0]], [0.0, 0.0], "cost must be symmetric"),
            (np.zeros((2, 3)), [0.0, 0.0], "cost must be square"),
        ],
    )
    def test_refused(self, bound, cost, dual, words):
        with pytest.raises(ValueError, match=words):
            bound(cost, dual)

    @pytest.mark.parametrize("bound", [dual_bound, rigorous_bound])
    def test_integers_are_numbers(self, bound):
        found = bound(np.array([[0, 1], [1, 0]]), np.array([-1.0, -1.0]))
        assert getattr(found, "bound", found) == pytest.approx(-2.0)

    def test_factor_must_fit_the_cost(self):
        with pytest.raises(ValueError, match="factor must have 2 rows"):
            dual_vector(np.eye(2), np.ones((3, 1)))
