"""Bounds on objectives that float64 does not hold are rounded down: rationals decide."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import BinaryQuadratic, branch_and_bound, low_rank, strengthen

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
