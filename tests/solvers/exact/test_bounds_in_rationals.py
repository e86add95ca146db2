"""Bounds on objectives that float64 does not hold are rounded down: rationals decide."""

import itertools
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import BinaryQuadratic, Elliptope, branch_and_bound, low_rank, strengthen

ENTRIES = st.one_of(
    st.integers(-9, 9).map(float),
    st.floats(-1e3, 1e3, allow_subnormal=False),
    st.sampled_from([0.1, 1e-9, 1e12]),
)


@st.composite
def problems(draw):
    n = draw(st.integers(1, 4))
    upper = np.array(draw(st.lists(ENTRIES, min_size=n * n, max_size=n * n))).reshape(n, n)
    b = np.array(draw(st.lists(ENTRIES, min_size=n, max_size=n))) * draw(st.sampled_from([0.0, 1.0]))
    return BinaryQuadratic(upper + upper.T, b, constant=draw(ENTRIES))


def minimum(problem):
    """Exact, as a rational."""
    A, b = (
        [[Fraction(x) for x in row] for row in problem.A.tolist()],
        [Fraction(x) for x in problem.b.tolist()],
    )
    return Fraction(problem.constant) + min(
        sum(b[i] * w[i] + sum(A[i][j] * w[i] * w[j] for j in range(len(w))) for i in range(len(w)))
        for w in itertools.product((-1, 1), repeat=problem.n)
    )


@pytest.mark.parametrize(
    "bounded",
    [
        lambda problem: branch_and_bound(problem, rng=0),
        lambda problem: strengthen(problem, rng=0),
        lambda problem: low_rank(problem, rng=0, certificate="rigorous"),
    ],
    ids=["branch_and_bound", "strengthen", "low_rank"],
)
@settings(max_examples=40)
@given(problem=problems())
def test_no_proved_bound_is_above_the_minimum(bounded, problem):
    assert Fraction(bounded(problem).lower_bound) <= minimum(problem)


def test_a_constant_between_two_floats_is_rounded_down_and_the_optimum_is_still_proved():
    problem = BinaryQuadratic([[0.2]], constant=5.555862434936179)
    found = branch_and_bound(problem, rng=0)
    assert found.optimal
    assert found.lower_bound < found.value
    assert Fraction(found.lower_bound) < minimum(problem) < Fraction(found.value)
    assert found.gap == 0.0


def digits(problem, signs):
    """The objective of an Elliptope to fifty digits."""
    with mpmath.workdps(50):
        point = [
            s * mpmath.sqrt(mpmath.mpf(a)) for s, a in zip(signs, problem.diagonal.tolist(), strict=True)
        ]
        cost = problem.cost.tolist()
        terms = [
            mpmath.mpf(cost[i][j]) * point[i] * point[j] for i in range(len(signs)) for j in range(len(signs))
        ]
        return mpmath.fsum(terms) + mpmath.mpf(problem.constant)


@pytest.mark.parametrize("bounded", [branch_and_bound, strengthen])
def test_scaling_to_unit_diagonal_is_enclosed(bounded):
    rng = np.random.default_rng(0)
    for _ in range(60):
        n = int(rng.integers(1, 5))
        half, diagonal = rng.standard_normal((n, n)), rng.random(n) * 10.0 ** rng.uniform(-3, 3, n)
        problem = Elliptope(half + half.T, constant=float(rng.choice([0.0, 0.1])), diagonal=diagonal)
        found = bounded(problem, rng=0)
        least = min(digits(problem, signs) for signs in itertools.product((-1, 1), repeat=n))
        assert mpmath.mpf(found.lower_bound) <= least
        if bounded is branch_and_bound:
            assert found.lower_bound == pytest.approx(float(least), rel=1e-6, abs=1e-6 * diagonal.max())


@pytest.mark.parametrize("bounded", [branch_and_bound, strengthen])
def test_products_of_factors_are_enclosed(bounded):
    rng = np.random.default_rng(1)
    for _ in range(40):
        n, m = rng.integers(1, 4, 2).tolist()
        X = rng.standard_normal((m, n)) * 10.0 ** rng.uniform(-3, 3, (m, 1))
        rows = [[Fraction(x) for x in row] for row in X.tolist()]
        least = min(
            sum(sum(x * s for x, s in zip(row, signs, strict=True)) ** 2 for row in rows)
            for signs in itertools.product((-1, 1), repeat=n)
        )
        assert Fraction(bounded(BinaryQuadratic.from_factor(X), rng=0).lower_bound) <= least


@pytest.mark.parametrize(
    "problem",
    [
        Elliptope([[0.0, 3.0], [3.0, 1.0]], diagonal=[4.0, 6.25]),
        BinaryQuadratic.from_factor([[1.0, 2.0, 3.0], [0.0, 1.0, 5.0]]),
    ],
)
def test_what_does_not_round_stays_exact(problem):
    found = branch_and_bound(problem, rng=0)
    assert found.optimal
    assert found.value == found.lower_bound
    assert found.form.exact
