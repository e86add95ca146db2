"""Problems at the door: what they accept, what they refuse in words, and that nobody's arrays change."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from solvers import BinaryQuadratic, Elliptope, MaxCut, checks, low_rank, symmetrise
from solvers.problems.solution import relative_gap
from solvers.testing import assert_certified, degenerate_matrix, in_representation

NAN, INF = float("nan"), float("inf")
CONSTRUCTORS = [(BinaryQuadratic, "A"), (MaxCut, "graph"), (Elliptope, "cost")]

BAD_MATRICES = {
    "nan": ([[0.0, NAN], [NAN, 0.0]], ValueError, "must be finite"),
    "infinite": ([[INF, 0.0], [0.0, 0.0]], ValueError, "must be finite"),
    "sparse nan": (sp.csr_array([[NAN, 0.0], [0.0, 1.0]]), ValueError, "must be finite"),
    "not square": (np.ones((2, 3)), ValueError, r"must be square; found shape \(2, 3\)"),
    "sparse, not square": (sp.csr_array((2, 3)), ValueError, r"must be square; found shape \(2, 3\)"),
    "vector": ([1.0, 2.0], ValueError, r"must have 2 dimension\(s\); found shape \(2,\)"),
    "sparse vector": (sp.coo_array([1.0, 2.0]), ValueError, r"must have 2 dimensions; found shape \(2,\)"),
    "empty": (np.zeros((0, 0)), ValueError, "must not be empty"),
    "sparse, empty": (sp.csr_array((0, 0)), ValueError, "must not be empty"),
    "ragged": ([[1.0], [1.0, 2.0]], ValueError, "must be rectangular; found rows of different lengths"),
    "complex": (np.eye(2) * 1j, TypeError, "must hold real numbers; found dtype complex128"),
    "sparse, complex": (sp.csr_array(np.eye(2) * 1j), TypeError, "must hold real numbers"),
    "strings": ([["a", "b"], ["c", "d"]], TypeError, "must hold real numbers"),
    "none": (None, TypeError, "must hold real numbers; found dtype object"),
}
ASYMMETRIC = {
    "dense": ([[0.0, 1.0], [2.0, 0.0]], "must be symmetric; entries differ .* by up to 1"),
    "sparse": (sp.csr_array([[0.0, 1.0], [2.0, 0.0]]), "must be symmetric; entries differ .* by up to 1"),
    "huge": ([[0.0, 1e308], [1e308, 0.0]], "found entries of size 1e.308. Rescale"),
    "sparse, huge": (sp.csr_array([[0.0, 1e308], [1e308, 0.0]]), "found entries of size 1e.308. Rescale"),
}


@pytest.mark.parametrize(("matrix", "error", "words"), BAD_MATRICES.values(), ids=list(BAD_MATRICES))
@pytest.mark.parametrize(("constructor", "name"), [*CONSTRUCTORS, (symmetrise, "matrix")])
def test_bad_matrices_are_refused_by_name(constructor, name, matrix, error, words):
    with pytest.raises(error, match=f"^{name} {words}"):
        constructor(matrix)


@pytest.mark.parametrize(("matrix", "words"), ASYMMETRIC.values(), ids=list(ASYMMETRIC))
@pytest.mark.parametrize(("constructor", "name"), CONSTRUCTORS)
def test_asymmetry_and_overflow_are_refused_by_name(constructor, name, matrix, words):
    with pytest.raises(ValueError, match=f"^{name} .*{words}"):
        constructor(matrix)


@pytest.mark.parametrize("scale", [1e306, 1e-310])
def test_the_ends_of_the_range_are_accepted(scale):
    problem = MaxCut(scale * (np.ones((3, 3)) - np.eye(3)))
    assert problem.evaluate([1, 1, -1]) == pytest.approx(2 * scale, rel=1e-9, abs=0.0)


@pytest.mark.parametrize(
    ("b", "error", "words"),
    [
        ([1.0, 2.0, 3.0], ValueError, "b must have length 2; found 3"),
        ([NAN, 0.0], ValueError, "b must be finite"),
        ([[1.0, 2.0]], ValueError, r"b must have 1 dimension\(s\); found shape \(1, 2\)"),
        ("ab", TypeError, "b must be an array; found a str"),
    ],
)
def test_bad_linear_terms(b, error, words):
    with pytest.raises(error, match=words):
        BinaryQuadratic(np.eye(2), b)


@pytest.mark.parametrize(
    ("constant", "error", "words"),
    [
        (NAN, ValueError, "constant must be finite; found nan"),
        (10**400, ValueError, "constant must be within the range of float64"),
        (True, TypeError, "constant must be a real number; found bool"),
        ("1", TypeError, "constant must be a real number; found str"),
    ],
)
@pytest.mark.parametrize("constructor", [BinaryQuadratic, Elliptope])
def test_bad_constants(constructor, constant, error, words):
    with pytest.raises(error, match=words):
        constructor(np.eye(2), constant=constant)


@pytest.mark.parametrize("problem", [BinaryQuadratic(np.eye(2)), MaxCut(np.eye(2)), Elliptope(np.eye(2))])
@pytest.mark.parametrize("signs", [[1, 1, 1], [0, 1], [NAN, 1], [2, 1], [], 1, "x", [[1], [1]]])
def test_only_points_of_the_cube_are_evaluated(problem, signs):
    with pytest.raises(ValueError, match="signs must"):
        problem.evaluate(signs)


@pytest.mark.parametrize("form", [np.array, sp.csr_array, sp.coo_array], ids=["dense", "csr", "coo"])
@pytest.mark.parametrize("constructor", [BinaryQuadratic, MaxCut, Elliptope, symmetrise])
def test_the_caller_keeps_the_matrix(constructor, form):
    matrix = form(np.array([[5.0, 1.0], [1.0, 0.0]]))
    before = (matrix.toarray() if sp.issparse(matrix) else matrix).copy()
    made = constructor(matrix)
    for kept in (getattr(made, "A", None), getattr(made, "cost", None)):
        if kept is not None:
            (kept.data if sp.issparse(kept) else kept)[...] = 7.0
    np.testing.assert_array_equal(matrix.toarray() if sp.issparse(matrix) else matrix, before)


@pytest.mark.parametrize(
    "form", [np.array, sp.csr_array, aslinearoperator], ids=["dense", "sparse", "operator"]
)
def test_homogenised_and_original_objective_agree(form):
    rng = np.random.default_rng(0)
    A = rng.integers(-3, 4, (5, 5)).astype(float)
    problem = BinaryQuadratic(form(A + A.T), rng.integers(-3, 4, 5), constant=2.0)
    relaxation = problem.relaxation()
    signs = np.where(rng.random((8, 5)) < 0.5, -1, 1)
    expected = [w @ (A + A.T) @ w + w @ problem.b + 2.0 for w in signs]
    np.testing.assert_array_equal(problem.evaluate(signs), expected)
    np.testing.assert_array_equal(relaxation.evaluate(np.column_stack([np.ones(8, int), signs])), expected)


def test_the_gap_of_nan_is_nan():
    """A gap of 0 would certify it."""
    assert relative_gap(0.0, 0.0, 0.0) == 0.0
    for arguments in ((NAN, 0.0, 1.0), (1.0, NAN, 1.0), (NAN, NAN, NAN)):
        assert np.isnan(relative_gap(*arguments))


def test_an_operator_that_turns_to_nan_is_refused_when_it_does():
    """The door lets it in, because its first products are sound; no gap of NaN may pass for zero."""
    calls = []

    def product(x):
        calls.append(None)
        return (1.0 if len(calls) <= 6 else NAN) * np.asarray(x)

    operator = LinearOperator((3, 3), matvec=product, matmat=product, dtype=np.float64)
    with pytest.raises(
        ValueError, match=r"cost must be finite; a product (with it held|of the operator holds) NaN"
    ):
        low_rank(Elliptope(operator), rng=0)
    assert len(calls) > 6


def test_an_empty_cut_is_reported_as_zero_not_minus_zero():
    report = low_rank(MaxCut(np.zeros((2, 2))), rng=0).report()
    assert (str(report["value"]), str(report["upper_bound"])) == ("0.0", "0.0")


@pytest.mark.parametrize(
    ("check", "error", "words"),
    [
        (lambda: checks.generator("rng", -1), ValueError, "rng must be .* found -1"),
        (lambda: checks.generator("rng", "seed"), TypeError, "rng must be .* found 'seed'"),
        (lambda: checks.function("callback", 3), TypeError, "callback must be callable or None; found int"),
        (
            lambda: checks.choice("solver", np.array([1, 2]), ("scs",)),
            ValueError,
            "solver must be one of 'scs'",
        ),
    ],
)
def test_checks_name_the_argument(check, error, words):
    with pytest.raises(error, match=words):
        check()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: degenerate_matrix("zero", 0, 0), ValueError, "n must be at least 1; found 0"),
        (lambda: degenerate_matrix("zero", 2.5, 0), TypeError, "n must be an integer; found float"),
        (lambda: degenerate_matrix("zero", 2, "a"), TypeError, "rng must be"),
        (
            lambda: in_representation(np.eye(2), "csc"),
            ValueError,
            "representation must be one of .* found 'csc'",
        ),
        (lambda: assert_certified(None), TypeError, "solution must be a Solution; found NoneType"),
    ],
)
def test_the_test_helpers_name_the_argument(call, error, words):
    with pytest.raises(error, match=words):
        call()
