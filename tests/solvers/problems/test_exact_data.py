"""Proved bounds against exact rationals: what the user gave counts, whatever rounding, casts or masks do to it."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import BinaryQuadratic, Elliptope, Gram, MaxCut, low_rank, symmetrise
from solvers.torch_backend import SparseCost, cut_cost, edge_cost, sparse_cost
from solvers.torch_backend.sparse.solve_sparse import solve_sparse
from vispa import SignGaussian

# (row, column) of entries that are stored twice, with a value whose sum leaves the type
REPEATED = ([0, 0, 1, 1], [1, 1, 0, 0])
NARROW = [(np.uint8, 200), (np.int8, 100), (np.int16, 30_000), (np.int32, 2**31 - 1), (np.bool_, 1)]
FORMATS = ["coo", "csr", "csc", "bsr"]


def exactly(values):
    return [[Fraction(float(entry)) for entry in row] for row in np.atleast_2d(values)]


def cube(n):
    return itertools.product((1, -1), repeat=n)


def least(matrix, b, constant):
    """The exact minimum of w^T A w + b^T w + constant."""
    A = exactly(matrix)
    return min(
        sum(a * x * y for row, x in zip(A, w, strict=True) for a, y in zip(row, w, strict=True))
        + sum(c * x for c, x in zip(b, w, strict=True))
        + constant
        for w in cube(len(A))
    )


def repeated(dtype, value, layout):
    stored = sp.coo_array((np.full(4, value, dtype), REPEATED), shape=(2, 2))
    if layout == "coo":
        return stored
    if layout == "bsr":
        blocks = np.full((4, 1, 1), value, dtype)
        return sp.bsr_array((blocks, [1, 1, 0, 0], [0, 2, 4]), shape=(2, 2))
    kind = sp.csr_array if layout == "csr" else sp.csc_array
    return kind((np.full(4, value, dtype), [1, 1, 0, 0], [0, 2, 4]), shape=(2, 2))


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize(("dtype", "value"), NARROW, ids=lambda found: getattr(found, "__name__", str(found)))
def test_repeated_entries_add_up_in_float64(dtype, value, layout):
    both = 2.0 * float(value)
    graph = MaxCut(repeated(dtype, value, layout))
    cut = low_rank(graph, certificate="rigorous", rng=0).report()
    assert cut["upper_bound"] >= both == graph.evaluate([1, -1])
    matrix = np.array([[0.0, both], [both, 0.0]])
    assert np.array_equal(BinaryQuadratic(repeated(dtype, value, layout)).A.toarray(), matrix)
    assert np.array_equal(Elliptope(repeated(dtype, value, layout)).cost.toarray(), matrix)
    assert np.array_equal(symmetrise(repeated(dtype, value, layout)).toarray(), matrix)
    assert np.array_equal(Gram(repeated(dtype, value, layout)).vectors.toarray(), matrix.T)
    cost = sparse_cost(repeated(dtype, value, layout), dtype=torch.float64)
    assert cost.values.tolist() == [both, both]


@pytest.mark.parametrize(
    "door",
    [
        lambda values: BinaryQuadratic(values),
        lambda values: Elliptope(values),
        lambda values: MaxCut(values),
        lambda values: Gram(values),
        lambda values: symmetrise(values),
        lambda values: BinaryQuadratic(np.eye(2), values[0]),
        lambda values: BinaryQuadratic.least_squares(np.eye(2), values[0]),
        lambda values: BinaryQuadratic(list(values)),
        lambda values: BinaryQuadratic(np.eye(2)).evaluate(values),
        lambda values: low_rank(BinaryQuadratic(np.eye(2)), start=values),
        lambda values: SignGaussian(values[0], None, [1.0, 1.0]),
    ],
)
def test_a_mask_is_never_ignored(door):
    values = np.ma.array(np.ones((2, 2)))
    door(values)
    values[0, 0] = np.ma.masked
    with pytest.raises(ValueError, match="masked"):
        door(values)


@pytest.mark.parametrize("wrap", [np.array, sp.coo_array], ids=["dense", "sparse"])
def test_integers_that_float64_cannot_hold_are_refused(wrap):
    matrix = np.zeros((2, 2), dtype=np.int64)
    matrix[0, 1] = matrix[1, 0] = 2**53 + 2
    assert BinaryQuadratic(wrap(matrix)).evaluate([1, -1]) == -2 * (2**53 + 2)
    matrix += np.array([[0, 1], [1, 0]])
    with pytest.raises(ValueError, match=str(2**53 + 3)):
        BinaryQuadratic(wrap(matrix))
    with pytest.raises(ValueError, match="constant"):
        BinaryQuadratic(np.eye(2), constant=2**53 + 1)


@given(seed=st.integers(0, 10**9), ratio=st.floats(-6, 6), whole=st.booleans(), sparse=st.booleans())
@settings(max_examples=60)
def test_least_squares_is_enclosed(seed, ratio, whole, sparse):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rng.integers(1, 6), rng.integers(1, 5)))
    X = np.round(4.0 * X) if whole else X
    target = 10.0**ratio * rng.standard_normal(X.shape[0])
    problem = BinaryQuadratic.least_squares(sp.csr_array(X) if sparse else X, target)
    bound = low_rank(problem, certificate="rigorous", rng=0).lower_bound
    rows, ends = exactly(X), [Fraction(t) for t in target.tolist()]
    optimum = min(
        sum(
            (sum(x * s for x, s in zip(row, w, strict=True)) - t) ** 2
            for row, t in zip(rows, ends, strict=True)
        )
        for w in cube(X.shape[1])
    )
    assert Fraction(bound) <= optimum


@given(seed=st.integers(0, 10**9), spread=st.integers(0, 12), symmetric=st.booleans(), maximise=st.booleans())
@settings(max_examples=60)
def test_forms_in_bits_are_enclosed(seed, spread, symmetric, maximise):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 6))
    Q = 10.0 ** rng.uniform(-spread, 0, (n, n)) * rng.uniform(-1, 1, (n, n))
    Q = Q + Q.T if symmetric else Q
    offset = float(rng.standard_normal() * 10.0 ** rng.uniform(-6, 6))
    problem = BinaryQuadratic.from_qubo(sp.csr_array(Q), offset=offset, maximise=maximise)
    bound = low_rank(problem, certificate="rigorous", rng=0).report()[
        "upper_bound" if maximise else "lower_bound"
    ]
    entries = exactly(Q)
    ones = [[i for i in range(n) if x[i] == 1] for x in cube(n)]
    values = [sum(entries[i][j] for i in chosen for j in chosen) + Fraction(offset) for chosen in ones]
    assert Fraction(bound) >= max(values) if maximise else Fraction(bound) <= min(values)


def test_least_squares_of_integers_loses_nothing():
    problem = BinaryQuadratic.least_squares([[1.0, 2.0], [0.0, 1.0]], target=[-1.0, -1.0])
    assert problem.constant == 2.0
    assert problem.b.tolist() == [2.0, 6.0]
    assert problem.evaluate([1, -1]) == 0.0
    orthogonal = BinaryQuadratic.least_squares([[1.0, 1.0], [1.0, -1.0]], target=[0.0, 0.0])
    assert not orthogonal.has_linear_term


@pytest.mark.parametrize("scale", [1e-200, 1e-170, 1e-150, 1e150])
def test_a_factor_at_the_ends_of_the_range(scale):
    X = scale * np.array([[1.0, 2.0, -1.0]])
    solution = low_rank(BinaryQuadratic.from_factor(X), certificate="rigorous", rng=0)
    assert solution.lower_bound <= 0.0 <= solution.value
    zero = low_rank(BinaryQuadratic.from_factor(0.0 * X), certificate="rigorous", rng=0)
    assert zero.lower_bound <= 0.0
    assert zero.certified


@given(seed=st.integers(0, 10**9), spread=st.integers(0, 16))
@settings(max_examples=40)
def test_degrees_are_enclosed(seed, spread):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 6))
    upper = np.triu(10.0 ** rng.uniform(-spread, 0, (n, n)) * rng.uniform(-1, 1, (n, n)), 1)
    weights = upper + upper.T
    graph = MaxCut(weights)
    bound = low_rank(graph, certificate="rigorous", rng=0).report()["upper_bound"]
    entries = exactly(weights)
    largest = max(sum(entries[i][j] for i in range(n) for j in range(i) if w[i] != w[j]) for w in cube(n))
    assert Fraction(bound) >= largest
    # the cost bounds minus the cut on all of the elliptope, so the all-ones point must not cost more than nothing
    cost = exactly(graph.relaxation().cost.toarray())
    assert sum(map(sum, cost)) <= 0


@given(seed=st.integers(0, 10**9), digits=st.integers(1, 40), linear=st.booleans(), sparse=st.booleans())
@settings(max_examples=80)
def test_costs_of_subnormal_size_are_proved_or_refused(seed, digits, linear, sparse):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 6))
    whole = rng.integers(-(2**digits), 2**digits, (n, n))
    matrix = np.triu(whole) * 5e-324
    matrix = matrix + np.triu(matrix, 1).T
    b = rng.integers(-(2**digits), 2**digits, n) * 5e-324 if linear else None
    problem = BinaryQuadratic(sp.csr_array(matrix) if sparse else matrix, b)
    assert np.array_equal(problem.A.toarray() if sparse else problem.A, matrix)
    if b is not None and np.any(0.5 * b + 0.5 * b != b):
        with pytest.raises(ValueError, match="power of two"):
            low_rank(problem, certificate="rigorous", rng=0)
        return
    solution = low_rank(problem, certificate="rigorous", rng=0)
    terms = [Fraction(0)] * n if b is None else [Fraction(float(c)) for c in b]
    assert Fraction(solution.lower_bound) <= least(matrix, terms, 0)


@pytest.mark.parametrize("values", [[[0.0, 5e-324], [0.0, 0.0]], sp.csr_array([[0.0, 5e-324], [0.0, 0.0]])])
def test_what_cannot_be_halved_is_refused(values):
    with pytest.raises(ValueError, match="power of two"):
        symmetrise(values)
    with pytest.raises(ValueError, match="power of two"):
        MaxCut([[0.0, 5e-324], [5e-324, 0.0]]).relaxation()


RING = sp.csr_array(0.5 * (np.roll(np.eye(39), 1, 1) + np.roll(np.eye(39), -1, 1)))
EDGES = torch.stack([torch.arange(39), (torch.arange(39) + 1) % 39])
VALUE = 39.0 * np.cos(np.pi * 38 / 39)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("scale", [1e-310, 1e-46, 1e-44, 1e-38, 1.0, 1e37, 1e38, 1e300])
def test_the_scale_of_a_sparse_cost_does_not_matter_on_a_device(scale, dtype):
    generator = torch.Generator().manual_seed(0)
    solution = solve_sparse(sparse_cost(sp.csr_array(scale * RING), dtype=dtype), generator=generator)
    assert solution.certified
    assert solution.value / scale == pytest.approx(VALUE, rel=1e-3)
    assert solution.lower_bound / scale <= VALUE * (1.0 - 1e-6)
    assert float(solution.dual.sum()) / scale == pytest.approx(solution.lower_bound / scale, rel=1e-4)


@pytest.mark.parametrize("weight", [1e-44, 1e-38, 1.0, 3e38])
@pytest.mark.parametrize("door", [edge_cost, cut_cost])
def test_the_scale_of_edges_does_not_matter_on_a_device(weight, door):
    weights = torch.full((39,), weight)
    exact = weights.double()[0].item()
    solution = solve_sparse(door(EDGES, weights), generator=torch.Generator().manual_seed(0))
    right = 2.0 * VALUE if door is edge_cost else 0.5 * VALUE - 0.5 * 39
    assert solution.value / exact == pytest.approx(right, rel=1e-3)
    assert solution.lower_bound / exact <= right * (1.0 - 1e-6)


def test_what_adds_up_beyond_float64_is_refused():
    with pytest.raises(ValueError, match="add up within the range"):
        sparse_cost(sp.csr_array(1e308 * RING))
    with pytest.raises(ValueError, match="add up within the range"):
        SparseCost(
            torch.tensor([0, 1, 2]), torch.tensor([1, 0]), torch.full((2,), 1e308, dtype=torch.float64)
        )
